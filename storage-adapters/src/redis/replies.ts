/** What Redis answers when it does not do what it was told, as the port's errors. */
import { StorageError, type StorageErrorCode } from '../errors.ts'

/** By the first word of the reply. What is not here leaves the outcome unknown. */
const codes: Readonly<Record<string, StorageErrorCode>> = {
  OOM: 'FULL',
  DAMAGED: 'DATA_LOSS',
  WRONGTYPE: 'DATA_LOSS',
}

const advice: Readonly<Record<string, string>> = {
  NOREPLICAS: 'too few replicas are connected (min-replicas-to-write)',
  READONLY: 'it is a replica now',
  MASTERDOWN: 'it is a replica that has lost its primary',
  LOADING: 'it is loading its data',
  CLUSTERDOWN: 'the cluster does not serve this shard',
  TRYAGAIN: 'the shard is being moved to another node',
  NOPERM: 'the ACL user may not do this; see the README for what it needs',
}

export function asStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  const text = error instanceof Error ? error.message : String(error)
  const word = firstWord(text)
  const isFullDisk = word === 'MISCONF' && /space|AOF|RDB/i.test(text)
  const code = codes[word] ?? (isFullDisk ? 'FULL' : 'UNAVAILABLE')
  const hint = advice[word]
  return new StorageError(code, `Redis: ${hint === undefined ? text : `${hint} (${text})`}`, {
    cause: error,
  })
}

/** Said before anything was done: the same command may be sent again. */
export function isNotRun(error: unknown): boolean {
  const word = firstWord(error instanceof Error ? error.message : '')
  return ['MOVED', 'ASK', 'TRYAGAIN', 'CLUSTERDOWN', 'LOADING', 'NOREPLICAS', 'OOM'].includes(word)
}

export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT')
}

export function firstWord(text: string): string {
  return /^[A-Z]+/.exec(text)?.[0] ?? ''
}
