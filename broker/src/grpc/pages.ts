/** Pages of what operators list. */
import type { admin } from '@robust/proto'

export interface Page {
  readonly filter: string
  readonly after: string
  readonly limit: number
}

const PAGE_DEFAULT = 100
const PAGE_MAX = 10_000

export function pageOf({ filter, after, limit }: admin.ListRequest): Page {
  return { filter, after, limit: Math.min(limit || PAGE_DEFAULT, PAGE_MAX) }
}
