/** Bridges, composed: which of them this broker runs, and what is left of those that are no more. */
import { randomUUID } from 'node:crypto'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { BrokerSettings } from './cluster/settings.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { BrokerConfig } from './config.ts'
import type { HostedShards } from './core/hosted-shard.ts'
import type { Messaging } from './core/messaging.ts'
import type { Timer } from './core/ports/clock.ts'
import { shardOf } from './core/shard-hash.ts'
import { policyOf } from './mqtt.ts'
import {
  type BridgeDefinition,
  bridgeOf,
  SESSION_PREFIX,
} from './protocols/mqtt/bridge/definition.ts'
import { BridgeHost } from './protocols/mqtt/bridge/host.ts'
import type { ProtocolLog } from './protocols/shared/protocol-server.ts'
import { SeldomLog } from './protocols/shared/seldom-log.ts'

export interface BridgesOptions {
  readonly config: BrokerConfig
  readonly metadata: MetadataCache
  readonly settings: BrokerSettings
  readonly hosted: HostedShards
  readonly messaging: Messaging
  readonly log: ProtocolLog
}

export interface Bridges extends Pick<BridgeHost, 'statuses' | 'reconcile'> {
  start(): void
  stop(): Promise<void>
}

const KIND = 'bridge'
/** A broker that lags does not know a new bridge for a moment: its session is not taken for a leftover at once. */
const LEFTOVER_MS = 30_000

export function composeBridges(options: BridgesOptions): Bridges {
  const { config, metadata, settings, hosted, messaging, log } = options
  const { resources } = metadata
  const seldom = new SeldomLog(log, systemClock)
  const prefix = randomUUID().slice(0, 8)
  let tokens = 0
  const host = new BridgeHost({
    messaging,
    clock: systemClock,
    policy: settings.live(policyOf),
    packetBytesMax: () => settings.get('limits.packet-bytes') ?? config.packetBytesMax,
    clusterId: () => metadata.clusterId,
    nextToken: () => `${prefix}-b${tokens++}`,
    random: Math.random,
    definitions: () => [...resources.list(KIND)].flatMap((known) => definitionOf(known, log)),
    isMine: (name) => hosted.get(shardOf(KIND, name, metadata.shardCount)) !== undefined,
    onTrouble: (bridge, reason) => {
      const fields = { errId: 'BRIDGE_TROUBLE', reason: `${bridge}: ${reason}` }
      seldom.warn(fields, 'a bridge has no connection to the other side, or was refused there')
    },
  })
  const leftovers = new Leftovers(options)
  const reconcile = (): void => {
    host.reconcile()
    leftovers.look()
  }
  resources.observe(KIND, reconcile)
  return {
    reconcile,
    statuses: () => host.statuses(),
    start: () => {
      host.start()
      leftovers.start()
    },
    stop: () => {
      leftovers.stop()
      return host.stop()
    },
  }
}

interface Known {
  readonly name: string
  readonly version: number
  readonly value: string
}

/** One that cannot be understood must not keep the others from running. */
function definitionOf({ name, version, value }: Known, log: ProtocolLog): BridgeDefinition[] {
  try {
    return [bridgeOf(name, version, value)]
  } catch (error) {
    log.warn(
      { errId: 'BRIDGE_TROUBLE', err: error, bridge: name },
      'the bridge cannot be understood',
    )
    return []
  }
}

/** Sessions of bridges that were deleted, ended by who owns their shards. */
class Leftovers {
  readonly #options: BridgesOptions
  readonly #seenAtMs = new Map<string, number>()
  #timer: Timer | undefined
  #isOn = false

  constructor(options: BridgesOptions) {
    this.#options = options
  }

  start(): void {
    this.#isOn = true
    this.look()
  }

  stop(): void {
    this.#isOn = false
    this.#timer?.cancel()
  }

  look(): void {
    if (!this.#isOn) return
    const { messaging, log } = this.#options
    const now = systemClock.nowMs()
    const found = new Set(this.#find())
    for (const session of this.#seenAtMs.keys()) {
      if (!found.has(session)) this.#seenAtMs.delete(session)
    }
    for (const session of found) {
      const seenAtMs = this.#seenAtMs.get(session) ?? now
      this.#seenAtMs.set(session, seenAtMs)
      if (now - seenAtMs < LEFTOVER_MS) continue
      log.info({ session }, 'ending the session of a bridge that was deleted')
      // One that fails is found again.
      messaging.endSession(session).catch(() => undefined)
    }
    this.#timer?.cancel()
    this.#timer = undefined
    if (found.size > 0) this.#timer = systemClock.after(LEFTOVER_MS + 1_000, () => this.look())
  }

  *#find(): Generator<string> {
    const { hosted, metadata } = this.#options
    for (const { sessions } of hosted.all()) {
      for (const { name } of sessions.durable()) {
        if (!name.startsWith(SESSION_PREFIX)) continue
        const bridge = name.slice(SESSION_PREFIX.length)
        if (metadata.resources.get(KIND, '', bridge) === undefined) yield name
      }
    }
  }
}
