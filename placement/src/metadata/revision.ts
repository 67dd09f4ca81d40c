/**
 * Numbers that must never be given out twice, even when the Placement Center is restored from a backup and
 * its log begins again: the generation of the metadata in the high bits, the log index below. Epochs,
 * versions of resources and the index that brokers follow are such numbers. Below 2^53, since storage and
 * clients hold them in doubles.
 */
import { strict as assert } from 'node:assert'

const STEP = 2 ** 40

export const GENERATION_MAX = 2 ** 13 - 1

export function revisionAt(generation: number, index: number): number {
  assert(generation >= 0 && generation <= GENERATION_MAX && index >= 0 && index < STEP)
  return generation * STEP + index
}

export function generationOf(revision: number): number {
  return Math.floor(revision / STEP)
}
