/** What a bridge is: another broker, and what is carried to and from it. */
import type { QoS } from '../packets.ts'

export interface BridgeRule {
  readonly filter: string
  readonly qos: QoS
  /** In front of each topic, on the side that it goes to. */
  readonly prefix: string
}

export interface BridgeDefinition {
  readonly name: string
  /** Grows with each change. */
  readonly version: number
  readonly host: string
  readonly port: number
  readonly tls:
    | { readonly authorities: string | undefined; readonly isUnchecked: boolean }
    | undefined
  readonly protocol: 4 | 5
  readonly clientId: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly keepAliveSeconds: number
  /** From there to here. */
  readonly in: readonly BridgeRule[]
  /** From here to there. */
  readonly out: readonly BridgeRule[]
}

/** As it is kept in the metadata; what it may be was checked before. */
interface StoredBridge {
  readonly url: string
  readonly protocol?: 4 | 5
  readonly clientId?: string
  readonly username?: string
  readonly password?: string
  readonly authorities?: string
  readonly insecure?: boolean
  readonly keepAliveSeconds?: number
  readonly in?: readonly BridgeRule[]
  readonly out?: readonly BridgeRule[]
}

const PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883 }
const KEEP_ALIVE_SECONDS = 60

export function bridgeOf(name: string, version: number, json: string): BridgeDefinition {
  const stored = JSON.parse(json) as StoredBridge
  const { protocol, hostname, port } = new URL(stored.url)
  const isSecure = protocol === 'mqtts:'
  return {
    name,
    version,
    // An IPv6 address is in brackets.
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (PORTS[protocol] ?? 0) : Number(port),
    tls: isSecure
      ? { authorities: stored.authorities, isUnchecked: stored.insecure === true }
      : undefined,
    protocol: stored.protocol ?? 5,
    clientId: stored.clientId ?? `robust-bridge-${name}`,
    username: stored.username,
    password: stored.password,
    keepAliveSeconds: stored.keepAliveSeconds ?? KEEP_ALIVE_SECONDS,
    in: stored.in ?? [],
    out: stored.out ?? [],
  }
}

/** Of this cluster: what waits for the other side, and what was taken from it. No client has the name. */
export function sessionOf({ name }: Pick<BridgeDefinition, 'name'>): string {
  return `${SESSION_PREFIX}${name}`
}

export const SESSION_PREFIX = '$bridge/'
