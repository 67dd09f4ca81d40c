/**
 * What clients of the Placement Center see while its members are killed and paused is what one machine
 * that does one thing at a time would have shown them. Resources are registers here: read, written, and
 * compared and set by concurrent clients that ask any member, and follow it to the leader.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Recorder } from '../checkers/history.ts'
import { checkLinearizability } from '../checkers/linearizability.ts'
import { REGISTER, type RegisterInput, type RegisterOutput } from '../checkers/models.ts'
import { startCluster, type TestCluster } from '../support/cluster.ts'

const MEMBERS = 3
const PLACEMENT_PORT = 1228
const PORT_STEP = 100
const CLIENTS = 6
/** Clients meet at these; a new set of names every few seconds keeps what is unknown about each small. */
const KEYS_AT_ONCE = 3
const KEY_AGE_MS = 2_000
const CALL_MS = 1_500
const CHANNEL = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 300,
}

let cluster: TestCluster
let addresses: readonly string[]

beforeAll(async () => {
  cluster = await startCluster('--nodes', '1', '--placement', String(MEMBERS), '--preset', 'dev')
  addresses = Array.from(
    { length: MEMBERS },
    (_, at) => `127.0.0.1:${PLACEMENT_PORT + PORT_STEP * at + cluster.offset}`,
  )
}, 120_000)

afterAll(() => cluster.purge())

const isRunning = { value: true }

class Client {
  readonly #name: string
  readonly #recorder: Recorder<RegisterInput, RegisterOutput>
  readonly #channels = new Map<string, placement.PlacementClient>()
  /** What is known of each key: a value, and the version under which it was there. */
  readonly #known = new Map<string, { value: string | undefined; version: number }>()
  #address = ''
  #calls = 0

  constructor(name: string, recorder: Recorder<RegisterInput, RegisterOutput>) {
    this.#name = name
    this.#recorder = recorder
  }

  async run(startMs: number): Promise<void> {
    while (isRunning.value) {
      const age = Math.floor((performance.now() - startMs) / KEY_AGE_MS)
      const key = `${age}-${Math.floor(Math.random() * KEYS_AT_ONCE)}`
      const output = await this.#act(key, Math.random())
      // Whoever failed waits, so that a time without a leader is not a thousand unknown writes.
      await sleep(output === undefined ? 150 : 2)
    }
    for (const channel of this.#channels.values()) channel.close()
  }

  #act(key: string, dice: number): Promise<RegisterOutput | undefined> {
    this.#calls += 1
    const value = `${this.#name}.${this.#calls}`
    const known = this.#known.get(key)
    if (dice < 0.5) return this.#call(key, { kind: 'read' }, () => this.#read(key))
    if (dice < 0.7 || known === undefined) {
      return this.#call(key, { kind: 'write', value }, () => this.#put(key, { value }))
    }
    const { value: expected, version: expectedVersion } = known
    return this.#call(key, { kind: 'compare-and-set', expected, value }, () =>
      this.#put(key, { value, expectedVersion }),
    )
  }

  #call(
    key: string,
    input: RegisterInput,
    run: () => Promise<RegisterOutput>,
  ): Promise<RegisterOutput | undefined> {
    return this.#recorder.call({
      client: this.#name,
      key,
      input,
      run,
      // A read that failed has done nothing in any case; of a write it is only known when it was refused.
      judge: (error) => {
        this.#follow(error as ServiceError)
        const { code } = error as ServiceError
        const isRefused = code === status.FAILED_PRECONDITION || code === status.RESOURCE_EXHAUSTED
        return input.kind === 'read' || isRefused ? 'fail' : 'unknown'
      },
    })
  }

  async #read(key: string): Promise<RegisterOutput> {
    try {
      const { value, version } = await this.#ask<placement.Resource>((client, options, done) =>
        client.getResource({ key: keyOf(key) }, new Metadata(), options, done),
      )
      const [text] = (JSON.parse(value) as { tags: string[] }).tags
      this.#known.set(key, { value: text, version })
      return { kind: 'value', value: text }
    } catch (error) {
      if ((error as ServiceError).code !== status.NOT_FOUND) throw error
      this.#known.set(key, { value: undefined, version: 0 })
      return { kind: 'value', value: undefined }
    }
  }

  async #put(
    key: string,
    { value, expectedVersion }: { value: string; expectedVersion?: number },
  ): Promise<RegisterOutput> {
    const request = {
      key: keyOf(key),
      value: JSON.stringify({ tags: [value] }),
      expectedVersion,
      by: this.#name,
    }
    try {
      const { version } = await this.#ask<placement.PutResourceReply>((client, options, done) =>
        client.putResource(request, new Metadata(), options, done),
      )
      this.#known.set(key, { value, version })
      return { kind: 'written' }
    } catch (error) {
      if ((error as ServiceError).code !== status.ABORTED) throw error
      this.#known.delete(key)
      return { kind: 'conflict' }
    }
  }

  #ask<T>(
    invoke: (
      client: placement.PlacementClient,
      options: { deadline: number },
      done: (error: ServiceError | null, reply: T) => void,
    ) => unknown,
  ): Promise<T> {
    const address = this.#address === '' ? anyAddress() : this.#address
    let client = this.#channels.get(address)
    if (client === undefined) {
      client = new placement.PlacementClient(address, credentials.createInsecure(), CHANNEL)
      this.#channels.set(address, client)
    }
    const asked = client
    return new Promise((resolve, reject) => {
      invoke(asked, { deadline: Date.now() + CALL_MS }, (error, reply) => {
        if (error === null) resolve(reply)
        else reject(error)
      })
    })
  }

  /** To the leader that was named, else to anyone: also to one that only thinks that it leads. */
  #follow({ metadata }: ServiceError): void {
    const [leader] = metadata?.get('leader-address') ?? []
    this.#address = typeof leader === 'string' ? leader : anyAddress()
  }
}

function anyAddress(): string {
  return addresses[Math.floor(Math.random() * addresses.length)] ?? ''
}

function keyOf(name: string): placement.ResourceKey {
  return { kind: 'user', tenant: 'linearizable', name }
}

async function leaderName(): Promise<string> {
  let leader: string | null = null
  const found = async (): Promise<boolean> => {
    ;({ leader } = (await cluster.status()).placement)
    return leader !== null
  }
  await expect.poll(found, { timeout: 20_000, interval: 200 }).toBe(true)
  return leader ?? ''
}

async function robust(...args: string[]): Promise<void> {
  const ran = await cluster.robust('cluster', ...args)
  expect(`${args.join(' ')}: ${ran.code} ${ran.stderr}`).toBe(`${args.join(' ')}: 0 `)
}

const FAULTS: readonly (() => Promise<void>)[] = [
  async function killTheLeader() {
    const leader = await leaderName()
    await robust('kill', leader)
    await sleep(1_000)
    await robust('restart', leader)
  },
  async function pauseTheLeaderUntilAnotherLeads() {
    const leader = await leaderName()
    await robust('pause', leader)
    await expect.poll(leaderName, { timeout: 20_000, interval: 200 }).not.toBe(leader)
    await robust('resume', leader)
  },
  async function killOneWhileAnotherIsPaused() {
    const leader = await leaderName()
    const [one, other] = [1, 2, 3].map((n) => `placement-${n}`).filter((name) => name !== leader)
    await robust('pause', one ?? '')
    await robust('kill', other ?? '')
    await sleep(500)
    await robust('resume', one ?? '')
    await robust('restart', other ?? '')
  },
]

test('resources are linearizable under SIGKILL and SIGSTOP of Placement Center members', async () => {
  const recorder = new Recorder<RegisterInput, RegisterOutput>()
  const startMs = performance.now()
  const clients = Array.from({ length: CLIENTS }, (_, at) => new Client(`c${at}`, recorder))
  const running = Promise.all(clients.map((client) => client.run(startMs)))
  try {
    for (const fault of FAULTS) {
      const done = (): number => recorder.history.filter(({ outcome }) => outcome === 'ok').length
      const before = done()
      await fault()
      // Progress between the faults: else the next one befalls a cluster that does nothing.
      await expect.poll(done, { timeout: 20_000, interval: 100 }).toBeGreaterThan(before + 100)
    }
  } finally {
    isRunning.value = false
    await running
  }
  const { history } = recorder
  const count = (outcome: string): number =>
    history.filter((each) => each.outcome === outcome).length
  const verdict = checkLinearizability(history, REGISTER)
  const { kind } = verdict
  console.info('linearizable', {
    kind,
    ...{ ok: count('ok'), fail: count('fail'), unknown: count('unknown') },
  })
  expect(verdict).toMatchObject({ kind: 'linearizable' })
  expect(count('ok')).toBeGreaterThan(300)
  const conflicts = history.filter(({ output }) => output?.kind === 'conflict')
  expect(conflicts.length).toBeGreaterThan(5)
}, 180_000)
