/** A stream of chunks that can be made to fail from outside. */

/** Fails at once when aborted, even while the source gives nothing. */
export async function* abortable(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(asError(signal.reason)), { once: true })
  })
  aborted.catch(() => undefined)
  const iterator = chunks[Symbol.asyncIterator]()
  try {
    for (;;) {
      if (signal.aborted) throw asError(signal.reason)
      const next = await Promise.race([iterator.next(), aborted])
      if (next.done === true) return
      yield next.value
    }
  } finally {
    // Not awaited: a source that gives nothing would not return either.
    iterator.return?.().catch(() => undefined)
  }
}

export function asError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value))
}
