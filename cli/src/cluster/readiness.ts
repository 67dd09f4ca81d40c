/**
 * When a cluster is ready: the Placement Center has a leader with a quorum, every broker is registered, and
 * every listener answers a handshake of its own protocol.
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { placement } from '@robust/proto'
import { isServing, placementStatus } from '../clients.ts'
import type { NodeRecord } from './state.ts'

export interface Readiness {
  readonly placement: readonly string[]
  /** `host:port` of storage nodes of ours. */
  readonly storage: readonly string[]
  readonly brokers: readonly NodeRecord[]
  /** Placement Center nodes of ours; each must answer, not only enough of them. */
  readonly members: readonly NodeRecord[]
  readonly host: string
}

export interface WaitOptions {
  readonly timeoutMs: number
  /** Throws when waiting is pointless: a process has ended, the user has had enough. */
  readonly check: () => void
}

export type Missing = { readonly what: string; readonly node: string | undefined }

const pollMs = 50
const probeMs = 500

/** Resolves with what was not ready when the time was over; empty: all is. */
export async function waitUntilReady(
  target: Readiness,
  options: WaitOptions,
): Promise<readonly Missing[]> {
  const { host, brokers, members } = target
  const results = await Promise.all([
    ...target.storage.map((address) =>
      until(options, async () =>
        (await isServing(address, probeMs))
          ? []
          : [{ what: `storage at ${address} does not serve`, node: 'storage-1' }],
      ),
    ),
    ...(brokers.length === 0
      ? []
      : [
          until(options, async () =>
            missingIn(
              await leaderStatus(target.placement),
              brokers.map(({ name }) => name),
            ),
          ),
        ]),
    ...members.map(({ name, ports }) =>
      until(options, async () =>
        (await placementStatus(`${host}:${ports['grpc']}`, probeMs)) === undefined
          ? [{ what: `${name} does not answer`, node: name }]
          : [],
      ),
    ),
    ...brokers.map(({ name, ports, args }) =>
      until(options, async () =>
        ports['mqtt'] === undefined ||
        (await mqttAnswers(host, ports['mqtt'], { greeting: greetingFor(args) }))
          ? []
          : [{ what: `${name} does not answer at its MQTT port`, node: name }],
      ),
    ),
  ])
  return firstOfEach(results.flat())
}

/** A node that is not registered does not answer either: one of the two is enough to say. */
function firstOfEach(missing: readonly Missing[]): readonly Missing[] {
  const told = new Set<string | undefined>()
  return missing.filter(({ node }) => !told.has(node) && told.add(node))
}

/** What the Placement Center still lacks, from its leader's view. */
export function missingIn(
  status: placement.StatusReply | undefined,
  brokers: readonly string[],
): readonly Missing[] {
  if (status?.hasQuorum !== true) {
    return [{ what: 'the Placement Center has no leader', node: 'placement-1' }]
  }
  const registered = new Set(status.metadata?.nodes.map(({ nodeId }) => nodeId))
  return brokers
    .filter((name) => !registered.has(name))
    .map((name) => ({ what: `${name} is not registered`, node: name }))
}

/** Repeats until nothing is missing or the time is over. */
async function until(
  { timeoutMs, check }: WaitOptions,
  look: () => Promise<readonly Missing[]>,
): Promise<readonly Missing[]> {
  const end = performance.now() + timeoutMs
  for (;;) {
    check()
    const missing = await look()
    if (missing.length === 0 || performance.now() > end) return missing
    await sleep(pollMs)
  }
}

/** Whether every shard has an owner that serves it, within the time. */
export async function waitUntilShardsOpen(
  addresses: readonly string[],
  options: WaitOptions,
): Promise<boolean> {
  const missing = await until(options, async () => {
    const shards = (await leaderStatus(addresses))?.metadata?.shards ?? []
    const isOpen = shards.length > 0 && shards.every(({ opened }) => opened)
    return isOpen ? [] : [{ what: 'shards are not open', node: undefined }]
  })
  return missing.length === 0
}

/** The leader's view; undefined when no leader answers. */
export async function leaderStatus(
  addresses: readonly string[],
): Promise<placement.StatusReply | undefined> {
  const replies = await Promise.all(addresses.map((address) => placementStatus(address, probeMs)))
  return replies
    .filter((reply) => reply !== undefined)
    .filter(({ role }) => role === 'leader')
    .sort((one, other) => other.term - one.term)[0]
}

/** CONNECT of MQTT 3.1.1: clean session, no client id, keep-alive 60 s. */
const CONNECT = Buffer.from('100c00044d5154540402003c0000', 'hex')
const DISCONNECT = Buffer.from('e000', 'hex')
const CONNACK = 0x20
/** Accepted, bad user name or password, not authorised. */
const ANSWERS: ReadonlySet<number> = new Set([0, 4, 5])

/** What a listener behind a load balancer wants to hear first. */
function greetingFor(args: readonly string[]): string {
  const proxied = args[args.indexOf('--proxy-protocol') + 1] ?? ''
  const asked = args.includes('--proxy-protocol') && proxied.split(',').includes('mqtt')
  return asked ? 'PROXY UNKNOWN\r\n' : ''
}

/** Whether an MQTT server at the port answers a CONNECT, be it that it lets nobody in without a password. */
export function mqttAnswers(
  host: string,
  port: number,
  { withinMs = probeMs, greeting = '' } = {},
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const finish = (accepted: boolean): void => {
      clearTimeout(timer)
      if (accepted) socket.end(DISCONNECT)
      else socket.destroy()
      resolve(accepted)
    }
    const timer = setTimeout(() => finish(false), withinMs)
    let received = Buffer.alloc(0)
    socket.once('connect', () => socket.write(Buffer.concat([Buffer.from(greeting), CONNECT])))
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      if (received.length >= 4) finish(received[0] === CONNACK && ANSWERS.has(received[3] ?? -1))
    })
    socket.once('error', () => finish(false))
    socket.once('close', () => finish(false))
  })
}
