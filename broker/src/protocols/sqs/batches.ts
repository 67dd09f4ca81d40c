/** What all batches have in common: their limits, and how one entry fails. */
import { SqsError } from './errors.ts'
import { BATCH_ENTRIES_MAX } from './limits.ts'
import type { Failure } from './packets.ts'

/** Throws SqsError: the batch as a whole is refused. */
export function checkEntries<E extends { readonly Id: string }>(
  kind: string,
  entries: readonly E[] | undefined,
): readonly E[] {
  if (entries === undefined || entries.length === 0) {
    const message = `There should be at least one ${kind} in the request.`
    throw new SqsError('EmptyBatchRequest', message)
  }
  if (entries.length > BATCH_ENTRIES_MAX) {
    const message = `Maximum number of entries per request are ${BATCH_ENTRIES_MAX}. You have sent ${entries.length}.`
    throw new SqsError('TooManyEntriesInBatchRequest', message)
  }
  const ids = new Set<string>()
  for (const { Id } of entries) {
    if (!/^[\w-]{1,80}$/.test(Id)) {
      const message =
        'A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.'
      throw new SqsError('InvalidBatchEntryId', message)
    }
    if (ids.has(Id)) throw new SqsError('BatchEntryIdsNotDistinct', `Id ${Id} repeated.`)
    ids.add(Id)
  }
  return entries
}

export function failureOf(id: string, { model, message }: SqsError): Failure {
  return { Id: id, Code: model.code, Message: message, SenderFault: model.fault === 'Sender' }
}
