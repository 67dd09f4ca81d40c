/** The APIs of quotas and of SCRAM credentials. Source: Kafka's protocol guide. */
import {
  array,
  bool,
  bytes,
  float64,
  int8,
  int16,
  int32,
  nullableArray,
  nullableString,
  string,
  struct,
} from './wire-types.ts'

const outcome = { errorCode: int16, errorMessage: nullableString() }
/** Without a name: whoever has no quota of its own. */
const entity = array(struct({ entityType: string, entityName: nullableString() }))

export const DESCRIBE_CLIENT_QUOTAS = {
  ...{ key: 48, name: 'DescribeClientQuotas', versions: [0, 1], flexible: 1 },
  request: struct({
    components: array(struct({ entityType: string, matchType: int8, match: nullableString() })),
    strict: bool,
  }),
  response: struct({
    throttleTimeMs: int32,
    ...outcome,
    entries: nullableArray(
      struct({ entity, values: array(struct({ key: string, value: float64 })) }),
      0,
    ),
  }),
} as const

export const ALTER_CLIENT_QUOTAS = {
  ...{ key: 49, name: 'AlterClientQuotas', versions: [0, 1], flexible: 1 },
  request: struct({
    entries: array(
      struct({ entity, ops: array(struct({ key: string, value: float64, remove: bool })) }),
    ),
    validateOnly: bool,
  }),
  response: struct({ throttleTimeMs: int32, entries: array(struct({ ...outcome, entity })) }),
} as const

export const DESCRIBE_USER_SCRAM_CREDENTIALS = {
  ...{ key: 50, name: 'DescribeUserScramCredentials', versions: [0, 0], flexible: 0 },
  request: struct({ users: nullableArray(struct({ name: string }), 0) }),
  response: struct({
    throttleTimeMs: int32,
    ...outcome,
    results: array(
      struct({
        user: string,
        ...outcome,
        credentialInfos: array(struct({ mechanism: int8, iterations: int32 })),
      }),
    ),
  }),
} as const

export const ALTER_USER_SCRAM_CREDENTIALS = {
  ...{ key: 51, name: 'AlterUserScramCredentials', versions: [0, 0], flexible: 0 },
  request: struct({
    deletions: array(struct({ name: string, mechanism: int8 })),
    upsertions: array(
      struct({
        ...{ name: string, mechanism: int8, iterations: int32 },
        ...{ salt: bytes, saltedPassword: bytes },
      }),
    ),
  }),
  response: struct({ throttleTimeMs: int32, results: array(struct({ user: string, ...outcome })) }),
} as const
