/** What the tests of the Redis adapter share: adapters that are stopped, and what they logged. */
import { type OpenStorageOptions, openStorage, type StorageAdapter } from '@robust/storage-adapters'

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error'
  readonly fields: Record<string, unknown>
  readonly message: string
}

const cleanups: (() => Promise<unknown>)[] = []

export function onCleanUp(cleanup: () => Promise<unknown>): void {
  cleanups.push(cleanup)
}

export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
}

/** Opens a storage that is stopped after the test. */
export async function open(
  url: string,
  options: Partial<OpenStorageOptions> & { lines?: LogLine[] } = {},
): Promise<StorageAdapter> {
  const { lines = [], ...rest } = options
  const at = (level: LogLine['level']) => (fields: object, message: string) =>
    lines.push({ level, fields: fields as Record<string, unknown>, message })
  const logger = { info: at('info'), warn: at('warn'), error: at('error') }
  const adapter = await openStorage(url, { logger, connectMs: 20_000, ...rest })
  onCleanUp(() => adapter.stop())
  return adapter
}

/** Commits once more under the same number, opening again before each, until storage has an answer. */
export async function untilKnown<T>(attempt: () => Promise<T>, timeoutMs = 40_000): Promise<T> {
  const until = performance.now() + timeoutMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      const code = (error as { code?: string }).code
      const isUnknown = code === 'UNAVAILABLE' || code === 'FULL' || code === 'NOT_OPEN'
      if (!isUnknown || performance.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
