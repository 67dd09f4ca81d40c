/** Files that are open for reading, so many at most; one that is in use is closed when it is not any more. */
import { type FileHandle, open } from 'node:fs/promises'

interface OpenFile {
  readonly handle: Promise<FileHandle | undefined>
  users: number
  isLeft: boolean
}

export class OpenFiles {
  readonly #filesMax: number
  readonly #files = new Map<string, OpenFile>()

  constructor(filesMax: number) {
    this.#filesMax = filesMax
  }

  /** Undefined, without a use, when there is no such file. */
  async use<T>(path: string, read: (file: FileHandle) => Promise<T>): Promise<T | undefined> {
    const file = this.#files.get(path) ?? this.#open(path)
    file.users += 1
    try {
      const handle = await file.handle
      if (handle !== undefined) return await read(handle)
      this.leave(path)
      return undefined
    } finally {
      file.users -= 1
      if (file.isLeft && file.users === 0) await close(file)
    }
  }

  /** It is opened anew when it is used again. */
  leave(path: string): void {
    const file = this.#files.get(path)
    if (file === undefined) return
    this.#files.delete(path)
    file.isLeft = true
    if (file.users === 0) void close(file)
  }

  leaveAll(): void {
    for (const path of Array.from(this.#files.keys())) this.leave(path)
  }

  #open(path: string): OpenFile {
    const handle = open(path, 'r').catch((error: Error & { code?: string }) => {
      if (error.code === 'ENOENT') return undefined
      this.leave(path)
      throw error
    })
    const file = { handle, users: 0, isLeft: false }
    this.#files.set(path, file)
    const [oldest] = this.#files.keys()
    if (this.#files.size > this.#filesMax && oldest !== undefined) this.leave(oldest)
    return file
  }
}

async function close({ handle }: OpenFile): Promise<void> {
  await handle.then(
    (file) => file?.close(),
    () => undefined,
  )
}
