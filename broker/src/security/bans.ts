/** Who may not connect, by client id, user or address, for a time or for ever; as the metadata has it. */
import { BlockList, isIP } from 'node:net'
import type { Resources } from '../core/ports/resources.ts'

export interface Visitor {
  readonly clientId: string
  /** Undefined: not known yet. */
  readonly user: string | undefined
  readonly address: string
}

interface Ban {
  readonly kind: string
  readonly who: string
  /** Wall clock, ms. */
  readonly until?: number
}

const KIND = 'ban'

export class Bans {
  readonly #wallMs: () => number
  readonly #named = new Map<string, Ban>()
  #addresses: readonly { readonly ban: Ban; readonly list: BlockList }[] = []
  readonly #listeners = new Set<() => void>()

  constructor(resources: Resources, wallMs: () => number) {
    this.#wallMs = wallMs
    this.#read(resources)
    resources.observe(KIND, () => {
      this.#read(resources)
      for (const listener of this.#listeners) listener()
    })
  }

  /** `listener` is told when there are other bans. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener)
  }

  isBanned({ clientId, user, address }: Visitor): boolean {
    if (this.#named.size === 0 && this.#addresses.length === 0) return false
    if (this.#holds(this.#named.get(keyOf('client', clientId)))) return true
    if (user !== undefined && this.#holds(this.#named.get(keyOf('user', user)))) return true
    const plain = address.replace(/^::ffff:/, '')
    const family = isIP(plain)
    if (family === 0)
      return this.#addresses.some(({ ban }) => ban.who === address && this.#holds(ban))
    const type = family === 4 ? 'ipv4' : 'ipv6'
    return this.#addresses.some(({ ban, list }) => list.check(plain, type) && this.#holds(ban))
  }

  #holds(ban: Ban | undefined): boolean {
    return ban !== undefined && (ban.until === undefined || ban.until > this.#wallMs())
  }

  #read(resources: Resources): void {
    this.#named.clear()
    const addresses: { ban: Ban; list: BlockList }[] = []
    for (const { value } of resources.list(KIND)) {
      const ban = JSON.parse(value) as Ban
      if (ban.kind === 'address') addresses.push({ ban, list: listOf(ban.who) })
      else this.#named.set(keyOf(ban.kind, ban.who), ban)
    }
    this.#addresses = addresses
  }
}

function keyOf(kind: string, who: string): string {
  return `${kind} ${who}`
}

/** Of one address or of a network; of nothing when it is neither. */
function listOf(who: string): BlockList {
  const list = new BlockList()
  const [address = '', prefix] = who.split('/')
  const family = isIP(address)
  if (family === 0) return list
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const bits = Number(prefix)
  if (prefix === undefined) list.addAddress(address, type)
  else if (Number.isInteger(bits) && bits >= 0 && bits <= (family === 4 ? 32 : 128)) {
    list.addSubnet(address, bits, type)
  }
  return list
}
