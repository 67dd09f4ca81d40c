/**
 * Commands to the server that holds a shard, with a deadline each. Scripts go by their digest and are sent
 * whole once a server does not know them. Where replicas or disks must confirm, one WAIT covers all
 * writes that were sent before it on the connection: writes collect while one is under way.
 */
import { Cluster, Command, type Redis } from 'ioredis'
import { StorageError } from '../errors.ts'
import { type Client, primariesOf } from './client.ts'
import { Deadlines } from './deadlines.ts'
import type { RedisTarget } from './redis-url.ts'
import { asStorageError, isNoScript, isNotRun } from './replies.ts'
import { type Argument, ScriptCommand } from './script-command.ts'
import type { Script } from './scripts.ts'

export type { Argument } from './script-command.ts'

export interface ScriptCall {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly Argument[]
}

interface Write {
  readonly call: ScriptCall
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: unknown) => void
}

export class Link {
  readonly client: Client
  readonly #target: RedisTarget
  /** By node, in WAIT mode: what goes with the next WAIT. */
  readonly #collecting = new Map<Redis, Write[]>()
  readonly #deadlines: Deadlines
  #isGathering = false

  constructor(client: Client, target: RedisTarget) {
    this.client = client
    this.#target = target
    this.#deadlines = new Deadlines(target.timeoutMs + target.waitMs)
  }

  /** The reply with bytes as Buffers. Rejects with a StorageError. */
  async command(name: string, args: readonly Argument[]): Promise<unknown> {
    try {
      return await this.#withDeadline(send(this.client, newCommand(name, args)))
    } catch (error) {
      throw asStorageError(error)
    }
  }

  /** Runs a script that reads. */
  read(call: ScriptCall): Promise<unknown> {
    return this.#withDeadline(this.#evaluate(this.client, call), asStorageError)
  }

  /** Runs a script that writes; resolves when what was promised has happened. */
  async write(call: ScriptCall): Promise<unknown> {
    if (this.#target.wait === 0 && this.#target.waitAof === undefined) return this.read(call)
    try {
      return await this.#withDeadline(this.#writeAndWait(call))
    } catch (error) {
      throw asStorageError(error)
    }
  }

  /** Sent by its digest; the whole text where that is not known, in place, so that nothing overtakes. */
  #evaluate(to: Client, { script, keys, args }: ScriptCall): Promise<unknown> {
    this.#gather()
    const called: Argument[] = [script.sha, keys.length]
    for (let i = 0; i < keys.length; i++) called.push(keys[i] as string)
    for (let i = 0; i < args.length; i++) called.push(args[i] as Argument)
    return send(to, new ScriptCommand('evalsha', called)).catch((error: unknown) => {
      if (!isNoScript(error)) throw error
      return send(to, new ScriptCommand('eval', [script.source, ...called.slice(1)]))
    })
  }

  async #writeAndWait(call: ScriptCall): Promise<unknown> {
    const until = performance.now() + this.#target.timeoutMs
    for (;;) {
      const node = this.#nodeOf(call.keys[0] ?? '')
      try {
        if (node !== undefined) return await this.#collect(node, call)
      } catch (error) {
        if (!(this.client instanceof Cluster) || !isNotRun(error)) throw error
        if (performance.now() > until) throw error
      }
      if (performance.now() > until) throw new Error('no node serves the shard')
      await this.#refreshSlots()
    }
  }

  /** What is sent in one turn of the event loop goes to each server in one write. */
  #gather(): void {
    if (this.#isGathering) return
    this.#isGathering = true
    const streams = primariesOf(this.client).map(({ stream }) => stream)
    for (const stream of streams) stream?.cork()
    setImmediate(() => {
      this.#isGathering = false
      for (const stream of streams) stream?.uncork()
    })
  }

  #nodeOf(key: string): Redis | undefined {
    if (!(this.client instanceof Cluster)) return this.client
    const slot = newCommand('get', [key]).getSlot()
    const [address] = this.client.slots[slot] ?? []
    return this.client
      .nodes('master')
      .find(({ options }) => `${options.host}:${options.port}` === address)
  }

  #refreshSlots(): Promise<void> {
    const { client } = this
    return new Promise((resolve) => {
      setTimeout(() => {
        if (client instanceof Cluster) client.refreshSlotsCache(() => resolve())
        else resolve()
      }, slotsRetryMs)
    })
  }

  #collect(node: Redis, call: ScriptCall): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const write = { call, resolve, reject }
      const collecting = this.#collecting.get(node)
      if (collecting !== undefined) {
        collecting.push(write)
        return
      }
      this.#collecting.set(node, [write])
      setImmediate(() => void this.#sendGroups(node))
    })
  }

  async #sendGroups(node: Redis): Promise<void> {
    for (;;) {
      const group = this.#collecting.get(node) ?? []
      if (group.length === 0) {
        this.#collecting.delete(node)
        return
      }
      this.#collecting.set(node, [])
      await this.#sendGroup(node, group)
    }
  }

  async #sendGroup(node: Redis, group: readonly Write[]): Promise<void> {
    const sent = group.map(({ call }) => this.#evaluate(node, call))
    const replies = await this.#settleInTime(sent)
    let failure: unknown
    if (replies.some(({ status }) => status === 'fulfilled')) {
      // After the scripts, since one that was not known by its digest was sent a second time.
      failure = await this.#confirm(node).catch((error: unknown) => error)
    }
    for (const [at, { resolve, reject }] of group.entries()) {
      const reply = replies[at]
      if (reply?.status !== 'fulfilled') reject(reply?.reason)
      else if (failure === undefined) resolve(reply.value)
      else reject(failure)
    }
  }

  #settleInTime(sent: readonly Promise<unknown>[]): Promise<PromiseSettledResult<unknown>[]> {
    return Promise.allSettled(sent.map((one) => this.#withDeadline(one)))
  }

  /** Rejects with UNAVAILABLE when fewer have confirmed than shall: what they hold then is not known. */
  async #confirm(node: Redis): Promise<void> {
    const { wait, waitAof, waitMs } = this.#target
    const commands: [string, Argument[]][] = []
    if (wait > 0) commands.push(['wait', [wait, waitMs]])
    if (waitAof) commands.push(['waitaof', [waitAof.local, waitAof.replicas, waitMs]])
    const counts = await this.#withDeadline(
      Promise.all(commands.map(([name, args]) => send(node, newCommand(name, args)))),
    )
    for (const [at, [name, args]] of commands.entries()) {
      const wanted = args.slice(0, -1).map(Number)
      const got = [counts[at]].flat().map(Number)
      if (wanted.every((count, index) => (got[index] ?? 0) >= count)) continue
      throw new StorageError(
        'UNAVAILABLE',
        `Redis: ${name} ${wanted.join(' ')} was confirmed by ${got.join(' ')} within ${waitMs} ms`,
      )
    }
  }

  #withDeadline<T>(answer: Promise<T>, asError = (error: unknown) => error): Promise<T> {
    const { timeoutMs } = this.#target
    return new Promise((resolve, reject) => {
      const deadline = this.#deadlines.begin(() =>
        reject(new StorageError('UNAVAILABLE', `Redis: no answer within ${timeoutMs} ms`)),
      )
      answer.then(
        (value) => {
          deadline.isDone = true
          resolve(value)
        },
        (error: unknown) => {
          deadline.isDone = true
          reject(asError(error))
        },
      )
    })
  }
}

const slotsRetryMs = 100

function send(to: Client, command: Command): Promise<unknown> {
  return to.sendCommand(command) as Promise<unknown>
}

function newCommand(name: string, args: readonly Argument[]): Command {
  return new Command(name, Array.from(args), { replyEncoding: null })
}
