/** What the log store needs of a disk, so that tests can lose power and tear writes at any point. */
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { lockFolder } from './folder-lock.ts'

/** One folder. Names are plain; changes of names are durable after `syncNames`. */
export interface Disk {
  /** Created when missing, and held until the returned function is called. @throws LogInUseError */
  lock(): Promise<() => Promise<void>>
  names(): Promise<readonly string[]>
  /** Undefined when there is no such file. */
  read(name: string): Promise<Uint8Array | undefined>
  /** Made when missing. With `isSynced` a write is durable when it resolves, else at some time. */
  open(name: string, isSynced: boolean): Promise<DiskFile>
  rename(from: string, to: string): Promise<void>
  remove(name: string): Promise<void>
  syncNames(): Promise<void>
}

export interface DiskFile {
  /** All of it, or a rejection. The bytes may be changed again when it has resolved. */
  write(bytes: Uint8Array, at: number): Promise<void>
  close(): Promise<void>
}

/** Flushed by the write itself: one call where write and fdatasync would be two. */
const SYNCED = constants.O_RDWR | constants.O_CREAT | constants.O_DSYNC
const UNSYNCED = constants.O_RDWR | constants.O_CREAT

export class NodeDisk implements Disk {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async lock(): Promise<() => Promise<void>> {
    await mkdir(this.#directory, { recursive: true })
    return await lockFolder(this.#directory)
  }

  async names(): Promise<readonly string[]> {
    return await readdir(this.#directory)
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(join(this.#directory, name))
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    }
  }

  async open(name: string, isSynced: boolean): Promise<DiskFile> {
    const flags = isSynced ? SYNCED : UNSYNCED
    return new NodeFile(await open(join(this.#directory, name), flags))
  }

  async rename(from: string, to: string): Promise<void> {
    await rename(join(this.#directory, from), join(this.#directory, to))
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.#directory, name), { force: true, recursive: true })
  }

  async syncNames(): Promise<void> {
    const directory = await open(this.#directory, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  }
}

class NodeFile implements DiskFile {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async write(bytes: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const { bytesWritten } = await this.#handle.write(
        bytes,
        done,
        bytes.byteLength - done,
        at + done,
      )
      done += bytesWritten
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}
