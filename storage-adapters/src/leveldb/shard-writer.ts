/**
 * One shard as the group writer sees it: its head and the ends of its logs, ahead of the disk by the
 * group that is being prepared. Called by one task at a time. Nothing here survives a failed write, which
 * ends the adapter.
 */

import { StorageError } from '../errors.ts'
import {
  admitCommitNumber,
  admitDrop,
  admitOpen,
  admitOwner,
  newShardHead,
  type ShardHead,
} from '../fencing.ts'
import { checkLogEnds, noSuchBatches, unexpectedOffset } from '../log-ends.ts'
import { baseOffset, nextOffset } from '../record-batch/record-batch.ts'
import { sealValue, unsealValue } from '../sealed-values.ts'
import type { AdoptRequest, CommitRequest, OpenRequest } from '../storage-adapter.ts'
import type { Engine } from './engine.ts'
import {
  batchKey,
  batchRange,
  describeBatchKey,
  describeKey,
  logHeadKey,
  shardContentRange,
  shardHeadKey,
} from './keys.ts'
import type { PreparedOperation } from './prepare.ts'
import { RecentBatches } from './recent-batches.ts'
import {
  decodeHostedLog,
  decodeLogHead,
  decodeShardHead,
  encodeLogHead,
  encodeShardHead,
  type HostedLog,
  type LogHead,
} from './stored-values.ts'
import type { WriteGroup, WriteOperation } from './write-group.ts'

interface LogState extends LogHead {
  exists: boolean
  recent: RecentBatches
}

/** Logs whose ends are kept in memory per shard; beyond it they are read again when used. */
const cachedLogsMax = 8192

export class ShardWriter {
  readonly head: ShardHead
  readonly shard: number
  readonly #engine: Engine
  #isOpen = false
  readonly #logs = new Map<string, LogState>()
  readonly #changedLogs = new Map<string, LogState>()
  readonly #headKey: Buffer
  /** The log whose head is stored with the shard's. */
  #hosted: HostedLog | undefined

  constructor(shard: number, engine: Engine, stored: { head: ShardHead; hosted?: HostedLog }) {
    this.shard = shard
    this.#engine = engine
    this.head = stored.head
    this.#hosted = stored.hosted
    this.#headKey = shardHeadKey(shard)
  }

  /** Rejects with DATA_LOSS when the stored head is damaged, or gone from what it was the head of. */
  static async load(shard: number, engine: Engine): Promise<ShardWriter> {
    const key = shardHeadKey(shard)
    const stored = await engine.get(key)
    if (stored) {
      const payload = unsealValue(key, stored)
      const hosted = decodeHostedLog(payload)
      const head = decodeShardHead(payload)
      return new ShardWriter(shard, engine, hosted ? { head, hosted } : { head })
    }
    const { from, to } = shardContentRange(shard)
    const [content] = await engine.keys({ gte: from, lt: to, limit: 1 }).all()
    if (content) throw new StorageError('DATA_LOSS', `Shard ${shard} has lost its head`)
    return new ShardWriter(shard, engine, { head: newShardHead() })
  }

  open(group: WriteGroup, request: OpenRequest): void {
    if (admitOpen(this.head, request)) {
      this.head.epoch = request.epoch
      this.head.owner = request.owner
      this.head.dropped = false
      group.shards.add(this)
    }
    this.#isOpen = true
  }

  /** All of the commit joins the group, or it throws and nothing does. A promise when the disk is asked. */
  commit(group: WriteGroup, request: CommitRequest, prepared: Prepared): Promise<void> | undefined {
    admitOwner(this.head, this.#isOpen, request)
    if (!admitCommitNumber(this.head, request)) return undefined
    const writes: WriteOperation[] = []
    const logs = this.#stagePlain(prepared, writes)
    if (logs === undefined) return this.#commitLater(group, request, prepared)
    for (const write of writes) group.operations.push(write)
    this.#joined(group, request, logs)
    return undefined
  }

  /**
   * The logs as they are after puts, deletes, and appends to and trims of what is known here of them; undefined when
   * there is more to it.
   */
  #stagePlain(prepared: Prepared, writes: WriteOperation[]): Map<string, LogState> | undefined {
    const logs = new Map<string, LogState>()
    for (const operation of prepared) {
      if (operation.kind === 'write') {
        writes.push(operation.write)
        continue
      }
      if (operation.kind !== 'append' && operation.kind !== 'trim') return undefined
      const log = logs.get(operation.log) ?? this.#copyOf(operation.log)
      if (log === undefined) return undefined
      logs.set(operation.log, log)
      if (operation.kind === 'trim') {
        if (!this.#trimRecent(log, operation, writes)) return undefined
        continue
      }
      const { log: name, offset } = operation
      if (log.endOffset !== offset) throw unexpectedOffset(name, { end: log.endOffset, offset })
      this.#grow(log, operation)
      writes.push(operation.write)
    }
    return logs
  }

  /** To be changed freely. */
  #copyOf(name: string): LogState | undefined {
    const log = this.#logs.get(name)
    return log && { ...log, recent: log.recent.copy() }
  }

  #grow(log: LogState, { nextOffset: end, bytes, write }: Appended): void {
    log.exists = true
    log.endOffset = end
    log.bytes += bytes
    log.recent.append({ lastOffset: end - 1, bytes, stored: write.stored })
  }

  /** False: which batches there are before the offset is not known here. */
  #trimRecent(log: LogState, trim: Trim, writes: WriteOperation[]): boolean {
    if (trim.beforeOffset <= log.startOffset) return true
    const ends = log.recent.take(log.startOffset, trim.beforeOffset)
    if (ends === undefined) return false
    const place = { shard: this.shard, log: trim.log }
    for (const { lastOffset, bytes, stored } of ends) {
      const from = stored?.place
      writes.push({ type: 'del', key: batchKey(place, lastOffset, bytes), ...(from && { from }) })
      log.startOffset = lastOffset + 1
      log.bytes -= bytes
    }
    return true
  }

  async #commitLater(group: WriteGroup, request: CommitRequest, prepared: Prepared): Promise<void> {
    const logs = await this.#stageLogs(prepared)
    checkLogEnds(request.operations, (name) => {
      const log = logs.get(name)
      return log?.exists ? log.endOffset : undefined
    })
    const staged: WriteOperation[] = []
    for (const operation of prepared) {
      if (operation.kind === 'write') staged.push(operation.write)
      else await this.#stage(group, { operation, staged, logs })
    }
    group.add(staged)
    this.#joined(group, request, logs)
  }

  #joined(group: WriteGroup, request: CommitRequest, logs: ReadonlyMap<string, LogState>): void {
    group.shards.add(this)
    for (const [name, log] of logs) {
      this.#logs.set(name, log)
      this.#changedLogs.set(name, log)
    }
    this.head.commitNumber = request.commitNumber
    this.head.commitEpoch = request.epoch
  }

  /** The batch of the key is somewhere else once the group is written. */
  moved(key: Buffer): void {
    const log = this.#logs.get(describeKey(key)?.name ?? '')
    log?.recent.restart(log.endOffset)
  }

  adopt(group: WriteGroup, { epoch, commitNumber }: AdoptRequest): void {
    admitOwner(this.head, this.#isOpen, { shard: this.shard, epoch })
    this.head.commitNumber = commitNumber
    this.head.commitEpoch = epoch
    group.shards.add(this)
  }

  close(epoch: number): void {
    admitOwner(this.head, true, { shard: this.shard, epoch })
    this.#isOpen = false
  }

  async drop(group: WriteGroup, epoch: number): Promise<void> {
    admitDrop(this.head, this.shard, epoch)
    group.add(await group.deletionsWithin(shardContentRange(this.shard), []))
    group.shards.add(this)
    Object.assign(this.head, newShardHead(), { epoch, dropped: true })
    this.#isOpen = false
    this.#logs.clear()
    this.#changedLogs.clear()
    this.#hosted = undefined
  }

  /** Adds the heads to the group, last of all: one write each however many commits changed them. */
  writeHeads(group: WriteGroup): void {
    this.#writeLogHeads(group)
    const key = this.#headKey
    const value = sealValue(key, encodeShardHead(this.head, this.#hosted))
    group.operations.push({ type: 'put', key, value })
    this.#changedLogs.clear()
    if (this.#logs.size > cachedLogsMax) this.#logs.clear()
  }

  /** The only log that has changed goes with the head of the shard; any other has an entry of its own. */
  #writeLogHeads(group: WriteGroup): void {
    const before = this.#hosted
    const [only] = this.#changedLogs.size === 1 ? this.#changedLogs : []
    if (only !== undefined && isHostable(...only)) {
      const [name, { startOffset, endOffset, bytes }] = only
      if (before !== undefined && before.name !== name)
        this.#writeLogHead(group, before.name, before)
      this.#hosted = { name, startOffset, endOffset, bytes }
      return
    }
    for (const [name, log] of this.#changedLogs) {
      if (name === before?.name) this.#hosted = undefined
      this.#writeLogHead(group, name, log.exists ? log : undefined)
    }
  }

  #writeLogHead(group: WriteGroup, name: string, head: LogHead | undefined): void {
    const key = logHeadKey(this.shard, name)
    group.operations.push(
      head === undefined
        ? { type: 'del', key }
        : { type: 'put', key, value: sealValue(key, encodeLogHead(head)) },
    )
  }

  /** Copies of the logs that the commit touches, to be changed freely. */
  async #stageLogs(prepared: Prepared): Promise<Map<string, LogState>> {
    const staged = new Map<string, LogState>()
    for (const operation of prepared) {
      if (operation.kind === 'write' || operation.kind === 'delete-range') continue
      if (staged.has(operation.log)) continue
      const known = this.#copyOf(operation.log) ?? (await this.#loadLog(operation.log))
      staged.set(operation.log, known)
    }
    return staged
  }

  async #loadLog(name: string): Promise<LogState> {
    if (this.#hosted?.name === name) return asState(this.#hosted)
    const key = logHeadKey(this.shard, name)
    const stored = await this.#engine.get(key)
    return stored ? asState(decodeLogHead(unsealValue(key, stored))) : noLog(0)
  }

  async #stage(group: WriteGroup, stage: Stage): Promise<void> {
    const { operation, staged } = stage
    if (operation.kind === 'delete-range') {
      const keys = await group.keysWithin(operation.range, staged)
      for (const key of keys) staged.push({ type: 'del', key })
      return
    }
    const log = stage.logs.get(operation.log)
    if (!log) throw new Error(`Log ${operation.log} was not staged`)
    switch (operation.kind) {
      case 'append':
        staged.push(operation.write)
        this.#grow(log, operation)
        return
      case 'trim':
        if (operation.beforeOffset > log.startOffset) {
          await this.#removeBatches(group, stage, operation.beforeOffset)
        }
        return
      case 'replace':
        await this.#replaceBatches(group, stage, operation)
        return
      case 'drop-log':
        if (log.exists) await this.#removeBatches(group, stage)
        Object.assign(log, noLog(0))
        return
      case 'begin-log':
        Object.assign(log, noLog(operation.offset), { exists: true })
        return
      default:
        operation satisfies never
    }
  }

  /** Throws GAP when no stored batches cover just the same offsets. */
  async #replaceBatches(group: WriteGroup, stage: Stage, replacement: Replacement): Promise<void> {
    const { batch, log: name, write } = replacement
    const log = stage.logs.get(name)
    const from = baseOffset(batch)
    const until = nextOffset(batch)
    const before = Math.max(0, from - 1)
    const range = batchRange({ shard: this.shard, log: name }, before, until)
    let begins = from === log?.startOffset
    let ends = false
    let bytes = 0
    const removed: WriteOperation[] = []
    for (const deletion of await group.deletionsWithin(range, stage.staged)) {
      const stored = describeBatchKey(deletion.key)
      if (stored.lastOffset < from) {
        begins = true
        continue
      }
      ends ||= stored.lastOffset === until - 1
      bytes += stored.bytes
      removed.push(deletion)
    }
    if (!log || !begins || !ends) throw noSuchBatches(name, batch)
    stage.staged.push(...removed, write)
    log.bytes += batch.length - bytes
    log.recent.restart(log.endOffset)
  }

  /** Removes the batches that end before the offset, or all. */
  async #removeBatches(group: WriteGroup, stage: Stage, beforeOffset?: number): Promise<void> {
    const { operation, staged, logs } = stage
    if (operation.kind === 'delete-range') return
    const log = logs.get(operation.log)
    if (!log) return
    const range = batchRange(
      { shard: this.shard, log: operation.log },
      log.startOffset,
      beforeOffset,
    )
    log.recent.trimmed(beforeOffset ?? log.endOffset, log.endOffset)
    for (const deletion of await group.deletionsWithin(range, staged)) {
      staged.push(deletion)
      const { lastOffset, bytes } = describeBatchKey(deletion.key)
      log.startOffset = Math.max(log.startOffset, lastOffset + 1)
      log.bytes -= bytes
    }
  }
}

type Appended = Extract<PreparedOperation, { kind: 'append' }>
type Trim = Extract<PreparedOperation, { kind: 'trim' }>
type Prepared = readonly PreparedOperation[]
type Replacement = Extract<PreparedOperation, { kind: 'replace' }>

interface Stage {
  readonly operation: Exclude<PreparedOperation, { kind: 'write' }>
  readonly staged: WriteOperation[]
  readonly logs: Map<string, LogState>
}

/** Without a batch nothing would tell that the head of the shard is gone. */
function isHostable(name: string, log: LogState): boolean {
  return log.exists && log.endOffset > log.startOffset && name.length <= hostedNameMax
}

/** Longer ones would be written again and again with the head of the shard. */
const hostedNameMax = 128

function noLog(offset: number): LogState {
  const recent = new RecentBatches()
  return { exists: false, startOffset: offset, endOffset: offset, bytes: 0, recent }
}

function asState({ startOffset, endOffset, bytes }: LogHead): LogState {
  return { exists: true, startOffset, endOffset, bytes, recent: new RecentBatches() }
}
