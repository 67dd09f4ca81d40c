/** SaslHandshake and SaslAuthenticate. */
import type { Call } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { SASL_AUTHENTICATE, SASL_HANDSHAKE } from '../codec/security-apis.ts'

export function saslHandshake(
  { identity, header }: Call,
  { mechanism }: RequestOf<typeof SASL_HANDSHAKE>,
): ResponseOf<typeof SASL_HANDSHAKE> {
  // Before version 1 the messages of the mechanism come by themselves.
  const errorCode = identity.handshake(mechanism, { isRaw: header.version === 0 })
  return { errorCode, mechanisms: identity.mechanisms }
}

export function saslAuthenticate(
  { identity }: Call,
  { authBytes }: RequestOf<typeof SASL_AUTHENTICATE>,
): Promise<ResponseOf<typeof SASL_AUTHENTICATE>> {
  return identity.authenticate(authBytes)
}
