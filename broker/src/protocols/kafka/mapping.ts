/** What is here as Kafka's clients see it: brokers as numbers with an address, topics by their ids. */
import type { Topic } from '../../core/topics/topic-logs.ts'

export interface MemberNode {
  readonly node: string
  /** Where Kafka's clients reach it by a listener; a host that means every interface: wherever it is reached now. */
  readonly host: string
  readonly port: number
}

export interface KafkaNode {
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

export interface MembersOptions {
  readonly self: string
  readonly clusterId: () => string
  /** Brokers that speak Kafka by a listener of this name, this one included. */
  readonly nodes: (entrance: string) => readonly MemberNode[]
  readonly hashOf: (text: string) => number
}

/** How a client came in: it must be able to reach the others in the same way. */
export interface Way {
  readonly entrance: string
  /** Address of this broker that it dialled; undefined: not known. */
  readonly dialled: string | undefined
}

const EVERY_INTERFACE: readonly string[] = ['0.0.0.0', '::', '']

export class Members {
  readonly #options: MembersOptions
  readonly #way: Way

  constructor(options: MembersOptions, way: Way) {
    this.#options = options
    this.#way = way
  }

  get self(): number {
    return this.idOf(this.#options.self)
  }

  get selfNode(): string {
    return this.#options.self
  }

  get clusterId(): string {
    return this.#options.clusterId()
  }

  all(): readonly KafkaNode[] {
    return this.#options.nodes(this.#way.entrance).map((one) => this.#seen(one))
  }

  /** Undefined: it is not there (now), or has no such listener. */
  find(node: string): KafkaNode | undefined {
    const found = this.#options.nodes(this.#way.entrance).find((one) => one.node === node)
    return found && this.#seen(found)
  }

  #seen({ node, host, port }: MemberNode): KafkaNode {
    const { dialled = host } = this.#way
    const reached = EVERY_INTERFACE.includes(host) ? dialled.replace(/^::ffff:/, '') : host
    return { nodeId: this.idOf(node), host: reached, port }
  }

  /** The same at every broker, for as long as the node has its name; 31 bits, so that it is never negative. */
  idOf(node: string): number {
    return this.#options.hashOf(node) & 0x7fff_ffff
  }
}

/** Ids of topics are whole numbers. */
export function uuidOf({ id }: Pick<Topic, 'id'>): string {
  return Number(id).toString(16).padStart(32, '0')
}

/** Of a topic; what is no id of one is none of an existing one. */
export function topicIdOf(uuid: string): string {
  return String(Number.parseInt(uuid, 16))
}
