/** Keys and logs of a queue on its shard. Changing them strands stored data. */
import type { ShardWriter } from '../core/shard-writer.ts'
import type { KeyRange } from '../core/stored.ts'

const DIGITS = 16

export function padded(value: number): string {
  return String(value).padStart(DIGITS, '0')
}

/** Everything of a queue. `id`: of its creation. */
export function queuePrefix(id: number): string {
  return `queue/${padded(id)}/`
}

export function rangeOf(prefix: string): KeyRange {
  const last = prefix.charCodeAt(prefix.length - 1)
  return { from: prefix, to: prefix.slice(0, -1) + String.fromCharCode(last + 1) }
}

export class QueueKeys {
  readonly prefix: string
  readonly state: string
  readonly entries: string
  readonly kept: string
  readonly gone: string
  readonly delayed: string
  readonly deduplication: string
  readonly prepared: string
  readonly redrives: string

  constructor(prefix: string) {
    this.prefix = prefix
    this.state = `${this.prefix}state`
    this.entries = `${this.prefix}entry/`
    this.kept = `${this.prefix}kept/`
    this.gone = `${this.prefix}gone/`
    this.delayed = `${this.prefix}delayed/`
    this.deduplication = `${this.prefix}seen/`
    this.prepared = `${this.prefix}prepared/`
    this.redrives = `${this.prefix}redrive/`
  }

  log(level: number): string {
    return `${this.prefix}${level}`
  }

  entry(level: number, offset: number): string {
    return `${this.entries}${level}/${padded(offset)}`
  }

  keptRecord(level: number, offset: number): string {
    return `${this.kept}${level}/${padded(offset)}`
  }

  goneOffset(level: number, offset: number): string {
    return `${this.gone}${level}/${padded(offset)}`
  }
}

/** Of a key that ends in a level and an offset. */
export function placeOf(key: string, prefix: string): { level: number; offset: number } {
  const [level = '', offset = ''] = key.slice(prefix.length).split('/')
  return { level: Number(level), offset: Number(offset) }
}

/** Stages the removal of everything that a queue has. */
export function dropQueue(writer: ShardWriter, prefix: string): void {
  const { from, to } = rangeOf(prefix)
  writer.transact(() => {
    for (const log of writer.logNames()) if (log.startsWith(prefix)) writer.dropLog(log)
    writer.deleteRange(from, to)
  })
}
