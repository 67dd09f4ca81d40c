/**
 * Kafka's transactions: each producer writes values to several partitions at once, and commits or aborts; readers of
 * what is committed see all of a transaction or nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type Kafka, Partitioners, type Producer } from 'kafkajs'
import {
  checkTransactions,
  duplicatesIn,
  inconsistentOffsets,
  nonMonotonic,
} from '../checkers/logs.ts'
import type { Finding } from '../checkers/verdict.ts'
import type { HostPort } from '../control.ts'
import type { Outcome, Read, Transaction } from '../history.ts'
import { createTopic, kafkaClient, PARTITIONS, removeTopic } from './kafka.ts'
import { allServed, Sender, type StartWorkload, untilQuiet, within } from './workload.ts'

const VALUES = 3
/** One of so many is aborted. */
const ABORT_EACH = 4
const STOP_MS = 30_000
const READ_MS = 60_000
/** From the end of a reader to the next one. */
const AGAIN_MS = 500

export const kafkaTransactions: StartWorkload = async ({ endpoints, run, clients }) => {
  const topic = `chaos-${run}-tx`
  const client = kafkaClient(endpoints.kafka, `${run}-tx`)
  await createTopic(client, topic)
  const along = new CommittedReader(endpoints.kafka, { topic, name: 'along' })
  await along.started
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
      await Promise.all(writers.map((writer) => within(writer.close(), 5_000)))
      const transactions = writers.flatMap((writer) => writer.transactions)
      const committed = transactions.filter(({ outcome }) => outcome === 'ok')
      const wanted = committed.flatMap(({ values }) => values)
      const isComplete = (): boolean => {
        const values = new Set(along.reads.map(({ value }) => value))
        return wanted.every((value) => values.has(value))
      }
      await untilQuiet(isComplete, () => along.reads.length)
      along.stop()
      const last = new CommittedReader(endpoints.kafka, { topic, name: 'all', toTheEnd: true })
      const isRead = await within(last.ended, READ_MS)
      last.stop()
      const stuck = ids.filter((_, at) => stopped[at] === false)
      if (!isRead) stuck.push('the reader of all that is committed')
      return {
        acknowledged: committed.length,
        unknown: transactions.filter(({ outcome }) => outcome === 'unknown').length,
        delivered: new Set(last.reads.map(({ value }) => value)).size,
        redelivered: along.reads.length - new Set(along.reads.map(({ value }) => value)).size,
        findings: [
          ...checkTransactions(transactions, last.reads),
          ...checkTransactions(transactions, along.reads),
          ...duplicatesIn(last.reads),
          ...inconsistentOffsets([...last.reads, ...along.reads]),
          ...nonMonotonic(last.reads),
          ...nonMonotonic(along.reads),
          ...stuck.map((what): Finding => ({ kind: 'stuck', what })),
        ],
      }
    },
    remove: () => removeTopic(client, topic, []),
  }
}

/**
 * Reads what is committed, by kcat: kafkajs 2.2.4 and @platformatic/kafka 1.31 also give out records of transactions
 * that were aborted when one answer has several of them.
 */
class CommittedReader {
  readonly reads: Read[] = []
  readonly ended: Promise<void>
  /** Rejects when there is no kcat. */
  readonly started: Promise<void>
  readonly #args: readonly string[]
  readonly #name: string
  #child: ChildProcess
  #isStopped = false
  #starts = 0

  constructor(
    brokers: readonly HostPort[],
    { topic, name, toTheEnd = false }: { topic: string; name: string; toTheEnd?: boolean },
  ) {
    const list = brokers.map(({ host, port }) => `${host}:${port}`).join(',')
    const settings = ['isolation.level=read_committed', 'topic.metadata.refresh.interval.ms=500']
    const flags = settings.flatMap((setting) => ['-X', setting])
    const format = ['-q', '-u', '-f', '%p %o %s\\n', ...(toTheEnd ? ['-e'] : [])]
    this.#args = ['-C', '-b', list, '-t', topic, '-o', 'beginning', ...flags, ...format]
    this.#name = name
    this.#child = this.#start()
    this.started = new Promise((resolve, reject) => {
      this.#child.once('spawn', resolve)
      this.#child.once('error', () => {
        this.#isStopped = true
        reject(new Error('the workload kafka-transactions needs kcat (apt-get install kcat)'))
      })
    })
    this.started.catch(() => undefined)
    this.ended = new Promise((resolve) => {
      this.#child.once('close', () => resolve())
    })
    if (!toTheEnd) this.#watch()
  }

  stop(): void {
    this.#isStopped = true
    this.#child.kill('SIGKILL')
  }

  /** Each one reads from the beginning, and is a reader of its own: only then it must go forward. */
  #start(): ChildProcess {
    const client = `${this.#name}-${++this.#starts}`
    const child = spawn('kcat', this.#args, { stdio: ['ignore', 'pipe', 'ignore'] })
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [partition = '', offset, value = ''] = line.split(' ')
      this.reads.push({ client, value, partition, offset: Number(offset) })
    })
    return child
  }

  /** kcat ends when no broker is up. */
  #watch(): void {
    this.#child.once('close', () => {
      if (this.#isStopped) return
      setTimeout(() => {
        if (this.#isStopped) return
        this.#child = this.#start()
        this.#child.once('error', () => undefined)
        this.#watch()
      }, AGAIN_MS)
    })
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
    try {
      // One by one: of one `send` to several brokers kafkajs takes for sent what moves to one that has answered.
      for (const [at, value] of values.entries()) {
        const messages = [{ value, partition: (this.#count + at) % PARTITIONS }]
        await transaction.send({ topic: this.#topic, acks: -1, messages })
      }
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
