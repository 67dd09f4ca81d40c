/** What is here as Kafka's clients see it: brokers as numbers with an address, topics by their ids. */
import type { Topic } from '../../core/topics/topic-logs.ts'

export interface MemberNode {
  readonly node: string
  /** Where Kafka's clients reach it. */
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
  /** Brokers that speak Kafka, this one included. */
  readonly nodes: () => readonly MemberNode[]
  readonly hashOf: (text: string) => number
}

export class Members {
  readonly #options: MembersOptions

  constructor(options: MembersOptions) {
    this.#options = options
  }

  get self(): number {
    return this.idOf(this.#options.self)
  }

  get clusterId(): string {
    return this.#options.clusterId()
  }

  all(): readonly KafkaNode[] {
    return this.#options
      .nodes()
      .map(({ node, host, port }) => ({ nodeId: this.idOf(node), host, port }))
  }

  /** Undefined: it is not there (now), or speaks no Kafka. */
  find(node: string): KafkaNode | undefined {
    const found = this.#options.nodes().find((one) => one.node === node)
    return found && { nodeId: this.idOf(node), host: found.host, port: found.port }
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
