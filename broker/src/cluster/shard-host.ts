/**
 * Opens, serves and gives up the shards that the Placement Center grants to this broker. Fences first, reads
 * after; what another broker has opened in the meantime is dropped at once.
 */

import type { StorageAdapter } from '@robust/storage-adapters'
import { StorageError } from '@robust/storage-adapters'
import { ClaimShard } from '../core/claims.ts'
import type { HostedGroups } from '../core/groups/hosted-groups.ts'
import type { HostedShard, HostedShards, HostedTransactions } from '../core/hosted-shard.ts'
import { type LogResources, LogShard } from '../core/logs/log-shard.ts'
import type { Message } from '../core/message.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Connections, SessionAddress } from '../core/ports/connections.ts'
import type { HostedQueues } from '../core/queues/hosted-queues.ts'
import { type RetainedLimits, RetainedShard } from '../core/retained-shard.ts'
import type { FilterChange } from '../core/router.ts'
import type { HostedSchedule } from '../core/schedule.ts'
import type { SessionLosses } from '../core/sessions/session-losses.ts'
import { SessionShard } from '../core/sessions/session-shard.ts'
import { type LostReason, ShardWriter, type StorageState } from '../core/shard-writer.ts'
import type { StoragePressure } from '../core/storage-pressure.ts'
import type { LogRelays } from '../core/topics/log-relays.ts'
import type { MetadataCache } from './metadata-cache.ts'
import type { PlacementClient } from './placement-client.ts'
import { StorageHealth } from './storage-health.ts'

export type ShardState = 'opening' | 'open' | 'closing' | 'data-loss'

export interface HostLog {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface ShardHostOptions {
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly storage: StorageAdapter
  readonly pressure: StoragePressure
  readonly hosted: HostedShards
  readonly clock: Clock
  readonly incarnation: string
  readonly connections: Connections
  readonly logs: LogResources
  readonly retainedLimits: () => RetainedLimits
  readonly publish: (message: Message) => Promise<void>
  readonly losses: SessionLosses & { retainedUnkept(): void }
  readonly leaveGroups: (to: SessionAddress, filters: readonly string[]) => Promise<void>
  readonly functions: ShardFunctions
  readonly announce: (shard: number, epoch: number, change: FilterChange) => Promise<void>
  /** The set of served shards has changed. */
  readonly onChange: () => void
  readonly log: HostLog
}

/** What is composed for each shard, of blocks that know no cluster. */
export interface ShardFunctions {
  groups(parts: FunctionParts): HostedGroups
  schedule(parts: FunctionParts): HostedSchedule
  queues(parts: FunctionParts): HostedQueues
  transactions(parts: FunctionParts & { readonly logs: LogShard }): HostedTransactions
  relays(parts: FunctionParts & { readonly logs: LogShard }): LogRelays
}

export interface FunctionParts {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly connections: Connections
  readonly publish: (message: Message) => Promise<void>
  readonly announce: (change: FilterChange) => Promise<void>
  readonly onError: (error: Error) => void
}

interface Slot {
  readonly shard: number
  readonly epoch: number
  state: ShardState
  hosted: HostedShard | undefined
}

const RETRY_MS = 300
/** Opened shards are reported together. */
const REPORT_MS = 5

export class ShardHost {
  readonly #options: ShardHostOptions
  readonly #slots = new Map<number, Slot>()
  #opened: HostedShard[] = []
  #reporting = false
  readonly #health: StorageHealth
  #stopped = false

  constructor(options: ShardHostOptions) {
    this.#options = options
    this.#health = new StorageHealth({ ...options, isIdle: () => this.#slots.size === 0 })
  }

  get storageAvailable(): boolean {
    return this.#health.isAvailable
  }

  states(): { shard: number; epoch: number; state: ShardState; commitNumber: number }[] {
    return [...this.#slots.values()].map(({ shard, epoch, state, hosted }) => ({
      shard,
      epoch,
      state,
      commitNumber: hosted?.writer.commitNumber ?? 0,
    }))
  }

  filters(): { shard: number; epoch: number; filters: readonly string[] }[] {
    return [...this.#options.hosted.all()].map(({ shard, epoch, sessions, groups }) => ({
      shard,
      epoch,
      filters: [...sessions.filters(), ...groups.groups()],
    }))
  }

  /** The metadata has changed: begins what is granted, drops what is not. */
  reconcile(): void {
    if (this.#stopped) return
    const { metadata, placement, hosted } = this.#options
    const granted = new Map(
      metadata.granted(placement.nodeEpoch).map((shard) => [shard.shard, shard.epoch]),
    )
    for (const slot of [...this.#slots.values()]) {
      if (granted.get(slot.shard) !== slot.epoch) this.#drop(slot)
    }
    for (const [shard, epoch] of granted) {
      if (!this.#slots.has(shard)) this.#begin(shard, epoch)
    }
    for (const { sessions, groups } of hosted.all()) {
      sessions.checkMembers()
      groups.checkMembers()
    }
  }

  /** The Placement Center says so before the metadata stream does. */
  acquire(shards: readonly { shard: number; epoch: number }[]): void {
    for (const { shard, epoch } of shards) {
      const slot = this.#slots.get(shard)
      if (slot !== undefined && slot.epoch >= epoch) continue
      if (slot !== undefined) this.#drop(slot)
      this.#begin(shard, epoch)
    }
  }

  /** Flushes and closes shards, then reports them released. */
  async release(shards: readonly { shard: number; epoch: number }[]): Promise<void> {
    const slots = shards.flatMap(({ shard, epoch }) => {
      const slot = this.#slots.get(shard)
      return slot?.epoch === epoch && slot.state === 'open' ? [slot] : []
    })
    const released = await Promise.all(slots.map((slot) => this.#close(slot)))
    if (released.length > 0) await this.#options.placement.shardsReleased(released)
  }

  /** Gives every shard back, in order. */
  async drain(): Promise<void> {
    await this.release([...this.#slots.values()])
  }

  /** The registration is gone, and every lease with it. */
  dropAll(): void {
    for (const slot of [...this.#slots.values()]) this.#drop(slot)
  }

  stop(): void {
    this.#stopped = true
    this.#health.stop()
    this.dropAll()
  }

  #begin(shard: number, epoch: number): void {
    const slot: Slot = { shard, epoch, state: 'opening', hosted: undefined }
    this.#slots.set(shard, slot)
    void this.#open(slot)
  }

  async #open(slot: Slot): Promise<void> {
    while (this.#current(slot)) {
      try {
        const hosted = await this.#load(slot)
        if (!this.#current(slot)) {
          hosted.sessions.stop()
          hosted.groups.stop()
          hosted.schedule.stop()
          hosted.queues.stop()
          hosted.transactions.coordinator.stop()
          hosted.relays.stop()
          return
        }
        this.#health.answered()
        slot.hosted = hosted
        slot.state = 'open'
        this.#options.hosted.add(hosted)
        this.#announce(hosted)
        this.#report(hosted)
        hosted.sessions.checkMembers()
        hosted.groups.checkMembers()
        hosted.groups.start()
        hosted.schedule.start()
        hosted.queues.start()
        hosted.logs.start()
        hosted.transactions.coordinator.start()
        hosted.relays.start()
        this.#options.onChange()
        return
      } catch (error) {
        if (!this.#current(slot) || !this.#mayRetry(slot, error)) return
        await new Promise<void>((resolve) => this.#options.clock.after(RETRY_MS, resolve))
      }
    }
  }

  #mayRetry(slot: Slot, error: unknown): boolean {
    const { log } = this.#options
    const code = error instanceof StorageError ? error.code : 'UNAVAILABLE'
    const fields = { err: error, shard: slot.shard, epoch: slot.epoch }
    if (code === 'FENCED') {
      log.info({ ...fields, errId: 'SHARD_FENCED' }, 'another broker has the shard')
      this.#slots.delete(slot.shard)
      return false
    }
    if (code === 'UNAVAILABLE') {
      const about = { ...fields, errId: 'STORAGE_UNAVAILABLE' }
      this.#health.failed(about, 'storage does not answer, retrying')
      return true
    }
    slot.state = 'data-loss'
    log.error({ ...fields, errId: 'DATA_LOSS' }, 'the shard cannot be read')
    return false
  }

  async #load(slot: Slot): Promise<HostedShard> {
    const { storage, clock, connections, publish, announce, log, metadata, incarnation } =
      this.#options
    const { leaveGroups, losses, functions } = this.#options
    const { shard, epoch } = slot
    const writer = new ShardWriter({
      shard,
      epoch,
      owner: `${metadata.self}/${incarnation}`,
      storage,
      clock,
      onLost: (reason, error) => this.#lost(slot, reason, error),
      onLatency: (ms) => this.#options.logs.budget.noteCommit(ms),
      onStorage: (state, error) => this.#storageChanged(shard, state, error),
    })
    await writer.open()
    const sessions = new SessionShard({
      writer,
      storage,
      clock,
      connections,
      publish,
      losses,
      leaveGroups,
      announce: (change) => announce(shard, epoch, change),
      onError: (err) =>
        log.error({ err, shard, errId: 'SESSION_TASK_FAILED' }, 'a session task failed'),
    })
    const failed = (fields: { readonly errId: string }, what: string) => (err: Error) =>
      log.error({ err, shard, ...fields }, what)
    const announceHere = (change: FilterChange) => announce(shard, epoch, change)
    const parts = { writer, storage, clock, connections, publish, announce: announceHere }
    const groups = functions.groups({
      ...parts,
      onError: failed({ errId: 'GROUP_TASK_FAILED' }, 'a group task failed'),
    })
    const schedule = functions.schedule({
      ...parts,
      onError: failed(
        { errId: 'SCHEDULE_FAILED' },
        'a message could not be published at its time yet',
      ),
    })
    const queues = functions.queues({
      ...parts,
      onError: failed({ errId: 'QUEUE_TASK_FAILED' }, 'a queue task failed'),
    })
    const retained = new RetainedShard(writer, storage, {
      clock,
      limits: this.#options.retainedLimits,
      onUnkept: () => losses.retainedUnkept(),
    })
    const claims = new ClaimShard(writer, storage)
    const logs = new LogShard({
      ...this.#options.logs,
      writer,
      storage,
      clock,
      onError: (err) => log.error({ err, shard, errId: 'LOG_TASK_FAILED' }, 'a log task failed'),
    })
    const withLogs = { ...parts, logs }
    const transactions = functions.transactions({
      ...withLogs,
      onError: failed({ errId: 'TRANSACTION_TASK_FAILED' }, 'a transaction task failed'),
    })
    const relays = functions.relays({
      ...withLogs,
      onError: failed(
        { errId: 'RELAY_FAILED' },
        'records could not be told to other protocols yet',
      ),
    })
    const stored = [sessions, groups, schedule, retained, claims, transactions.coordinator, relays]
    await Promise.all(stored.map((part) => part.load()))
    const kept = { sessions, groups, schedule, queues, retained, claims, logs, transactions }
    return { shard, epoch, writer, ...kept, relays }
  }

  /**
   * In the turn in which the shard begins to be served, so that no peer can miss a change. Until it arrives,
   * peers go by the filters of the owner before, which nobody could change in between.
   */
  #announce({ shard, epoch, sessions, groups }: HostedShard): void {
    const added = [...sessions.filters(), ...groups.groups()]
    const change = { reset: true, added, removed: [] }
    void this.#options.announce(shard, epoch, change)
  }

  #report(hosted: HostedShard): void {
    this.#opened.push(hosted)
    if (this.#reporting) return
    this.#reporting = true
    this.#options.clock.after(REPORT_MS, () => void this.#sendReport())
  }

  async #sendReport(): Promise<void> {
    while (this.#opened.length > 0) {
      const opened = this.#opened
      this.#opened = []
      const shards = opened.map(({ shard, epoch, writer }) => ({
        shard,
        epoch,
        storageIncarnation: writer.incarnation,
        commitNumber: writer.commitNumber,
      }))
      const refused = await this.#options.placement.shardsOpened(shards)
      for (const shard of refused) {
        const slot = this.#slots.get(shard)
        if (opened.some((hosted) => hosted === slot?.hosted) && slot) this.#drop(slot)
      }
    }
    this.#reporting = false
  }

  #lost(slot: Slot, reason: LostReason, error: Error): void {
    const { log } = this.#options
    const fields = { err: error, shard: slot.shard, epoch: slot.epoch }
    this.#forget(slot)
    if (reason === 'fenced') {
      log.info({ ...fields, errId: 'SHARD_FENCED' }, 'the shard has moved to another broker')
      this.#slots.delete(slot.shard)
    } else {
      slot.state = 'data-loss'
      log.error({ ...fields, errId: 'DATA_LOSS' }, 'the shard has lost data and is not served')
      // Storage that promised nothing has kept its promise: begin afresh.
      if (!this.#options.storage.capabilities.survivesProcessCrash) {
        this.#begin(slot.shard, slot.epoch)
      }
    }
    this.#options.onChange()
  }

  #drop(slot: Slot): void {
    this.#slots.delete(slot.shard)
    this.#forget(slot)
    this.#options.onChange()
  }

  #forget(slot: Slot): void {
    const { hosted } = slot
    slot.hosted = undefined
    this.#options.pressure.accepted(slot.shard)
    if (hosted === undefined) return
    this.#options.hosted.remove(slot.shard)
    hosted.sessions.stop()
    hosted.groups.stop()
    hosted.schedule.stop()
    hosted.queues.stop()
    hosted.transactions.coordinator.stop()
    hosted.relays.stop()
    hosted.logs.stop()
    hosted.writer.abandon()
  }

  async #close(slot: Slot): Promise<{ shard: number; epoch: number; commitNumber: number }> {
    slot.state = 'closing'
    const { shard, epoch, hosted } = slot
    const commitNumber = hosted?.writer.commitNumber ?? 0
    if (hosted !== undefined) {
      this.#options.hosted.remove(shard)
      hosted.sessions.flush()
      hosted.sessions.stop()
      hosted.groups.stop()
      hosted.schedule.stop()
      hosted.queues.stop()
      hosted.transactions.coordinator.stop()
      hosted.relays.stop()
      hosted.logs.flush()
      hosted.logs.stop()
      await hosted.writer.drained()
      hosted.writer.abandon()
      this.#options.pressure.accepted(shard)
      await this.#options.storage.close(shard, epoch).catch((err: unknown) => {
        this.#options.log.error(
          { err, shard, errId: 'SHARD_CLOSE_FAILED' },
          'closing a shard failed',
        )
      })
    }
    // The slot stays until the metadata says so too, lest the old grant be taken for a new one.
    this.#options.onChange()
    return { shard, epoch, commitNumber: hosted?.writer.commitNumber ?? commitNumber }
  }

  #current(slot: Slot): boolean {
    return !this.#stopped && this.#slots.get(slot.shard) === slot
  }

  #storageChanged(shard: number, state: StorageState, error?: Error): void {
    const { pressure } = this.#options
    if (state === 'full') pressure.refused(shard)
    else if (state === 'accepting') pressure.accepted(shard)
    const fields = { err: error, errId: 'STORAGE_UNAVAILABLE' }
    if (state === 'unavailable') this.#health.failed(fields, 'storage does not answer; writes wait')
    else this.#health.answered()
  }
}
