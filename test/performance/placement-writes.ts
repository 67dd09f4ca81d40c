// What is measured of either store: committed writes per second with so many in flight, and how long after
// the death of its leader the next write succeeds.

import { pause } from './simulated-broker.ts'
import type { Puts, ThreeMembers } from './three-members.ts'

/** Of a store that has run for long: JavaScript gets faster over the first thousands of writes, alone too. */
const WARM_UP_MS = 3_000
const WARM_UP_IN_FLIGHT = [64, 1]
/** As many as a cluster of three brokers has. */
const CONNECTIONS = 3

const RETRY_MS = 20
const FAILOVER_MS_MAX = 15_000

let lastKey = 0

/** Writes per second, for each number in flight. Throws when a write fails. */
export async function writeRates(
  store: ThreeMembers,
  load: { readonly inFlight: readonly number[]; readonly seconds: number },
): Promise<number[]> {
  const leader = await store.leader()
  const open = Array.from({ length: CONNECTIONS }, () => store.openPuts(leader))
  const connections = await Promise.all(open)
  const rate = (inFlight: number, ms: number): Promise<number> =>
    writeRate({ store, connections, inFlight, ms })
  try {
    for (const inFlight of WARM_UP_IN_FLIGHT) await rate(inFlight, WARM_UP_MS)
    const rates: number[] = []
    for (const inFlight of load.inFlight) rates.push(await rate(inFlight, load.seconds * 1_000))
    return rates
  } finally {
    for (const connection of connections) connection.close()
  }
}

interface Load {
  readonly store: ThreeMembers
  readonly connections: readonly Puts[]
  readonly inFlight: number
  readonly ms: number
}

async function writeRate({ store, connections, inFlight, ms }: Load): Promise<number> {
  const startMs = performance.now()
  let written = 0
  const worker = async (at: number): Promise<void> => {
    const connection = connections[at % connections.length] as Puts
    while (performance.now() - startMs < ms) {
      lastKey += 1
      const ok = await connection.put(`key-${lastKey}`)
      if (!ok) throw new Error(`${store.name}: a write failed`)
      written += 1
    }
  }
  await Promise.all(Array.from({ length: inFlight }, (_, at) => worker(at)))
  return written / ((performance.now() - startMs) / 1_000)
}

/** Milliseconds from SIGKILL of the leader to the next write that succeeded; all three run again after. */
export async function failoverMs(store: ThreeMembers): Promise<number> {
  const leader = await store.leader()
  const others = [0, 1, 2].filter((at) => at !== leader)
  const open = others.map((at) => store.openPuts(at))
  const connections = await Promise.all(open)
  try {
    const startMs = performance.now()
    await store.kill(leader)
    return (await firstWrite(store, connections)) - startMs
  } finally {
    for (const connection of connections) connection.close()
    store.startMember(leader)
    await store.leader()
    // A member that has only just come back is no part of what is measured next.
    await pause(200)
  }
}

/** When one succeeded. Each survivor is asked every few milliseconds, whatever became of what it was asked. */
async function firstWrite(store: ThreeMembers, connections: readonly Puts[]): Promise<number> {
  const startMs = performance.now()
  let atMs: number | undefined
  while (atMs === undefined) {
    if (performance.now() - startMs > FAILOVER_MS_MAX)
      throw new Error(`${store.name}: no new leader`)
    for (const connection of connections) {
      lastKey += 1
      void connection.put(`key-${lastKey}`).then((ok) => {
        if (ok) atMs ??= performance.now()
      })
    }
    await pause(RETRY_MS)
  }
  return atMs
}
