import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { IdentityError, keptIdentity, openDataFolder } from './identity.ts'

const DEFAULTS = { clusterId: 'robust', nodeId: 'placement-1' }
const folders: string[] = []

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'identity-'))
  folders.push(folder)
  return folder
}

describe('openDataFolder', () => {
  it('is new until there is a log, and keeps its names from then on', () => {
    const directory = temporary()
    const first = openDataFolder(directory, { nodeId: 'a', clusterId: 'c' }, DEFAULTS)
    expect(first).toMatchObject({ nodeId: 'a', clusterId: 'c', isNew: true })
    mkdirSync(join(directory, 'raft'))
    const second = openDataFolder(directory, {}, DEFAULTS)
    expect(second).toEqual({ ...first, isNew: false })
    expect(keptIdentity(directory)).toMatchObject({ nodeId: 'a', clusterId: 'c' })
  })

  it('is another folder when its log is gone', () => {
    const directory = temporary()
    const before = openDataFolder(directory, {}, DEFAULTS)
    mkdirSync(join(directory, 'raft'))
    rmSync(join(directory, 'raft'), { recursive: true })
    const after = openDataFolder(directory, {}, DEFAULTS)
    expect(after.isNew).toBe(true)
    expect(after.folderId).not.toBe(before.folderId)
  })

  it('refuses the folder of another node or cluster, with the names of both', () => {
    const directory = temporary()
    openDataFolder(directory, { nodeId: 'a', clusterId: 'c' }, DEFAULTS)
    const open = (asked: object) => () => openDataFolder(directory, asked, DEFAULTS)
    expect(open({ nodeId: 'b' })).toThrow(IdentityError)
    expect(open({ nodeId: 'b' })).toThrow(/node a of cluster c, not to node b of cluster c/)
    expect(open({ clusterId: 'd' })).toThrow(/node a of cluster c, not to node a of cluster d/)
  })

  it.each(['{', '[]', '{"nodeId":"a"}'])('refuses an identity file with %s in it', (text) => {
    const directory = temporary()
    writeFileSync(join(directory, 'identity.json'), text)
    expect(() => openDataFolder(directory, {}, DEFAULTS)).toThrow(IdentityError)
  })
})
