// Placement Center nodes that come, go and come back, in this process, over loopback gRPC and LevelDB.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ClientUnaryCall, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import { afterEach, describe, expect, it } from 'vitest'
import type { PlacementConfig } from './config.ts'
import { IdentityError } from './identity.ts'
import { decodeSnapshot } from './metadata/snapshot.ts'
import { createPlacement, type Placement } from './placement.ts'
import { backupHead, backupTail } from './replication/backup-file.ts'
import { ask, type Done, freePorts, openClient, QUIET } from './testing/loopback.ts'

const SLOW = { timeout: 20_000, interval: 20 }
const cleanups: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

type Invoke<R> = (
  client: wire.PlacementClient,
  call: { metadata: Metadata; options: { deadline: number } },
  done: Done<R>,
) => ClientUnaryCall

class Nodes {
  readonly fatal = new Map<string, Error>()
  readonly #directory = mkdtempSync(join(tmpdir(), 'members-'))
  readonly #running = new Map<string, Placement>()
  readonly #addresses = new Map<string, string>()
  readonly #clients = new Map<string, wire.PlacementClient>()

  constructor() {
    cleanups.push(async () => {
      await Promise.all([...this.#running.keys()].map((id) => this.stop(id)))
      for (const client of this.#clients.values()) client.close()
      rmSync(this.#directory, { recursive: true, force: true })
    })
  }

  /** Its initial members, none of them started. */
  async plan(ids: readonly string[]): Promise<{ id: string; address: string }[]> {
    const ports = await freePorts(ids.length)
    return ids.map((id, at) => ({ id, address: `127.0.0.1:${ports[at]}` }))
  }

  async start(
    id: string,
    more: Partial<PlacementConfig> & { readonly address?: string },
  ): Promise<void> {
    const { address: asked, ...config } = more
    const planned = config.members?.find((member) => member.id === id)?.address
    const known = planned ?? asked ?? this.#addresses.get(id)
    const port = known === undefined ? (await freePorts(1))[0] : Number(known.split(':')[1])
    const address = `127.0.0.1:${port}`
    this.#addresses.set(id, address)
    this.fatal.delete(id)
    const node = createPlacement({
      config: {
        nodeId: id,
        clusterId: undefined,
        host: '127.0.0.1',
        port: port ?? 0,
        members: [],
        dataDir: join(this.#directory, id),
        shardCount: 4,
        preset: { heartbeatMs: 100, leaseTtlMs: 1_200 },
        logLevel: 'error',
        ...config,
      },
      log: () => ({ ...QUIET }),
      onFatal: (error) => this.fatal.set(id, error),
    })
    this.#running.set(id, node)
    await node.start()
  }

  async stop(id: string): Promise<void> {
    await this.#running.get(id)?.stop()
    this.#running.delete(id)
  }

  wipe(id: string): void {
    rmSync(join(this.#directory, id), { recursive: true, force: true })
  }

  address(id: string): string {
    return this.#addresses.get(id) ?? ''
  }

  call<R>(id: string, invoke: Invoke<R>): Promise<R> {
    const address = this.address(id)
    const client = this.#clients.get(address) ?? openClient(address)
    this.#clients.set(address, client)
    return ask((options, done) => invoke(client, { metadata: new Metadata(), options }, done))
  }

  status(id: string): Promise<wire.StatusReply> {
    return this.call(id, (client, { metadata, options }, done) =>
      client.status({}, metadata, options, done),
    )
  }

  /** The one that leads; waits for it. */
  async leader(): Promise<string> {
    let leader = ''
    const look = async (): Promise<string> => {
      for (const id of this.#running.keys()) {
        const found = await this.status(id).catch(() => undefined)
        if (found?.role === 'leader' && found.hasQuorum && found.clusterId !== '') leader = id
      }
      return leader
    }
    await expect.poll(look, SLOW).not.toBe('')
    return leader
  }

  /** At the leader, again while something passes. */
  async change(kind: 'add' | 'promote' | 'remove', nodeId: string): Promise<void> {
    const address = this.address(nodeId)
    const attempt = async (): Promise<boolean> => {
      const leader = await this.leader()
      const reply = await this.call<wire.ChangeMemberReply>(
        leader,
        (client, { metadata, options }, done) => {
          if (kind === 'add') return client.addMember({ nodeId, address }, metadata, options, done)
          if (kind === 'promote') return client.promoteMember({ nodeId }, metadata, options, done)
          return client.removeMember({ nodeId }, metadata, options, done)
        },
      ).catch((error: ServiceError) => {
        const isPassing = [status.UNAVAILABLE, status.FAILED_PRECONDITION].includes(error.code)
        if (!isPassing) throw error
        return { done: false, waitsFor: error.details }
      })
      return reply.done
    }
    let failure: unknown
    await expect
      .poll(
        () =>
          attempt().catch((error: unknown) => {
            failure = error
            return true
          }),
        SLOW,
      )
      .toBe(true)
    if (failure !== undefined) throw failure
  }

  async set(name: string, value: unknown): Promise<void> {
    const request = { key: { kind: 'setting', tenant: '', name }, value: JSON.stringify(value) }
    const leader = await this.leader()
    await this.call(leader, (client, { metadata, options }, done) =>
      client.putResource({ ...request, by: 'test' }, metadata, options, done),
    )
  }

  /** The file that it is in. */
  async backup(): Promise<string> {
    const client = openClient(this.address(await this.leader()))
    const parts: Uint8Array[] = []
    try {
      for await (const { kind } of client.backup({}) as AsyncIterable<wire.BackupPart>) {
        if (kind?.$case === 'header') parts.push(backupHead(kind.value))
        else if (kind?.$case === 'chunk') parts.push(kind.value)
        else if (kind?.$case === 'sha256') parts.push(backupTail(kind.value))
      }
    } finally {
      client.close()
    }
    const file = join(this.#directory, 'backup')
    writeFileSync(file, Buffer.concat(parts))
    return file
  }

  /** `a`, `b*` for a learner, as the leader has it. */
  async members(): Promise<string[]> {
    const { members } = await this.status(await this.leader())
    return members.map(({ nodeId, learner }) => (learner ? `${nodeId}*` : nodeId)).sort()
  }

  /** Until every member's data folder is on record. */
  async recorded(ids: readonly string[]): Promise<void> {
    const leader = await this.leader()
    await expect
      .poll(async () => Object.keys((await this.status(leader)).memberFolders).sort(), SLOW)
      .toEqual([...ids].sort())
  }
}

async function three(): Promise<Nodes> {
  const nodes = new Nodes()
  const members = await nodes.plan(['a', 'b', 'c'])
  await Promise.all(members.map(({ id }) => nodes.start(id, { members })))
  await nodes.recorded(['a', 'b', 'c'])
  return nodes
}

describe('members of the Placement Center', () => {
  it('are replaced one by one, all of them, and keep what was committed', async () => {
    const nodes = await three()
    await nodes.set('log.level', 'warn')
    for (const [before, after] of [
      ['a', 'd'],
      ['b', 'e'],
      ['c', 'f'],
    ] as const) {
      const leader = await nodes.leader()
      await nodes.start(after, { join: [nodes.address(before), nodes.address(leader)] })
      await nodes.change('add', after)
      await nodes.change('promote', after)
      await nodes.change('remove', before)
      await nodes.stop(before)
    }
    expect(await nodes.members()).toEqual(['d', 'e', 'f'])
    for (const id of ['d', 'e', 'f']) {
      await expect.poll(async () => (await nodes.status(id)).resources['setting'], SLOW).toBe(1)
    }
    // They need nothing but their folders to come back.
    const before = await nodes.status('d')
    for (const id of ['d', 'e', 'f']) await nodes.stop(id)
    for (const id of ['d', 'e', 'f']) await nodes.start(id, {})
    const after = await nodes.status(await nodes.leader())
    expect(after.term).toBeGreaterThan(before.term)
    expect(after.resources['setting']).toBe(1)
  })

  it('hand the leadership to the one that is named', async () => {
    const nodes = await three()
    const leader = await nodes.leader()
    const to = ['a', 'b', 'c'].find((id) => id !== leader) ?? ''
    const reply = await nodes.call<wire.TransferLeadershipReply>(
      leader,
      (client, { metadata, options }, done) =>
        client.transferLeadership({ nodeId: to }, metadata, options, done),
    )
    expect(reply.leaderId).toBe(to)
    await expect.poll(() => nodes.leader(), SLOW).toBe(to)
  })

  it('come back under a new id when their disk is lost, and never under the old one', async () => {
    const nodes = await three()
    const leader = await nodes.leader()
    const lost = ['a', 'b', 'c'].find((id) => id !== leader) ?? ''
    const members = (await nodes.status(leader)).members.map(({ nodeId: id, address }) => {
      return { id, address }
    })
    const address = nodes.address(lost)
    await nodes.stop(lost)
    nodes.wipe(lost)
    await nodes.start(lost, { members })
    await expect.poll(() => nodes.fatal.get(lost), SLOW).toBeInstanceOf(IdentityError)
    const said = String(nodes.fatal.get(lost)?.message)
    const folder = (await nodes.status(leader)).memberFolders[lost]
    expect(said).toContain(`data folder ${folder}`)
    expect(said).toContain(`robust placement remove ${lost}`)
    await nodes.stop(lost)
    // Nor by joining under it, nor once it was removed.
    await nodes.change('remove', lost)
    await nodes.start(lost, { join: [nodes.address(leader)] })
    await expect.poll(() => nodes.fatal.get(lost), SLOW).toBeInstanceOf(IdentityError)
    await nodes.stop(lost)
    await nodes.start('n', { join: [nodes.address(leader)], address })
    await nodes.change('add', 'n')
    await nodes.change('promote', 'n')
    expect(await nodes.members()).toEqual(['a', 'b', 'c', 'n'].filter((id) => id !== lost))
  })

  it('may begin late when they never took part', async () => {
    const nodes = new Nodes()
    const members = await nodes.plan(['a', 'b', 'c'])
    await Promise.all([nodes.start('a', { members }), nodes.start('b', { members })])
    await nodes.recorded(['a', 'b'])
    await nodes.start('c', { members })
    await nodes.recorded(['a', 'b', 'c'])
    expect(nodes.fatal.size).toBe(0)
  })

  it('are not added when they are somebody else, or have a cluster of their own', async () => {
    const nodes = await three()
    const leader = await nodes.leader()
    await nodes.start('alone', {})
    await expect
      .poll(async () => (await nodes.status('alone')).commitIndex, SLOW)
      .toBeGreaterThan(0)
    const add = (nodeId: string, address: string) =>
      nodes.call<wire.ChangeMemberReply>(leader, (client, { metadata, options }, done) =>
        client.addMember({ nodeId, address }, metadata, options, done),
      )
    await expect(add('x', nodes.address('alone'))).rejects.toThrow(/is node alone/)
    await expect(add('alone', nodes.address('alone'))).rejects.toThrow(/has a log already/)
    await expect(add('a', '127.0.0.1:1')).rejects.toThrow(/a is a member at/)
    await expect(add('x', nodes.address('a'))).rejects.toThrow(/a is a member at/)
    expect(await add('x', '127.0.0.1:1')).toEqual({
      done: false,
      waitsFor: '127.0.0.1:1 does not answer',
    })
    expect(await add('a', nodes.address('a'))).toMatchObject({ done: true })
    const { members } = await nodes.status(leader)
    expect(members.map(({ nodeId }) => nodeId).sort()).toEqual(['a', 'b', 'c'])
  })

  it('are promoted and removed by themselves as the settings say', async () => {
    const nodes = await three()
    await nodes.set('placement.autopilot-promote', false)
    await nodes.set('placement.autopilot-stable-ms', 0)
    await nodes.start('d', { join: [nodes.address('a')] })
    await nodes.change('add', 'd')
    const lag = async () => {
      const { members, lastIndex } = await nodes.status(await nodes.leader())
      const found = members.find(({ nodeId }) => nodeId === 'd')
      return found?.healthy === true && lastIndex - found.matchIndex < 5
    }
    await expect.poll(lag, SLOW).toBe(true)
    expect(await nodes.members()).toEqual(['a', 'b', 'c', 'd*'])
    await nodes.set('placement.autopilot-promote', true)
    await expect.poll(() => nodes.members(), SLOW).toEqual(['a', 'b', 'c', 'd'])
    await nodes.set('placement.autopilot-remove', true)
    await nodes.set('placement.autopilot-dead-ms', 3_000)
    const leader = await nodes.leader()
    const dead = ['a', 'b', 'c'].find((id) => id !== leader) ?? ''
    await nodes.stop(dead)
    const left = ['a', 'b', 'c', 'd'].filter((id) => id !== dead)
    await expect.poll(() => nodes.members(), SLOW).toEqual(left)
  })
})

describe('a backup', () => {
  it('has everything that was committed, and its checksum', async () => {
    const nodes = await three()
    await nodes.set('log.level', 'error')
    const client = openClient(nodes.address(await nodes.leader()))
    cleanups.push(() => client.close())
    const parts: wire.BackupPart[] = []
    for await (const part of client.backup({})) parts.push(part as wire.BackupPart)
    const content = Buffer.concat(
      parts.map(({ kind }) => (kind?.$case === 'chunk' ? kind.value : Buffer.alloc(0))),
    )
    const state = decodeSnapshot(content)
    expect(parts[0]?.kind).toMatchObject({
      $case: 'header',
      value: { clusterId: 'robust', index: state.index, generation: 0 },
    })
    expect(parts.at(-1)?.kind).toEqual({
      $case: 'sha256',
      value: createHash('sha256').update(content).digest('hex'),
    })
    const setting = { kind: 'setting', tenant: '', name: 'log.level' } as const
    expect(state.resources.get(setting)?.value).toBe('"error"')
  })

  it('is not made by a follower', async () => {
    const nodes = await three()
    const leader = await nodes.leader()
    const client = openClient(nodes.address(['a', 'b', 'c'].find((id) => id !== leader) ?? ''))
    cleanups.push(() => client.close())
    const read = async (): Promise<void> => {
      for await (const _ of client.backup({}));
    }
    await expect(read()).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
  })

  it('begins a new cluster, in which no number is given out again', async () => {
    const nodes = await three()
    await nodes.set('log.level', 'error')
    const before = await nodes.status(await nodes.leader())
    const file = await nodes.backup()
    for (const id of ['a', 'b', 'c']) await nodes.stop(id)
    await nodes.start('r', { restore: { file, generation: undefined } })
    expect(await nodes.leader()).toBe('r')
    const after = await nodes.status('r')
    expect(after.clusterId).toBe('robust-restored-1')
    expect(after.resources['setting']).toBe(1)
    expect(after.commitIndex).toBeGreaterThan(before.appliedIndex)
    // From here on it is a cluster like any other: it comes back, and grows.
    await nodes.stop('r')
    await nodes.start('r', {})
    await nodes.start('s', { join: [nodes.address('r')] })
    await nodes.change('add', 's')
    await nodes.change('promote', 's')
    expect(await nodes.members()).toEqual(['r', 's'])
    await expect.poll(async () => (await nodes.status('s')).resources['setting'], SLOW).toBe(1)
    await nodes.stop('s')
    const restore = { file, generation: undefined }
    await expect(nodes.start('s', { restore })).rejects.toThrow(IdentityError)
    await expect(nodes.start('t', { restore, clusterId: 'robust' })).rejects.toThrow(
      'is that of the backup',
    )
    await expect(
      nodes.start('t', { restore: { file: `${file}.none`, generation: undefined } }),
    ).rejects.toThrow('ENOENT')
  })
})
