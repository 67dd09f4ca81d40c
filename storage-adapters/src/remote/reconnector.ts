/**
 * Keeps one connection to one of several addresses, with a back-off between tries, and lets calls wait
 * for it. Calls that waited are sent in their order before any later one.
 */
import { randomUUID } from 'node:crypto'
import type { LinkIdentity, storage } from '@robust/proto'
import { StorageError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { Connection } from './connection.ts'

export interface ReconnectorOptions {
  readonly addresses: readonly string[]
  readonly logger: Logger
  readonly waitMs: number
  readonly requestMs: number
}

interface Waiter {
  readonly proceed: (connection: Connection) => void
  readonly refuse: (error: StorageError) => void
}

const backOffMsMin = 50
const backOffMsMax = 2000
/** Until a service that accepts connections must have said what it is. */
const greetingMs = 5000
/** More than one largest commit, several times over; beyond it callers do not wait for their answers. */
const queueBytesMax = 256 * 1024 * 1024
/** A try that fails is logged at first and then every so many. */
const loggedTries = 20

export class Reconnector {
  readonly #options: ReconnectorOptions
  /** Any storage client of this process: fencing goes by what each request says. */
  readonly #identity: LinkIdentity = { clusterId: '', senderId: '', incarnation: randomUUID() }
  readonly #waiters = new Set<Waiter>()
  readonly #stopped = new AbortController()
  readonly #running: Promise<void>
  #connection: Connection | undefined
  #capabilities: storage.Capabilities | undefined
  #lastFailure = 'not tried yet'

  constructor(options: ReconnectorOptions) {
    if (options.addresses.length === 0) {
      throw new StorageError('INVALID', 'No address of a storage service')
    }
    this.#options = options
    this.#running = this.#run()
  }

  /** Of the newest connection. */
  get capabilities(): storage.Capabilities {
    if (!this.#capabilities) throw new StorageError('UNAVAILABLE', 'Never connected')
    return this.#capabilities
  }

  /** 0 while there is no connection: calls tell then. */
  get pressure(): number {
    return this.#connection?.pressure ?? 0
  }

  /** Resolves once there is a connection; `waitMs` undefined waits without end. */
  async connected(waitMs: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    await this.#wait(async () => undefined, { waitMs, signal })
  }

  /** Runs `send` at once on the connection, or when there is one. */
  call<T>(send: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#connection) return send(this.#connection)
    return this.#wait(send, { waitMs: this.#options.waitMs, signal: undefined })
  }

  /** Waits for answers that are due, then closes. Idempotent. */
  async stop(): Promise<void> {
    if (!this.#stopped.signal.aborted) {
      this.#stopped.abort()
      const connection = this.#connection
      this.#connection = undefined
      for (const { refuse } of this.#waiters) refuse(stoppedError())
      await connection?.close()
    }
    await this.#running
  }

  #wait<T>(
    send: (connection: Connection) => Promise<T>,
    limits: { waitMs: number | undefined; signal: AbortSignal | undefined },
  ): Promise<T> {
    const { waitMs, signal } = limits
    if (this.#stopped.signal.aborted) return Promise.reject(stoppedError())
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiters.delete(waiter)
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const waiter: Waiter = {
        proceed: (connection) => {
          settle()
          resolve(send(connection))
        },
        refuse: (error) => {
          settle()
          reject(error)
        },
      }
      const onAbort = () => waiter.refuse(this.#unreachable('the wait was ended'))
      const timer =
        waitMs === undefined
          ? undefined
          : setTimeout(() => waiter.refuse(this.#unreachable(`waited ${waitMs} ms`)), waitMs)
      this.#waiters.add(waiter)
      if (signal?.aborted) onAbort()
      else signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  async #run(): Promise<void> {
    const { addresses, logger } = this.#options
    let failures = 0
    let at = 0
    while (!this.#stopped.signal.aborted) {
      const address = addresses[at % addresses.length] ?? ''
      try {
        const connection = await this.#open(address)
        failures = 0
        logger.info({ address, promise: connection.capabilities.promise }, 'storage connected')
        const reason = await this.#use(connection)
        if (this.#stopped.signal.aborted) return
        this.#lastFailure = reason.message
        logger.warn({ address, reason: reason.message }, 'storage connection lost')
      } catch (error) {
        if (!(error instanceof StorageError)) throw error
        this.#lastFailure = error.message
        if (failures % loggedTries === 0) {
          logger.warn({ address, failures, reason: error.message }, 'storage not reachable')
        }
        failures += 1
        at += 1
      }
      await this.#backOff(failures)
    }
  }

  #open(address: string): Promise<Connection> {
    const { requestMs } = this.#options
    const { signal } = this.#stopped
    const identity = this.#identity
    return Connection.open({ address, greetingMs, requestMs, queueBytesMax, identity, signal })
  }

  /** Until it ends. */
  async #use(connection: Connection): Promise<StorageError> {
    if (this.#stopped.signal.aborted) {
      await connection.close()
      return connection.closed
    }
    this.#connection = connection
    this.#capabilities = connection.capabilities
    for (const { proceed } of Array.from(this.#waiters)) proceed(connection)
    const reason = await connection.closed
    this.#connection = undefined
    return reason
  }

  async #backOff(failures: number): Promise<void> {
    const { signal } = this.#stopped
    if (signal.aborted) return
    const longest = Math.min(backOffMsMax, backOffMsMin * 2 ** Math.min(failures, 10))
    const delayMs = longest * (0.5 + Math.random() / 2)
    await new Promise<void>((resolve) => {
      const proceed = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', proceed)
        resolve()
      }
      const timer = setTimeout(proceed, delayMs)
      signal.addEventListener('abort', proceed)
    })
  }

  #unreachable(why: string): StorageError {
    const addresses = this.#options.addresses.join(', ')
    return new StorageError(
      'UNAVAILABLE',
      `No storage service at ${addresses} (${why}); last: ${this.#lastFailure}`,
    )
  }
}

function stoppedError(): StorageError {
  return new StorageError('UNAVAILABLE', 'The storage client is stopped')
}
