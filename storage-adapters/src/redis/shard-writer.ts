/**
 * One shard as this client sees it: its head and the ends of its logs. Its commits go one script at a time;
 * those that arrive meanwhile share the next one. What is known here is only a guess until the script has
 * compared the head: when it is another, what is stored counts, and is read again.
 *
 * Redis can go back in time (a failover to a replica that lagged, a restart without the last writes). A
 * head that is older than one which was acknowledged here is DATA_LOSS, until the newer one is back or the
 * loss is accepted.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { StorageError } from '../errors.ts'
import { admitCommitNumber, admitDrop, admitOpen, admitOwner } from '../fencing.ts'
import { checkLogEnds } from '../log-ends.ts'
import { sealValue } from '../sealed-values.ts'
import type {
  AdoptRequest,
  CommitRequest,
  OpenRequest,
  OpenResult,
  Operation,
} from '../storage-adapter.ts'
import { commitBytes } from '../validation.ts'
import type { Database } from './database.ts'
import { type ShardKeys, sealKeys, shardKeys } from './keys.ts'
import type { Link } from './link.ts'
import {
  appendTo,
  beginLog,
  type Finder,
  type LogOperation,
  type LogState,
  newLog,
  replaceBatches,
  trimLog,
} from './log-state.ts'
import { Program } from './program.ts'
import { findBatch, findOld, logNames, readLogHead } from './reads.ts'
import { commitScript, freeScript, headScript, purgeScript, type Script } from './scripts.ts'
import {
  decodeHead,
  encodeHead,
  encodeLog,
  newStoredHead,
  type StoredHead,
  sessionBytes,
} from './stored-values.ts'

export interface ShardContext {
  readonly shard: number
  readonly prefix: string
  readonly link: Link
  readonly database: Database
  readonly acceptDataLoss: boolean
}

/** What is stored, and its bytes: empty when there is nothing. */
interface Known {
  readonly head: StoredHead
  readonly bytes: Buffer
}

interface Task {
  /** Undefined: not a commit, goes alone. */
  readonly request: CommitRequest | undefined
  readonly bytes: number
  readonly run: () => Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Bounds what one script does, during which Redis does nothing else. */
const groupBytesMax = 4 * 1024 * 1024
const groupOperationsMax = 4096
const cachedLogsMax = 8192
const attemptsMax = 5
const purgedTogether = 1000

export class ShardWriter {
  readonly #context: ShardContext
  readonly #keys: ShardKeys
  readonly #logs = new Map<string, LogState>()
  readonly #waiting: Task[] = []
  #running = false
  #known: Known | undefined
  /** Under which this client has opened the shard; '' when it has not. */
  #session = ''
  /** The newest head that Redis has acknowledged to this client. */
  #acknowledged: StoredHead | undefined

  constructor(context: ShardContext) {
    this.#context = context
    this.#keys = shardKeys(context.prefix, context.shard)
  }

  async open(request: OpenRequest): Promise<OpenResult> {
    let result: OpenResult | undefined
    await this.#alone(async () => {
      result = await this.#open(request)
    })
    if (result === undefined) throw new Error('The open did not run')
    return result
  }

  commit(request: CommitRequest): Promise<void> {
    return this.#submit(request, async () => undefined)
  }

  adopt(request: AdoptRequest): Promise<void> {
    const { epoch, commitNumber, incarnation } = request
    return this.#alone(() =>
      this.#changeHead((head) => {
        admitOwner(head, head.isOpen && head.session === this.#session, request)
        return { ...head, commitNumber, commitEpoch: epoch, incarnation }
      }),
    )
  }

  close(epoch: number): Promise<void> {
    return this.#alone(() =>
      this.#changeHead((head) => {
        admitOwner(head, true, { shard: this.#context.shard, epoch })
        return head.isOpen ? { ...head, isOpen: false, session: newSession() } : undefined
      }),
    )
  }

  drop(epoch: number): Promise<void> {
    const { shard, database } = this.#context
    return this.#alone(async () => {
      await this.#load()
      const made = await database.incarnationFor(shard, this.#known?.bytes.length !== 0)
      await this.#changeHead((head) => {
        admitDrop(head, shard, epoch)
        const { generation } = head
        const incarnation = head.incarnation || made
        const session = newSession()
        return {
          ...newStoredHead(),
          ...{ epoch, dropped: true, session, incarnation, generation: generation + 1 },
        }
      })
      await database.noteShard(shard)
      await this.#purge()
    })
  }

  /** Waits for what was submitted before. */
  idle(): Promise<void> {
    return this.#alone(async () => undefined)
  }

  #alone(run: () => Promise<void>): Promise<void> {
    return this.#submit(undefined, run)
  }

  #submit(request: CommitRequest | undefined, run: () => Promise<void>): Promise<void> {
    const bytes = request === undefined ? 0 : commitBytes(request)
    const settled = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ request, bytes, run, resolve, reject })
    })
    if (!this.#running) void this.#run()
    return settled
  }

  async #run(): Promise<void> {
    this.#running = true
    // What is submitted in this turn shares the first script.
    await undefined
    while (this.#waiting.length > 0) {
      const tasks = this.#takeTasks()
      const [first] = tasks
      if (first?.request !== undefined) await this.#commitTogether(tasks)
      else await first?.run().then(first.resolve, first.reject)
    }
    this.#running = false
  }

  /** One that goes alone, or the commits up to the next such one. */
  #takeTasks(): Task[] {
    let bytes = 0
    let operations = 0
    let count = 0
    for (const task of this.#waiting) {
      if (task.request === undefined) break
      // What is to be replaced is looked up in Redis, so nothing of the log may be on its way there.
      const replaces = task.request.operations.some(({ kind }) => kind === 'replace')
      if (replaces) {
        if (count === 0) count = 1
        break
      }
      bytes += task.bytes
      operations += task.request.operations.length
      if (count > 0 && (bytes > groupBytesMax || operations > groupOperationsMax)) break
      count += 1
    }
    return this.#waiting.splice(0, Math.max(1, count))
  }

  async #open(request: OpenRequest): Promise<OpenResult> {
    const { shard, database } = this.#context
    await this.#load()
    if (this.#known?.head.dropped) await this.#purge()
    const incarnation = await database.incarnationFor(shard, this.#known?.bytes.length !== 0)
    const session = newSession()
    await this.#changeHead((head) => {
      admitOpen(head, request)
      const { epoch, owner } = request
      const same = head.incarnation || incarnation
      const other = this.#lossOf(head) === undefined ? same : randomUUID()
      return { ...head, epoch, owner, session, dropped: false, isOpen: true, incarnation: other }
    })
    await database.noteShard(shard)
    this.#session = session
    this.#logs.clear()
    const head = this.#known?.head ?? newStoredHead()
    return { incarnation: head.incarnation, commitNumber: head.commitNumber }
  }

  /** Compares and sets the head until what it was changed from is what is stored. */
  async #changeHead(change: (head: StoredHead) => StoredHead | undefined): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      await this.#load()
      const known = this.#known
      if (known === undefined) throw new Error('The head was not loaded')
      const next = change(known.head)
      if (next === undefined) return
      if (await this.#write(headScript, { known, next, keys: [this.#keys.head], args: [] })) return
    }
    throw new StorageError('UNAVAILABLE', `Shard ${this.#context.shard} changes all the time`)
  }

  /** Reads the head, which counts as seen from now on. Throws DATA_LOSS. */
  async #load(): Promise<void> {
    const { shard, link } = this.#context
    this.#known = undefined
    const stored = await link.command('get', [this.#keys.head])
    const bytes = Buffer.isBuffer(stored) ? stored : Buffer.alloc(0)
    this.#take(bytes.length === 0 ? newStoredHead() : decodeHead(shard, bytes), bytes)
  }

  #take(head: StoredHead, bytes: Buffer): void {
    const loss = this.#lossOf(head)
    if (loss !== undefined && !this.#context.acceptDataLoss) {
      this.#session = ''
      throw new StorageError('DATA_LOSS', loss)
    }
    this.#known = { head, bytes }
  }

  /** What is missing of that which was acknowledged to this client; undefined when nothing is. */
  #lossOf(head: StoredHead): string | undefined {
    const before = this.#acknowledged
    const { shard } = this.#context
    if (before === undefined || head.generation > before.generation) return undefined
    if (head.epoch < before.epoch) {
      return `Shard ${shard} went back in time: epoch ${head.epoch} is stored after ${before.epoch} was`
    }
    if (head.incarnation !== before.incarnation) {
      return `Shard ${shard}: the data ${before.incarnation} was replaced by ${head.incarnation}`
    }
    if (head.commitNumber < before.commitNumber) {
      return `Shard ${shard} went back in time: commit ${head.commitNumber} is stored after ${before.commitNumber} was`
    }
    return undefined
  }

  /** True: the head is `next` now. False: it was another one than known, and is to be loaded again. */
  async #write(
    script: Script,
    write: { known: Known; next: StoredHead; keys: string[]; args: (string | number | Buffer)[] },
  ): Promise<boolean> {
    const { known, next, keys } = write
    const bytes = encodeHead(this.#context.shard, next)
    const args = [known.bytes, bytes, ...write.args]
    this.#known = undefined
    const reply = await this.#context.link.write({ script, keys, args })
    if (reply !== 1) return false
    this.#known = { head: next, bytes }
    this.#acknowledged = next
    return true
  }

  async #commitTogether(tasks: readonly Task[]): Promise<void> {
    const failures = new Map<Task, unknown>()
    try {
      await this.#commitAll(tasks, failures)
    } catch (error) {
      // Not known, or not possible: what comes next has to look again.
      this.#forget(error)
      for (const task of tasks) if (!failures.has(task)) failures.set(task, error)
    }
    for (const task of tasks) {
      if (failures.has(task)) task.reject(failures.get(task))
      else task.resolve()
    }
  }

  #forget(error: unknown): void {
    this.#known = undefined
    this.#logs.clear()
    if (error instanceof StorageError && error.code === 'UNAVAILABLE') this.#session = ''
  }

  async #commitAll(tasks: readonly Task[], failures: Map<Task, unknown>): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      failures.clear()
      // Here only: what one call loads stays while it is staged.
      if (this.#logs.size >= cachedLogsMax) this.#logs.clear()
      if (this.#known === undefined) await this.#load()
      const known = this.#known
      if (known === undefined) throw new Error('The head was not loaded')
      const stage = {
        head: { ...known.head },
        logs: new Map<string, LogState>(),
        program: new Program(this.#keys),
      }
      for (const task of tasks) {
        if (task.request === undefined) continue
        const loading = this.#loadLogs(stage, task.request)
        if (loading !== undefined) await loading
        let logs: Map<string, LogState> | undefined
        try {
          logs = this.#admit(stage, task.request)
        } catch (error) {
          // Who is not admitted fails alone; what fails behind that leaves the stage half made, and fails all.
          failures.set(task, error)
        }
        if (logs !== undefined) {
          for (const operation of task.request.operations) {
            const looking = this.#stageOperation(stage, operation, logs)
            if (looking !== undefined) await looking
          }
          this.#noteStaged(stage, task.request, logs)
        }
      }
      if (failures.size === tasks.length || stage.head.commitNumber === known.head.commitNumber)
        return
      if (await this.#send(known, stage)) return
      this.#logs.clear()
    }
    throw new StorageError('UNAVAILABLE', `Shard ${this.#context.shard} changes all the time`)
  }

  /** The logs that the commit will change; undefined when it is a retry, which has no effect. */
  #admit(stage: Stage, request: CommitRequest): Map<string, LogState> | undefined {
    const { head } = stage
    const isOpen = head.isOpen && head.session === this.#session
    admitOwner(head, isOpen, request)
    if (!admitCommitNumber(head, request)) return undefined
    const logs = this.#stageLogs(stage, request)
    checkLogEnds(request.operations, (name) => {
      const log = logs.get(name)
      return log?.exists ? log.endOffset : undefined
    })
    return logs
  }

  #noteStaged(stage: Stage, request: CommitRequest, logs: Map<string, LogState>): void {
    const { head } = stage
    for (const [name, log] of logs) stage.logs.set(name, log)
    head.commitNumber = request.commitNumber
    head.commitEpoch = request.epoch
  }

  /** What is not known yet of the logs that the commit touches; undefined, as it is nearly always: nothing. */
  #loadLogs({ logs }: Stage, { operations }: CommitRequest): Promise<unknown> | undefined {
    let loading: Promise<unknown>[] | undefined
    for (const operation of operations) {
      if (!('log' in operation) || logs.has(operation.log) || this.#logs.has(operation.log))
        continue
      loading ??= []
      loading.push(this.#loadLog(operation.log))
    }
    return loading && Promise.all(loading)
  }

  /** Copies of the logs that the commit touches, to be changed freely. */
  #stageLogs(stage: Stage, request: CommitRequest): Map<string, LogState> {
    const staged = new Map<string, LogState>()
    for (const operation of request.operations) {
      if (!('log' in operation) || staged.has(operation.log)) continue
      const known = stage.logs.get(operation.log) ?? this.#logs.get(operation.log)
      if (known === undefined) throw new Error(`Log ${operation.log} was not loaded`)
      staged.set(operation.log, { ...known })
    }
    return staged
  }

  async #loadLog(log: string): Promise<void> {
    const { link, shard, prefix } = this.#context
    const stored = await readLogHead(link, prefix, { shard, log })
    const state =
      stored === undefined
        ? newLog()
        : { ...stored, exists: true, marks: [], markCount: 0, markedFrom: stored.endOffset }
    this.#logs.set(log, state)
  }

  /** Undefined, as it is nearly always: nothing had to be asked for. */
  #stageOperation(
    { program }: Stage,
    operation: Operation,
    logs: Map<string, LogState>,
  ): Promise<void> | undefined {
    if (!('log' in operation)) {
      this.#stageValues(program, operation)
      return undefined
    }
    const { shard } = this.#context
    const log = logs.get(operation.log)
    if (log === undefined) throw new Error(`Log ${operation.log} was not staged`)
    switch (operation.kind) {
      case 'append':
        appendTo(log, operation, { shard, program })
        return undefined
      case 'trim':
        return trimLog(log, operation, { program, find: this.#finder() })
      case 'replace':
        return replaceBatches(log, operation, { program, shard, find: this.#finder() })
      case 'drop-log':
        if (log.exists) program.dropBatches(operation.log)
        Object.assign(log, newLog())
        return undefined
      case 'begin-log':
        beginLog(log, operation.offset)
        return undefined
      default:
        return operation satisfies never
    }
  }

  #stageValues(program: Program, operation: Exclude<Operation, LogOperation>): void {
    if (operation.kind === 'put') {
      const key = sealKeys.value(this.#context.shard, operation.key)
      program.put(operation.key, sealValue(key, operation.value))
    } else if (operation.kind === 'delete') program.delete(operation.key)
    else program.deleteRange(operation.from, operation.to)
  }

  #finder(): Finder {
    const { shard, link, prefix } = this.#context
    return {
      batch: (log, offset) => findBatch(link, prefix, { shard, log, offset }),
      old: (log, from, until) =>
        findOld(link, prefix, { shard, log, from: from + 1, to: until + 1 }),
    }
  }

  async #send(known: Known, { head, logs, program }: Stage): Promise<boolean> {
    const { shard } = this.#context
    const heads = Array.from(logs, ([log, state]): [string, Buffer | undefined] => [
      log,
      state.exists ? encodeLog({ shard, log }, state) : undefined,
    ])
    const script = program.isFreeing ? freeScript : commitScript
    const { keys } = program
    if (!(await this.#write(script, { known, next: head, keys, args: program.args(heads) })))
      return false
    for (const [log, state] of logs) this.#logs.set(log, state)
    return true
  }

  /** Removes what a dropped shard still has; again when it was interrupted. */
  async #purge(): Promise<void> {
    const { link, shard, prefix } = this.#context
    const { head, logs, values, keys, logPrefix, oldPrefix } = this.#keys
    const args = [this.#known?.bytes ?? Buffer.alloc(0)]
    const names = await logNames(link, prefix, shard)
    const streams = names.flatMap((log) => [logPrefix + log, oldPrefix + log])
    for (let at = 0; at < streams.length; at += purgedTogether) {
      const some = [head, ...streams.slice(at, at + purgedTogether)]
      await link.write({ script: purgeScript, keys: some, args })
    }
    // Last of all the list of logs: it tells what is left to do.
    await link.write({ script: purgeScript, keys: [head, values, keys, logs], args })
    this.#logs.clear()
  }
}

interface Stage {
  readonly head: StoredHead
  readonly logs: Map<string, LogState>
  readonly program: Program
}

function newSession(): string {
  return randomBytes(sessionBytes).toString('hex')
}
