/** DescribeUserScramCredentials and AlterUserScramCredentials. */
import { BrokerError } from '../../../core/errors.ts'
import { type SaltedPassword, SCRAM_ITERATIONS, type ScramName } from '../../../security/scram.ts'
import type { Call } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type {
  ALTER_USER_SCRAM_CREDENTIALS,
  DESCRIBE_USER_SCRAM_CREDENTIALS,
} from '../codec/quota-apis.ts'
import { ERROR } from '../errors.ts'

const NUMBERS: Readonly<Record<ScramName, number>> = { 'SCRAM-SHA-256': 1, 'SCRAM-SHA-512': 2 }
const KEY_BYTES: Readonly<Record<ScramName, number>> = { 'SCRAM-SHA-256': 32, 'SCRAM-SHA-512': 64 }
/** Kafka's own bounds; the upper one is also what clients are asked for here. */
const ITERATIONS_MIN = 4_096
const NAME_BYTES_MAX = 255
const SALT_BYTES_MAX = 256

type DescribeResponse = ResponseOf<typeof DESCRIBE_USER_SCRAM_CREDENTIALS>
type AlterRequest = RequestOf<typeof ALTER_USER_SCRAM_CREDENTIALS>

interface Failure {
  readonly errorCode: number
  readonly errorMessage: string | null
}

const FINE: Failure = { errorCode: ERROR.NONE, errorMessage: null }

function failed(errorCode: number, errorMessage: string): Failure {
  return { errorCode, errorMessage }
}

const NOT_FOUND = failed(ERROR.RESOURCE_NOT_FOUND, 'the user has no such credential')
const TWICE = failed(ERROR.DUPLICATE_RESOURCE, 'the user is named twice')

export function describeUserScramCredentials(
  { services }: Call,
  { users }: RequestOf<typeof DESCRIBE_USER_SCRAM_CREDENTIALS>,
): DescribeResponse {
  const all = services.scramUsers.all()
  const asked = users?.map(({ name }) => name) ?? []
  const names = asked.length === 0 ? [...all.keys()] : [...new Set(asked)]
  const results = names.map((user): DescribeResponse['results'][number] => {
    const known = all.get(user)
    if (asked.indexOf(user) !== asked.lastIndexOf(user)) {
      return { user, ...TWICE, credentialInfos: [] }
    }
    if (known === undefined) return { user, ...NOT_FOUND, credentialInfos: [] }
    const credentialInfos = Array.from(known, ([name, iterations]) => ({
      ...{ mechanism: NUMBERS[name], iterations },
    }))
    return { user, ...FINE, credentialInfos }
  })
  return { throttleTimeMs: 0, ...FINE, results }
}

export async function alterUserScramCredentials(
  call: Call,
  request: AlterRequest,
): Promise<ResponseOf<typeof ALTER_USER_SCRAM_CREDENTIALS>> {
  const { deletions, upsertions } = request
  const names = new Set([...deletions, ...upsertions].map(({ name }) => name))
  const results = await Promise.all(
    Array.from(names, async (user) => ({ user, ...(await alter(call, user, request)) })),
  )
  return { throttleTimeMs: 0, results }
}

/** All that is asked for the user, or nothing of it. */
async function alter({ services }: Call, user: string, request: AlterRequest): Promise<Failure> {
  if (user === '' || user === '*' || Buffer.byteLength(user) > NAME_BYTES_MAX) {
    return failed(ERROR.UNACCEPTABLE_CREDENTIAL, 'no name for a user')
  }
  const changes = new Map<ScramName, SaltedPassword | undefined>()
  const known = services.scramUsers.all().get(user)
  for (const { name, mechanism } of request.deletions) {
    if (name !== user) continue
    const of = mechanismOf(mechanism)
    if (of === undefined) return UNKNOWN
    if (changes.has(of)) return TWICE
    if (known?.has(of) !== true) return NOT_FOUND
    changes.set(of, undefined)
  }
  for (const one of request.upsertions) {
    if (one.name !== user) continue
    const of = mechanismOf(one.mechanism)
    if (of === undefined) return UNKNOWN
    if (changes.has(of)) return TWICE
    const salted = saltedOf(one, of)
    if (typeof salted === 'string') return failed(ERROR.UNACCEPTABLE_CREDENTIAL, salted)
    changes.set(of, salted)
  }
  try {
    await services.scramUsers.set(user, changes)
    return FINE
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return failed(ERROR.REQUEST_TIMED_OUT, error.message)
  }
}

const UNKNOWN = failed(ERROR.UNSUPPORTED_SASL_MECHANISM, 'there is no such mechanism')

function mechanismOf(number: number): ScramName | undefined {
  return (Object.keys(NUMBERS) as ScramName[]).find((name) => NUMBERS[name] === number)
}

/** Copies: the request's bytes are given back. */
function saltedOf(
  { iterations, salt, saltedPassword }: AlterRequest['upsertions'][number],
  name: ScramName,
): SaltedPassword | string {
  if (iterations < ITERATIONS_MIN || iterations > SCRAM_ITERATIONS) {
    return `iterations are from ${ITERATIONS_MIN} to ${SCRAM_ITERATIONS}`
  }
  if (salt.length === 0 || salt.length > SALT_BYTES_MAX) return 'the salt has no such length'
  if (saltedPassword.length !== KEY_BYTES[name]) return 'the password is not salted by it'
  return { salt: Buffer.from(salt), salted: Buffer.from(saltedPassword), iterations }
}
