/**
 * Users in Redis: the hash `mqtt_user:NAME` with `password_hash` (as `robust user create` keeps it) and
 * `is_superuser`, the hash `mqtt_acl:NAME` with a topic for each field and publish, subscribe or all as its value.
 */
import { Redis } from 'ioredis'
import type { Rule } from '../access.ts'
import { isPassword } from '../password-hash.ts'
import {
  type Backend,
  type BackendAnswer,
  type BackendCredentials,
  BackendError,
} from './backend.ts'

export interface RedisOptions {
  readonly url: string
  readonly timeoutMs: number
}

const RECONNECT_MS_MAX = 2_000

export class RedisBackend implements Backend {
  readonly name = 'redis'
  readonly #redis: Redis

  constructor({ url, timeoutMs }: RedisOptions) {
    this.#redis = new Redis(url, {
      lazyConnect: true,
      commandTimeout: timeoutMs,
      connectTimeout: timeoutMs,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(100 * times, RECONNECT_MS_MAX),
    })
    // Each question that cannot be asked says so itself.
    this.#redis.on('error', () => undefined)
  }

  async check({ username, password }: BackendCredentials): Promise<BackendAnswer> {
    if (username === undefined || password === undefined) return { kind: 'unknown' }
    const [hash, isAdmin] = await this.#redis.hmget(
      `mqtt_user:${username}`,
      'password_hash',
      'is_superuser',
    )
    if (hash === null || hash === undefined) return { kind: 'unknown' }
    const given = Buffer.from(password).toString('utf8')
    if (!(await isPassword(given, hash))) return { kind: 'bad-credentials' }
    const topics = await this.#redis.hgetall(`mqtt_acl:${username}`)
    const rules = Object.entries(topics).map(([pattern, action]) => ruleOf(pattern, action))
    const admin = isAdmin === '1' || isAdmin === 'true'
    return { kind: 'in', user: username, isAdmin: admin, rules, until: undefined }
  }

  stop(): void {
    this.#redis.disconnect()
  }
}

function ruleOf(pattern: string, action: string): Rule {
  if (action !== 'publish' && action !== 'subscribe' && action !== 'all') {
    throw new BackendError(`${action} is no action`)
  }
  return { action, pattern, allow: true }
}
