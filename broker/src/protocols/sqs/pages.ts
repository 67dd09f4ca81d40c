/** Lists a page at a time: a token says after which name the next page begins. */
import { invalidValue } from './errors.ts'

interface PageOptions {
  readonly token: string | undefined
  /** Undefined: as many as may be, and no token. */
  readonly size: number | undefined
  readonly most: number
}

/** `all` is in the order of the names. Throws SqsError InvalidParameterValue. */
export function pageOf<T extends { readonly name: string }>(
  all: readonly T[],
  { token, size, most }: PageOptions,
): { readonly items: readonly T[]; readonly next: string | undefined } {
  if (size !== undefined && (size < 1 || size > most)) {
    throw invalidValue(size, 'MaxResults', `Must be between 1 and ${most}, if provided.`)
  }
  const after = token === undefined ? undefined : nameOf(token)
  const rest = after === undefined ? all : all.filter(({ name }) => name > after)
  const items = rest.slice(0, size ?? most)
  const last = items[items.length - 1]
  const hasMore = size !== undefined && last !== undefined && rest.length > items.length
  return { items, next: hasMore ? Buffer.from(`n:${last.name}`).toString('base64url') : undefined }
}

function nameOf(token: string): string {
  const text = Buffer.from(token, 'base64url').toString()
  if (!text.startsWith('n:')) throw invalidValue(token, 'NextToken', 'It is no token of a page.')
  return text.slice(2)
}
