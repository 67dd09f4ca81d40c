/** Passwords as they are stored: scrypt (RFC 7914) with a salt of their own, parameters beside the hash. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

const COST = 16_384
const BLOCK = 8
const PARALLEL = 1
const HASH_BYTES = 32
const SALT_BYTES = 16
/** A stored hash may ask for more work than today's; not for any amount. */
const COST_MAX = 1 << 20
const MEMORY_MAX = 256 * 1024 * 1024

/** `scrypt$COST$BLOCK$PARALLEL$SALT$HASH`, the last two in base64. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await derive(password, salt, { cost: COST, block: BLOCK, parallel: PARALLEL })
  const parts = [COST, BLOCK, PARALLEL, salt.toString('base64'), hash.toString('base64')]
  return `scrypt$${parts.join('$')}`
}

/** False for a wrong password, and for a stored text that is no hash. */
export async function isPassword(password: string, stored: string): Promise<boolean> {
  const [scheme, cost, block, parallel, salt, hash] = stored.split('$')
  const numbers = [cost, block, parallel].map(Number)
  const good = numbers.every((number) => Number.isInteger(number) && number > 0)
  if (scheme !== 'scrypt' || !good || salt === undefined || hash === undefined) return false
  const [n = 0, r = 0, p = 0] = numbers
  if (n > COST_MAX || (n & (n - 1)) !== 0 || r > 32 || p > 16) return false
  const expected = Buffer.from(hash, 'base64')
  if (expected.length !== HASH_BYTES) return false
  const work = { cost: n, block: r, parallel: p }
  const derived = await derive(password, Buffer.from(salt, 'base64'), work)
  return timingSafeEqual(derived, expected)
}

function derive(
  password: string,
  salt: Buffer,
  { cost: N, block: r, parallel: p }: { cost: number; block: number; parallel: number },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, { N, r, p, maxmem: MEMORY_MAX }, (error, key) => {
      if (error) reject(error)
      else resolve(key)
    })
  })
}
