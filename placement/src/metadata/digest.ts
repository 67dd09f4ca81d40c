/**
 * A hash of the whole state that is cheap to have at any time: the sum of a hash for each entry, so that a
 * change costs its own entry, and the order in which entries came does not matter. For comparing what members
 * have; no protection against anybody who means harm.
 *
 * Members compare it with each other: what goes into it may change only with the version of the snapshots.
 */

const MULTIPLIERS = [0x9e3779b1, 0x85ebca6b] as const

export class Digest {
  #low = 0
  #high = 0

  add(entry: string): void {
    const { low, high } = hashOf(entry)
    this.#low = (this.#low + low) | 0
    this.#high = (this.#high + high) | 0
  }

  remove(entry: string): void {
    const { low, high } = hashOf(entry)
    this.#low = (this.#low - low) | 0
    this.#high = (this.#high - high) | 0
  }

  /** Sixteen hexadecimal digits. */
  get text(): string {
    return hex(this.#high) + hex(this.#low)
  }
}

/** Two sums that differ in how each character is mixed in. */
function hashOf(text: string): { readonly low: number; readonly high: number } {
  let low = text.length
  let high = ~text.length
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    low = Math.imul(low ^ code, MULTIPLIERS[0])
    low ^= low >>> 15
    high = Math.imul(high ^ code, MULTIPLIERS[1])
    high ^= high >>> 13
  }
  return { low, high }
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}
