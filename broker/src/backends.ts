/** The back ends that the settings name; made again when what they are made of changes. */
import type { BrokerSettings, Settings } from './cluster/settings.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { Backend } from './security/backends/backend.ts'
import { CachedBackend } from './security/backends/cached.ts'
import { HttpBackend } from './security/backends/http.ts'
import { JwtBackend } from './security/backends/jwt.ts'
import { RedisBackend } from './security/backends/redis.ts'

interface Made {
  readonly recipe: string
  readonly backends: readonly Backend[]
}

const MADE_OF = [
  'security.backends',
  'security.http-url',
  'security.jwt-algorithms',
  'security.jwt-audience',
  'security.jwt-issuer',
  'security.jwt-keys',
  'security.jwt-user-claim',
  'security.redis-url',
  'security.timeout-ms',
] as const

export function liveBackends(settings: BrokerSettings): () => readonly Backend[] {
  let made: Made = { recipe: '', backends: [] }
  return settings.live(() => {
    const recipe = JSON.stringify(MADE_OF.map((name) => settings.get(name)))
    if (recipe === made.recipe) return made.backends
    for (const backend of made.backends) backend.stop()
    made = { recipe, backends: backendsOf(settings) }
    return made.backends
  })
}

export function backendsOf(settings: Settings): Backend[] {
  return listOf(settings.get('security.backends')).map((name) => madeSafely(name, settings))
}

function listOf(text: string | null): readonly string[] {
  const parts = (text ?? '').split(',').map((part) => part.trim())
  return parts.filter((part) => part !== '')
}

/** One that cannot be made is down: it must not be left out, or others would decide in its place. */
function madeSafely(name: string, settings: Settings): Backend {
  try {
    return made(name, settings)
  } catch (error) {
    return { name, check: () => Promise.reject(error), stop: () => undefined }
  }
}

function made(name: string, settings: Settings): Backend {
  const timeoutMs = settings.get('security.timeout-ms')
  switch (name) {
    case 'jwt':
      return new JwtBackend({
        keys: needed(settings, 'security.jwt-keys'),
        algorithms: listOf(settings.get('security.jwt-algorithms')),
        audience: settings.get('security.jwt-audience') ?? undefined,
        issuer: settings.get('security.jwt-issuer') ?? undefined,
        userClaim: settings.get('security.jwt-user-claim') ?? 'sub',
        wallMs: () => systemClock.wallMs(),
      })
    case 'http':
      return cached(
        new HttpBackend({ url: needed(settings, 'security.http-url'), timeoutMs }),
        settings,
      )
    case 'redis':
      return cached(
        new RedisBackend({ url: needed(settings, 'security.redis-url'), timeoutMs }),
        settings,
      )
    default:
      throw new Error(`there is no back end ${name}`)
  }
}

function cached(backend: Backend, settings: Settings): Backend {
  return new CachedBackend(backend, systemClock, () => ({
    goodMs: settings.get('security.cache-seconds') * 1_000,
    badMs: settings.get('security.negative-cache-seconds') * 1_000,
  }))
}

function needed(
  settings: Settings,
  name: 'security.jwt-keys' | 'security.http-url' | 'security.redis-url',
): string {
  const value = settings.get(name)
  if (value === null) throw new Error(`${name} is not set`)
  return value
}
