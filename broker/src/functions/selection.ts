/** A selector over the messages of a queue: over their headers, as texts. */
import type { NewRecord } from '@robust/storage-adapters'
import { textHeader } from '../core/queues/headers.ts'
import { compileSelector, Untyped } from './filtering.ts'

/** Throws SelectorError. */
export function recordMatcher(source: string): (record: NewRecord) => boolean {
  const matches = compileSelector(source)
  return (record) =>
    matches((name) => {
      const text = textHeader(record, name)
      return text === undefined ? undefined : new Untyped(text)
    })
}
