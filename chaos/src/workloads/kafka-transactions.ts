/**
 * Kafka's transactions: each producer writes values to several partitions at once, and commits or aborts; readers of
 * what is committed see all of a transaction or nothing.
 */
import type { Kafka, Producer } from 'kafkajs'
import { Partitioners } from 'kafkajs'
import {
  checkTransactions,
  duplicatesIn,
  inconsistentOffsets,
  nonMonotonic,
} from '../checkers/logs.ts'
import type { Finding } from '../checkers/verdict.ts'
import type { Outcome, Read, Transaction } from '../history.ts'
import { createTopic, kafkaClient, PARTITIONS, read, readAll } from './kafka.ts'
import { allServed, Sender, type StartWorkload, untilQuiet, within } from './workload.ts'

const VALUES = 3
/** One of so many is aborted. */
const ABORT_EACH = 4
const STOP_MS = 30_000

export const kafkaTransactions: StartWorkload = async ({ endpoints, run, clients }) => {
  const topic = `chaos-${run}-tx`
  const client = kafkaClient(endpoints.kafka, `${run}-tx`)
  await createTopic(client, topic)
  const reads: Read[] = []
  const reading = { topic, group: `chaos-${run}-tx`, name: 'reader-tx', reads }
  const reader = await read(client, reading)
  const ids = Array.from({ length: clients }, (_, at) => `${run}-tx-${at + 1}`)
  const writers = ids.map((id) => new TransactionalWriter(client, topic, id))
  const senders = writers.map((writer, at) => new Sender(ids[at] as string, (v) => writer.write(v)))
  await allServed(senders)
  return {
    clients: ids,
    get sends() {
      return senders.flatMap(({ sends }) => sends)
    },
    finish: async () => {
      const stopped = await Promise.all(senders.map((sender) => sender.stop(STOP_MS)))
      const transactions = writers.flatMap((writer) => writer.transactions)
      const committed = transactions.filter(({ outcome }) => outcome === 'ok')
      const wanted = committed.flatMap(({ values }) => values)
      const all = await readAll(client, { topic, run, wanted })
      const seen = (): boolean => {
        const values = new Set(reads.map(({ value }) => value))
        return wanted.every((value) => values.has(value))
      }
      await untilQuiet(seen, () => reads.length)
      await within(reader.disconnect(), 5_000)
      await Promise.all(writers.map((writer) => within(writer.close(), 5_000)))
      const stuck = ids.filter((_, at) => stopped[at] === false)
      const inGroup = new Set(reads.map(({ value }) => value))
      return {
        acknowledged: committed.length,
        unknown: transactions.filter(({ outcome }) => outcome === 'unknown').length,
        delivered: new Set(all.map(({ value }) => value)).size,
        redelivered: reads.length - inGroup.size,
        findings: [
          ...checkTransactions(transactions, all),
          ...checkTransactions(
            transactions.filter(({ outcome }) => outcome !== 'unknown'),
            reads,
          ),
          ...duplicatesIn(all),
          ...inconsistentOffsets([...all, ...reads]),
          ...nonMonotonic(all),
          ...stuck.map((what): Finding => ({ kind: 'stuck', what })),
        ],
      }
    },
  }
}

class TransactionalWriter {
  readonly transactions: Transaction[] = []
  readonly #client: Kafka
  readonly #topic: string
  readonly #id: string
  #producer: Promise<Producer> | undefined
  #count = 0

  constructor(client: Kafka, topic: string, id: string) {
    this.#client = client
    this.#topic = topic
    this.#id = id
  }

  /** A transaction, whose values are named after `name`. A producer that has failed is made anew, and fences itself. */
  async write(name: string): Promise<Outcome> {
    const values = Array.from({ length: VALUES }, (_, at) => `${name}.${at}`)
    const startedMs = performance.now()
    const isAbort = ++this.#count % ABORT_EACH === 0
    let outcome: Outcome = 'unknown'
    try {
      outcome = await this.#attempt(values, isAbort)
    } catch {
      const failed = this.#producer
      this.#producer = undefined
      await failed?.then((producer) => within(producer.disconnect(), 1_000)).catch(() => undefined)
    }
    const endedMs = performance.now()
    this.transactions.push({ client: this.#id, values, startedMs, endedMs, outcome })
    // To abort is to be served, too.
    return outcome === 'fail' ? 'ok' : outcome
  }

  async close(): Promise<void> {
    await (await this.#producer)?.disconnect()
  }

  async #attempt(values: readonly string[], isAbort: boolean): Promise<Outcome> {
    this.#producer ??= this.#connect()
    const transaction = await (await this.#producer).transaction()
    const messages = values.map((value, at) => ({
      value,
      partition: (this.#count + at) % PARTITIONS,
    }))
    try {
      await transaction.send({ topic: this.#topic, acks: -1, messages })
    } catch (error) {
      // Nothing was decided: whoever has the id next aborts it, or its time is up.
      await within(transaction.abort(), 5_000)
      throw error
    }
    await (isAbort ? transaction.abort() : transaction.commit())
    return isAbort ? 'fail' : 'ok'
  }

  async #connect(): Promise<Producer> {
    const producer = this.#client.producer({
      ...{ transactionalId: this.#id, idempotent: true, maxInFlightRequests: 1 },
      ...{ transactionTimeout: 20_000, createPartitioner: Partitioners.DefaultPartitioner },
    })
    await producer.connect()
    return producer
  }
}
