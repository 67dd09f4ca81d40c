/**
 * Topics and queues that are made, changed and deleted at the Placement Center by clients that begin at different nodes,
 * each on the version that it last saw; and observers of who owns what. The history must be one that a single copy
 * could have made.
 */
import { checkLeases, type LeaseSeen } from '../checkers/leases.ts'
import { checkLinearizability } from '../checkers/linearizability/linearizability.ts'
import { type History, type Operation, Recorder } from '../checkers/linearizability/recorder.ts'
import {
  VERSIONED,
  type VersionedInput,
  type VersionedOutput,
} from '../checkers/linearizability/versioned.ts'
import type { Finding, Verdict } from '../checkers/verdict.ts'
import type { MetadataClient } from '../control.ts'
import type { Outcome } from '../history.ts'
import { seededRandom } from '../scenario/seeded-random.ts'
import { allServed, pause, Sender, type StartWorkload, within } from './workload.ts'

/** Contended by all clients. */
const NAMES = ['topic:one', 'topic:two', 'queue:one', 'queue:two']
/** Then others take their place: the search of a checker grows faster than what it searches. */
const NAMES_MS = 4_000
const THINK_MS = 20
const LOOK_MS = 200
const STOP_MS = 30_000
const REMOVE_MS = 5_000
/** So that every value is valid in a topic, as its retention. */
const FIRST_VALUE = 1_000_000

export type Resources = History<VersionedInput, VersionedOutput>

export const metadata: StartWorkload = async ({ metadata: connect, run, clients }) => {
  if (connect === undefined) throw new Error('this cluster does not let metadata be reached')
  const recorder = new Recorder<VersionedInput, VersionedOutput>()
  const startMs = performance.now()
  const names = () => {
    const turn = Math.floor((performance.now() - startMs) / NAMES_MS)
    return NAMES.map((name) => `${name}-${run}-${turn}`)
  }
  let newest = FIRST_VALUE
  const ids = Array.from({ length: clients }, (_, at) => `${run}-metadata-${at + 1}`)
  const changers = ids.map((client, at) => {
    const [connection, random] = [connect(at), seededRandom(at + 1)]
    const change = changer(recorder, { client, connection, random, value: () => String(newest++) })
    return { connection, sender: new Sender(client, () => change(names())) }
  })
  const senders = changers.map(({ sender }) => sender)
  const observers = ids.map((_, at) => new Observer(connect(at), String(at)))
  await allServed(senders)
  return {
    clients: ids,
    get sends() {
      return senders.flatMap(({ sends }) => sends)
    },
    finish: async () => {
      const stopped = await Promise.all(senders.map((sender) => sender.stop(STOP_MS)))
      await Promise.all(observers.map((observer) => observer.stop()))
      for (const { connection } of changers) connection.close()
      const stuck = ids.filter((_, at) => stopped[at] === false)
      const seen = observers.flatMap((observer) => observer.seen)
      return judgeMetadata(recorder.history, { seen, stuck })
    },
    remove: async () => {
      const made = new Set(recorder.history.map(({ key }) => key))
      const connection = connect(0)
      for (const key of made) await within(remove(connection, key), REMOVE_MS)
      connection.close()
    },
  }
}

export function judgeMetadata(
  recorded: Resources,
  { seen, stuck }: { readonly seen: readonly LeaseSeen[]; readonly stuck: readonly string[] },
): Verdict {
  // A read that was not answered says nothing, and only makes the search longer.
  const history = recorded.filter(
    ({ outcome, input }) => outcome !== 'unknown' || input.kind !== 'read',
  )
  const count = (outcome: Outcome): number =>
    history.filter((operation) => operation.outcome === outcome).length
  return {
    acknowledged: count('ok'),
    unknown: count('unknown'),
    delivered: history.filter(({ output }) => output?.kind === 'found').length,
    redelivered: 0,
    findings: [
      ...keysOf(history).flatMap((operations) => findingsIn(operations)),
      ...checkLeases(seen),
      ...stuck.map((what): Finding => ({ kind: 'stuck', what })),
    ],
  }
}

function keysOf(history: Resources): readonly Resources[] {
  const byKey = new Map<string, Operation<VersionedInput, VersionedOutput>[]>()
  for (const operation of history) {
    const { key } = operation
    byKey.set(key, [...(byKey.get(key) ?? []), operation])
  }
  return [...byKey.values()]
}

function findingsIn(history: Resources): readonly Finding[] {
  const verdict = checkLinearizability(history, VERSIONED)
  if (verdict.kind === 'linearizable') return []
  if (verdict.kind === 'undecided') {
    return [{ kind: 'undecided', what: `${verdict.key}, after ${verdict.states} states` }]
  }
  const { client, input, output } = verdict.stuck
  const what = `${verdict.key}: ${client} cannot have had ${JSON.stringify(output)} of ${JSON.stringify(input)} when it was ${verdict.state}`
  return [{ kind: 'not linearizable', what }]
}

/** Reads, or changes on the version that it last saw. */
function changer(
  recorder: Recorder<VersionedInput, VersionedOutput>,
  own: {
    readonly client: string
    readonly connection: MetadataClient
    readonly random: () => number
    readonly value: () => string
  },
): (names: readonly string[]) => Promise<Outcome> {
  const { client, connection, random } = own
  const versions = new Map<string, number>()
  return async (names) => {
    const key = names[Math.floor(random() * names.length)] as string
    const expected = versions.get(key)
    const chance = random()
    const input: VersionedInput =
      expected === undefined || chance < 0.3
        ? { kind: 'read' }
        : expected === 0 || chance < 0.85
          ? { kind: 'put', expected, value: own.value() }
          : { kind: 'delete', expected }
    const run = () => connection.run(key, input)
    const judge = (error: unknown) => connection.judge(error)
    const output = await recorder.call({ client, key, input, run, judge })
    await pause(THINK_MS)
    if (output === undefined) versions.delete(key)
    else versions.set(key, 'version' in output ? output.version : 0)
    return output === undefined ? 'unknown' : 'ok'
  }
}

async function remove(connection: MetadataClient, key: string): Promise<void> {
  const found = await connection.run(key, { kind: 'read' })
  if (found.kind !== 'found') return
  await connection.run(key, { kind: 'delete', expected: found.version })
}

/** Looks at one node all the time, and keeps what has changed. */
class Observer {
  readonly seen: LeaseSeen[] = []
  readonly #connection: MetadataClient
  readonly #node: string
  readonly #last = new Map<number, string>()
  readonly #done: Promise<void>
  #isStopped = false

  constructor(connection: MetadataClient, node: string) {
    this.#connection = connection
    this.#node = node
    this.#done = this.#loop()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#done
    this.#connection.close()
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      await this.#look().catch(() => undefined)
      await pause(LOOK_MS)
    }
  }

  async #look(): Promise<void> {
    const { index, leases } = await this.#connection.leases()
    for (const { shard, epoch, owner } of leases) {
      const now = `${epoch} ${owner}`
      if (this.#last.get(shard) === now) continue
      this.#last.set(shard, now)
      this.seen.push({ node: this.#node, shard, epoch, owner, index })
    }
  }
}
