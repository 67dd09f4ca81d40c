import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { IdentityError, nodeIdentity } from './node-identity.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robust-identity-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('nodeIdentity', () => {
  test('keeps the id that it made up', () => {
    const id = nodeIdentity(undefined, folder)
    expect(id).toMatch(/^broker-[0-9a-f]{8}$/)
    expect(nodeIdentity(undefined, folder)).toBe(id)
  })

  test('takes an empty file, which a power loss can leave, for none', () => {
    writeFileSync(join(folder, 'node-id'), '')
    expect(nodeIdentity('broker-1', folder)).toBe('broker-1')
    expect(nodeIdentity(undefined, folder)).toBe('broker-1')
  })

  test('leaves nothing beside the id', () => {
    nodeIdentity('broker-1', folder)
    expect(readdirSync(folder)).toEqual(['node-id'])
  })

  test('refuses the folder of another node and names both', () => {
    nodeIdentity('broker-1', folder)
    expect(() => nodeIdentity('broker-2', folder)).toThrow(IdentityError)
    expect(() => nodeIdentity('broker-2', folder)).toThrow(/broker-1.*broker-2/)
  })
})
