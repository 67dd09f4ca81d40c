import { mkdtempSync, rmSync } from 'node:fs'
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

  test('refuses the folder of another node and names both', () => {
    nodeIdentity('broker-1', folder)
    expect(() => nodeIdentity('broker-2', folder)).toThrow(IdentityError)
    expect(() => nodeIdentity('broker-2', folder)).toThrow(/broker-1.*broker-2/)
  })
})
