// Resources by compare-and-set, asked for by several clients while Placement Center nodes are killed and paused:
// the history must be one that a single copy could have made. PLACEMENT_SEED repeats a schedule of faults (not
// the timing of the processes); PLACEMENT_FAULTS makes it longer.
import { setTimeout as sleep } from 'node:timers/promises'
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import {
  checkLinearizability,
  Recorder,
  VERSIONED,
  type VersionedInput,
  type VersionedOutput,
} from '@robust/chaos'
import { placement } from '@robust/proto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { HandMade } from '../support/center.ts'

const SEED = Number(process.env['PLACEMENT_SEED'] ?? Math.floor(Math.random() * 1e9))
const FAULTS = Number(process.env['PLACEMENT_FAULTS'] ?? 4)
const CLIENTS = 6
const KEYS = ['one', 'two', 'three']
const NODES = [1, 2, 3]
const CALL_MS = 1_500
/** So that a history stays small enough to be judged; there are thousands of operations nevertheless. */
const THINK_MS = 10
/** After an error, which comes at once where nobody listens. */
const REST_MS = 50

let made: HandMade

beforeAll(async () => {
  made = new HandMade()
  for (const number of NODES) made.startPlacement(number, NODES.length)
  await made.leader(1)
})

afterAll(() => made.purge())

/** Mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Invoke<R> = (
  client: placement.PlacementClient,
  call: { readonly metadata: Metadata; readonly options: { readonly deadline: number } },
  done: (error: ServiceError | null, reply: R) => void,
) => unknown

/** One client: it makes one call at a time, at the node that it takes for the leader. */
class Asker {
  readonly #clients: readonly placement.PlacementClient[]
  readonly #addresses: readonly string[]
  #at = 0

  constructor(addresses: readonly string[]) {
    this.#addresses = addresses
    const options = {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 200,
    }
    this.#clients = addresses.map(
      (address) => new placement.PlacementClient(address, credentials.createInsecure(), options),
    )
  }

  async #call<R>(invoke: Invoke<R>): Promise<R> {
    const client = this.#clients[this.#at] as placement.PlacementClient
    try {
      return await new Promise<R>((resolve, reject) => {
        const call = { metadata: new Metadata(), options: { deadline: Date.now() + CALL_MS } }
        invoke(client, call, (error, reply) => (error ? reject(error) : resolve(reply)))
      })
    } catch (error) {
      const leader = (error as ServiceError).metadata?.get('leader-address')[0]?.toString()
      const named = this.#addresses.indexOf(leader ?? '')
      const isAnswer = [status.ABORTED, status.NOT_FOUND].includes((error as ServiceError).code)
      if (named >= 0) this.#at = named
      else if (!isAnswer) this.#at = (this.#at + 1) % this.#addresses.length
      throw error
    }
  }

  async run(name: string, input: VersionedInput): Promise<VersionedOutput> {
    const key = { kind: 'queue', tenant: 't', name }
    try {
      switch (input.kind) {
        case 'read': {
          const { version, value } = await this.#call<placement.Resource>((client, call, done) =>
            client.getResource({ key }, call.metadata, call.options, done),
          )
          return { kind: 'found', version, value: JSON.parse(value).dialects.test.owner }
        }
        case 'put': {
          const value = JSON.stringify({ dialects: { test: { owner: input.value } } })
          const request = { key, value, expectedVersion: input.expected, by: '' }
          const { version } = await this.#call<placement.PutResourceReply>((client, call, done) =>
            client.putResource(request, call.metadata, call.options, done),
          )
          return { kind: 'put', version }
        }
        case 'delete': {
          const request = { key, expectedVersion: input.expected, by: '' }
          await this.#call<placement.DeleteResourceReply>((client, call, done) =>
            client.deleteResource(request, call.metadata, call.options, done),
          )
          return { kind: 'deleted' }
        }
      }
    } catch (error) {
      const { code, metadata } = error as ServiceError
      if (code === status.NOT_FOUND && input.kind === 'read') return { kind: 'none' }
      if (code !== status.ABORTED) throw error
      return { kind: 'conflict', version: Number(metadata.get('current-version')[0]) }
    }
  }

  close(): void {
    for (const client of this.#clients) client.close()
  }
}

/** A follower did nothing, nor did a leader that says so. Everything else may have been done. */
function judge(error: unknown): 'fail' | 'unknown' {
  const { code, metadata } = error as ServiceError
  const isNone = metadata?.get('outcome')[0] === 'none'
  return code === status.FAILED_PRECONDITION || isNone ? 'fail' : 'unknown'
}

/** Reads and changes at random what it last saw, until it is told to stop. */
async function load(
  recorder: Recorder<VersionedInput, VersionedOutput>,
  { client, chance, isOver }: { client: string; chance: () => number; isOver: () => boolean },
): Promise<void> {
  const asker = new Asker(NODES.map((number) => made.placementAddress(number)))
  const versions = new Map<string, number>()
  for (let count = 0; !isOver(); count++) {
    const key = KEYS[Math.floor(chance() * KEYS.length)] as string
    const expected = versions.get(key)
    const dice = chance()
    const input: VersionedInput =
      expected === undefined || dice < 0.4
        ? { kind: 'read' }
        : dice < 0.95 || expected === 0
          ? { kind: 'put', expected, value: `${client}-${count}` }
          : { kind: 'delete', expected }
    const run = () => asker.run(key, input)
    const output = await recorder.call({ client, key, input, run, judge })
    if (output === undefined) versions.delete(key)
    else versions.set(key, 'version' in output ? output.version : 0)
    await sleep(output === undefined ? REST_MS : THINK_MS)
  }
  asker.close()
}

/** No majority for a while: one is paused, another one dead. Whole again when it resolves. */
async function noMajority(): Promise<string> {
  const leader = Number((await made.leader(1)).split('-')[1])
  const [one, other] = NODES.filter((number) => number !== leader) as [number, number]
  const node = made.servers.get(`placement-${one}`)
  node?.signal('SIGSTOP')
  await made.servers.get(`placement-${other}`)?.kill()
  await sleep(500)
  node?.signal('SIGCONT')
  made.startPlacement(other, NODES.length)
  await made.leader(other)
  return 'no majority'
}

/** Kills or pauses the leader or another one; whole again when it resolves. */
async function fault(chance: () => number): Promise<string> {
  const leader = Number((await made.leader(1 + Math.floor(chance() * 3))).split('-')[1])
  const others = NODES.filter((number) => number !== leader)
  const isLeader = chance() < 0.7
  const victim = isLeader ? leader : (others[Math.floor(chance() * 2)] as number)
  const node = made.servers.get(`placement-${victim}`)
  const kind = chance() < 0.5 ? 'kill' : 'pause'
  if (kind === 'kill') {
    await node?.kill()
    await sleep(500 + 1_500 * chance())
    made.startPlacement(victim, NODES.length)
  } else {
    node?.signal('SIGSTOP')
    await sleep(1_000 + 2_500 * chance())
    node?.signal('SIGCONT')
  }
  await made.leader(victim)
  return `${kind} ${isLeader ? 'leader' : 'follower'}`
}

test('resources are linearizable while nodes are killed and paused', async () => {
  process.stderr.write(`[linearizability] PLACEMENT_SEED=${SEED}\n`)
  const chance = randomFrom(SEED)
  const recorder = new Recorder<VersionedInput, VersionedOutput>()
  let isOver = false
  const clients = Array.from({ length: CLIENTS }, (_, at) =>
    load(recorder, { client: `c${at}`, chance: randomFrom(SEED + at), isOver: () => isOver }),
  )
  const done = () => recorder.history.filter(({ outcome }) => outcome === 'ok').length
  const termBefore = (await made.view(1))?.term ?? 0
  const faults: string[] = []
  // The leader is killed once and paused once, and two are away once, whatever the seed says.
  const random = Array.from({ length: Math.max(0, FAULTS - 3) }, () => () => fault(chance))
  const schedule = [() => fault(() => 0), () => fault(() => 0.6), noMajority, ...random]
  for (const strike of schedule) {
    const before = done()
    await expect.poll(done).toBeGreaterThan(before + 50)
    faults.push(await strike())
  }
  const before = done()
  await expect.poll(done).toBeGreaterThan(before + 100)
  isOver = true
  await Promise.all(clients)
  // A read that was not answered says nothing, and only makes the search longer.
  const history = recorder.history.filter(
    ({ outcome, input }) => outcome !== 'unknown' || input.kind !== 'read',
  )
  const count = (outcome: string) => history.filter((each) => each.outcome === outcome).length
  const figures = `${count('ok')} ok, ${count('fail')} not done, ${count('unknown')} unknown`
  process.stderr.write(`[linearizability] ${figures}; ${faults.join(', ')}\n`)
  expect((await made.view(1))?.term).toBeGreaterThan(termBefore + 1)
  const verdict = checkLinearizability(history, VERSIONED)
  expect(verdict.kind, JSON.stringify(verdict, undefined, 1)).toBe('linearizable')
  // The checker would have noticed: a value that was never written.
  const at = history.findLastIndex(({ output }) => output?.kind === 'found')
  const forged = history.with(at, {
    ...(history[at] as (typeof history)[number]),
    output: { kind: 'found', value: 'never', version: 1 },
  })
  // On a long history the search may end before it has proved it; what is good it finds.
  expect(checkLinearizability(forged, VERSIONED).kind).not.toBe('linearizable')
})
