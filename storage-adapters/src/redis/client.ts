/**
 * The ioredis client in its three forms, told apart here and nowhere else: one server, the primary that
 * Sentinels name, a cluster. It connects again by itself and repeats what was in flight; every script of
 * ours may run twice (see scripts.ts).
 */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { StorageError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { RedisTarget, TlsFiles } from './redis-url.ts'

export type Client = Redis | Cluster

/** A server that is not there is asked again this soon, at most. */
const retryMsMax = 1000
/** Slots are asked for this often, besides after each redirection. */
const slotsRefreshMs = 2000
const redirectionsMax = 64
const redirectionMs = 150

/** Connects in the background. `onError` hears every failed attempt. */
export function createClient(target: RedisTarget, onError: (error: Error) => void): Client {
  const client = target.mode === 'cluster' ? createCluster(target) : createRedis(target)
  client.on('error', onError)
  if (client instanceof Cluster) client.on('node error', onError)
  client.on('end', () => {
    setTimeout(() => {
      if (!closed.has(client) && client.status === 'end') client.connect().catch(onError)
    }, againMs).unref()
  })
  return client
}

/** Ends it for good. */
export function closeClient(client: Client): void {
  closed.add(client)
  client.disconnect()
}

/** A fail-over that is noticed while ioredis connects ends the client as if somebody had asked for it. */
const closed = new WeakSet<Client>()
const againMs = 200

/** Resolves when commands can be sent. Rejects with UNAVAILABLE, or INVALID when Redis refuses the login. */
export async function connected(
  client: Client,
  limits: { connectMs: number | undefined; signal: AbortSignal | undefined; logger: Logger },
): Promise<void> {
  const { connectMs, signal, logger } = limits
  if (client.status === 'ready') return
  await new Promise<void>((resolve, reject) => {
    let last = 'no answer'
    const settle = (settled: () => void) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      client.off('ready', onReady)
      client.off('error', onError)
      client.off('node error', onError)
      settled()
    }
    const fail = (code: 'UNAVAILABLE' | 'INVALID') =>
      settle(() => reject(new StorageError(code, `Redis cannot be reached: ${last}`)))
    const onReady = () => settle(resolve)
    const onAbort = () => fail('UNAVAILABLE')
    const onError = (error: Error) => {
      const reason = reasonOf(error)
      if (reason !== last) logger.warn({ reason }, 'redis not reachable')
      last = reason
      if (/WRONGPASS|NOAUTH|NOPERM|invalid password/i.test(reason)) fail('INVALID')
    }
    const timer = connectMs === undefined ? undefined : setTimeout(onAbort, connectMs)
    client.on('ready', onReady)
    client.on('error', onError)
    client.on('node error', onError)
    if (signal?.aborted) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
  })
}

export function primariesOf(client: Client): Redis[] {
  return client instanceof Cluster ? client.nodes('master') : [client]
}

function createRedis(target: RedisTarget): Redis {
  const [first] = target.nodes
  if (target.mode === 'standalone') return new Redis({ ...shared(target), ...first })
  return new Redis({
    ...shared(target),
    sentinels: Array.from(target.nodes),
    name: target.masterName,
    role: 'master',
    // A primary that is paused keeps its connection; the Sentinels' word ends it.
    failoverDetector: true,
    sentinelReconnectStrategy: () => retryMsMax,
    sentinelRetryStrategy: retryDelay,
    ...(target.sentinelUsername !== undefined && { sentinelUsername: target.sentinelUsername }),
    ...(target.sentinelPassword !== undefined && { sentinelPassword: target.sentinelPassword }),
    ...(target.tls && {
      enableTLSForSentinelMode: true,
      sentinelTLS: tlsOptions(target.tls),
    }),
  })
}

function createCluster(target: RedisTarget): Cluster {
  return new Cluster(Array.from(target.nodes), {
    // What a node says its peers' addresses are is used as it is, not looked up first.
    dnsLookup: (address, callback) => callback(null, address),
    clusterRetryStrategy: retryDelay,
    slotsRefreshInterval: slotsRefreshMs,
    maxRedirections: redirectionsMax,
    retryDelayOnFailover: redirectionMs,
    retryDelayOnClusterDown: redirectionMs,
    retryDelayOnTryAgain: redirectionMs,
    redisOptions: shared(target),
  })
}

function shared(target: RedisTarget): Omit<RedisOptions, 'replyMapping'> {
  const password = target.password ?? readPassword(target.passwordFile)
  return {
    disableClientInfo: true,
    maxRetriesPerRequest: null,
    retryStrategy: retryDelay,
    connectTimeout: target.timeoutMs,
    // A peer that is gone without a word: the polls of the monitor expect an answer each second.
    socketTimeout: target.timeoutMs,
    maxLoadingRetryTime: retryMsMax,
    // A primary that has become a replica: look for the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(target.mode !== 'cluster' && { db: target.database }),
    ...(target.username !== undefined && { username: target.username }),
    ...(password !== undefined && { password }),
    ...(target.tls && { tls: tlsOptions(target.tls) }),
  }
}

function retryDelay(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt - 1, 8), retryMsMax) * (0.75 + Math.random() / 4)
}

function readPassword(path: string | undefined): string | undefined {
  return path === undefined ? undefined : readOption(path, 'password-file').toString().trim()
}

function tlsOptions({ ca, cert, key, serverName }: TlsFiles): ConnectionOptions {
  return {
    ...(ca !== undefined && { ca: readOption(ca, 'tls-ca') }),
    ...(cert !== undefined && { cert: readOption(cert, 'tls-cert') }),
    ...(key !== undefined && { key: readOption(key, 'tls-key') }),
    ...(serverName !== undefined && { servername: serverName }),
  }
}

function readOption(path: string, name: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new StorageError('INVALID', `The Redis URL: ${name}: ${reason}`, { cause: error })
  }
}

function reasonOf(error: Error): string {
  const { lastNodeError } = error as Error & { lastNodeError?: Error }
  if (error instanceof AggregateError) return error.errors.map(String).join(', ')
  return lastNodeError === undefined ? error.message : lastNodeError.message
}
