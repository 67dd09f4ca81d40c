/** The APIs of who a client is: names, versions and fields. Source: Kafka's protocol guide. */
import type { Api } from './api.ts'
import {
  array,
  bytes,
  int16,
  int64,
  nullableString,
  since,
  string,
  struct,
  type WireType,
} from './wire-types.ts'

const NEVER = Number.POSITIVE_INFINITY

function api<Request, Response>(
  spoken: Pick<Api, 'key' | 'name' | 'versions' | 'flexible'>,
  request: WireType<Request>,
  response: WireType<Response>,
): Api<Request, Response> {
  return { ...spoken, request, response }
}

export const SASL_HANDSHAKE = api(
  { key: 17, name: 'SaslHandshake', versions: [0, 1], flexible: NEVER },
  struct({ mechanism: string }),
  struct({ errorCode: int16, mechanisms: array(string) }),
)

export const SASL_AUTHENTICATE = api(
  { key: 36, name: 'SaslAuthenticate', versions: [0, 2], flexible: 2 },
  struct({ authBytes: bytes }),
  struct({
    errorCode: int16,
    errorMessage: nullableString(),
    authBytes: bytes,
    sessionLifetimeMs: since(1, int64),
  }),
)
