import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { MembershipChange } from '../core/membership.ts'
import { LogDamagedError, MembershipChangeRefusedError } from '../errors.ts'
import { FileLogStore } from '../files/file-log-store.ts'
import { FileSnapshotStore } from '../files/file-snapshot-store.ts'
import { wipeStores } from '../files/wipe-stores.ts'
import { type ClusterMember, MemoryCluster, textCommand, until } from '../testing/memory-cluster.ts'
import { promoteWhenCaughtUp, replaceDamagedMember } from './replace-member.ts'

const IDS = ['a', 'b', 'c']
let cluster = new MemoryCluster()
let directory = ''

afterEach(async () => {
  await cluster.stop()
  cluster = new MemoryCluster()
  if (directory !== '') await rm(directory, { recursive: true, force: true })
  directory = ''
})

const logDirectory = (id: string): string => join(directory, id, 'log')
const snapshotDirectory = (id: string): string => join(directory, id, 'snapshots')

/** `disk`: whose folder it has. */
function fileStores(disk: string) {
  return {
    logStore: new FileLogStore({ directory: logDirectory(disk) }),
    snapshotStore: new FileSnapshotStore({ directory: snapshotDirectory(disk) }),
  }
}

/** One bit in the middle of each file that holds records. */
async function flipBits(path: string): Promise<number> {
  let flipped = 0
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(log|ldb)$/.test(entry.name)) continue
    const file = join(entry.parentPath, entry.name)
    const bytes = await readFile(file)
    if (bytes.byteLength === 0) continue
    const at = Math.floor(bytes.findLastIndex((byte) => byte !== 0) / 2)
    bytes[at] = (bytes[at] ?? 0) ^ 0x10
    await writeFile(file, bytes)
    flipped += 1
  }
  return flipped
}

const votes = ({ raft }: ClusterMember): number => raft.status().metrics['votesGranted'] ?? 0

describe('a member with an unreadable log', () => {
  it('leaves, is wiped, comes back as a learner, catches up and is promoted; it never votes meanwhile', async () => {
    directory = await mkdtemp(join(tmpdir(), 'raft-replace-'))
    const limits = { snapshotEntries: 40, trailingEntries: 10 }
    const members = []
    for (const id of IDS) {
      members.push(await cluster.start(id, { ids: IDS, limits, ...fileStores(id) }))
    }
    const leader = await cluster.waitForLeader()
    for (let at = 0; at < 100; at += 1) await leader.raft.propose(textCommand(`before-${at}`))
    const damaged = members.find((member) => member !== leader)!
    const bystander = members.find((member) => member !== leader && member !== damaged)!
    await damaged.raft.stop()
    cluster.members.splice(cluster.members.indexOf(damaged), 1)
    expect(await flipBits(logDirectory(damaged.id))).toBeGreaterThan(0)

    const restart = cluster.start(damaged.id, { ids: IDS, limits, ...fileStores(damaged.id) })
    await expect(restart).rejects.toBeInstanceOf(LogDamagedError)
    // It is not even on the network: its name can be taken there.
    const impostor = cluster.network.transport(damaged.id)
    await impostor.start({ message: () => undefined, snapshot: () => Promise.reject(new Error()) })
    await impostor.stop()

    await replaceDamagedMember({
      cluster: leader.raft,
      damagedId: damaged.id,
      replacement: { id: 'd', address: 'memory://d' },
      wipe: () => wipeStores([logDirectory(damaged.id), snapshotDirectory(damaged.id)]),
      retryMs: 10,
    })
    const learner = await cluster.start('d', { limits, ...fileStores(damaged.id) })
    // An election while it is a learner: nobody asks it.
    await leader.raft.transferLeadership(bystander.id, 5_000)
    expect(votes(learner)).toBe(0)
    await until(() => bystander.raft.status().role === 'leader', 'the new leader')
    await promoteWhenCaughtUp(bystander.raft, 'd', { retryMs: 10 })
    expect(votes(learner)).toBe(0)

    await bystander.raft.propose(textCommand('after'))
    await until(() => learner.machine.count === 101, 'everything on the replacement')
    expect(learner.machine.digest).toBe(bystander.machine.digest)
    const { members: configuration } = bystander.raft.status()
    expect(configuration.map(({ id, role }) => `${id} ${role}`).sort()).toEqual(
      [leader.id, bystander.id, 'd'].sort().map((id) => `${id} voter`),
    )
    // It counts now: without the third the two of them commit.
    await leader.raft.stop()
    cluster.members.splice(cluster.members.indexOf(leader), 1)
    await (await cluster.waitForLeader()).raft.propose(textCommand('by two'))
    await until(() => learner.machine.count === 102, 'the command of the two')
  }, 60_000)
})

describe('replaceDamagedMember', () => {
  const replacement = { id: 'd', address: 'd' }
  const view = (ids: readonly string[]) => ({
    members: ids.map((id) => ({ id, address: id, role: 'voter' as const })),
    configurationIndex: 3,
  })

  it('refuses the old id', async () => {
    const changes: MembershipChange[] = []
    const access = {
      status: () => view(IDS),
      changeMembership: async (change: MembershipChange) => void changes.push(change),
    }
    await expect(
      replaceDamagedMember({
        cluster: access,
        damagedId: 'c',
        replacement: { id: 'c', address: 'c' },
        wipe: async () => undefined,
      }),
    ).rejects.toBeInstanceOf(RangeError)
    expect(changes).toEqual([])
  })

  it('asks again while another change is on its way, and wipes only after the member left', async () => {
    const steps: string[] = []
    let refusals = 2
    let ids = IDS
    const access = {
      status: async () => view(ids),
      changeMembership: async ({ kind, member }: MembershipChange) => {
        if (refusals > 0) {
          refusals -= 1
          throw new MembershipChangeRefusedError('change-pending')
        }
        steps.push(`${kind} ${member.id}`)
        if (kind === 'remove') ids = ids.filter((id) => id !== member.id)
      },
    }
    const wipe = async () => void steps.push('wipe')
    const options = { cluster: access, damagedId: 'c', replacement, wipe, retryMs: 1 }
    await replaceDamagedMember(options)
    expect(steps).toEqual(['remove c', 'wipe', 'add-learner d'])
    // Again, as after a crash in the middle: what is done is not done twice.
    await replaceDamagedMember(options)
    expect(steps.slice(3)).toEqual(['wipe', 'add-learner d'])
    ids = ['a', 'b', 'd']
    await replaceDamagedMember(options)
    expect(steps).toHaveLength(5)
  })

  it('wipes nothing when the cluster cannot spare the member', async () => {
    let wiped = false
    const access = {
      status: () => view(['c']),
      changeMembership: () => Promise.reject(new MembershipChangeRefusedError('last-voter')),
    }
    const wipe = async () => {
      wiped = true
    }
    await expect(
      replaceDamagedMember({ cluster: access, damagedId: 'c', replacement, wipe }),
    ).rejects.toMatchObject({ reason: 'last-voter' })
    expect(wiped).toBe(false)
  })

  it('gives up in the end', async () => {
    const access = {
      status: () => view(IDS),
      changeMembership: () => Promise.reject(new MembershipChangeRefusedError('learner-behind')),
    }
    await expect(
      promoteWhenCaughtUp(access, 'c2', { timeoutMs: 5, retryMs: 1 }),
    ).rejects.toMatchObject({ reason: 'learner-behind' })
  })
})
