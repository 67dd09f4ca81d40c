/** Settings of who may come in: one table, spread into that of all settings. */
import { integer, type SettingSchema } from './setting-schema.ts'

export const SECURITY_SETTINGS = {
  'security.anonymous': {
    type: 'choice',
    choices: ['loopback', 'always', 'never'],
    default: 'loopback',
    role: 'broker',
    description:
      'clients without a user name: loopback lets them in from this machine while there is no user; ' +
      'always lets them in as the user anonymous; never does not',
  },
  'security.backends': {
    type: 'text',
    bytesMax: 64,
    default: null,
    role: 'broker',
    description:
      'of jwt, http, redis, by commas: asked in this order about who is no user here; unset: none',
  },
  'security.cache-seconds': integer('broker', [0, 86_400, 30], {
    unit: 's',
    description: 'that a back end is not asked again about a client that it let in',
  }),
  'security.client-id-owner': {
    type: 'choice',
    choices: ['same-user', 'anyone'],
    default: 'same-user',
    role: 'broker',
    description:
      'who may take over the session of a client id: only the user that has it, or anyone',
  },
  'security.http-url': {
    type: 'text',
    bytesMax: 2_048,
    default: null,
    role: 'broker',
    description: 'that the back end http is asked at',
  },
  'security.jwt-algorithms': {
    type: 'text',
    bytesMax: 256,
    default: null,
    role: 'broker',
    description:
      'that tokens may be signed by, such as RS256,ES256; unset: HS, RS, PS and ES with 256, 384 or 512, and EdDSA',
  },
  'security.jwt-audience': {
    type: 'text',
    bytesMax: 256,
    default: null,
    role: 'broker',
    description: 'that tokens must be for; unset: any',
  },
  'security.jwt-issuer': {
    type: 'text',
    bytesMax: 256,
    default: null,
    role: 'broker',
    description: 'that tokens must be of; unset: any',
  },
  'security.jwt-keys': {
    type: 'text',
    bytesMax: 2_048,
    default: null,
    role: 'broker',
    description:
      'JSON Web Key Set that tokens are checked by: https://... or file:PATH on each broker',
  },
  'security.jwt-user-claim': {
    type: 'text',
    bytesMax: 64,
    default: 'sub',
    role: 'broker',
    description: 'claim of a token that names the user',
  },
  'security.negative-cache-seconds': integer('broker', [0, 3_600, 5], {
    unit: 's',
    description: 'that a back end is not asked again about a client that it did not let in',
  }),
  'security.redis-url': {
    type: 'text',
    bytesMax: 2_048,
    default: null,
    role: 'broker',
    description: 'that the back end redis is found at: redis://HOST:PORT/DB or rediss://',
  },
  'security.timeout-ms': integer('broker', [100, 60_000, 5_000], {
    unit: 'ms',
    description: 'after which a back end counts as down, and the client is refused with 0x88',
  }),
} as const satisfies Record<string, SettingSchema>
