/** `robust storage export`, `import` and `purge`: a cluster's data from one kind of storage to another. */
import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import {
  decodeFrames,
  encodeFrames,
  exportFrames,
  importFrames,
  nothingTransferred,
  parseRedisUrl,
  purgeRedis,
  type Transferred,
  withoutPasswords,
} from '@robust/storage-adapters'
import type { Context } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { asStorageFailure, withStorage } from './storage-open.ts'

export interface ImportFlags {
  readonly forNewCluster?: boolean
}

/** The file is there, whole and on the disk, or not at all. */
export async function storageExport(context: Context, url: string, file: string): Promise<number> {
  return withStorage(context, { url, forReading: true }, async (adapter) => {
    const sum = nothingTransferred()
    const unfinished = `${file}.unfinished`
    const handle = await open(unfinished, 'w').catch((error: Error) => {
      throw cannotUse(file, error)
    })
    try {
      for await (const bytes of encodeFrames(exportFrames(adapter, sum))) {
        await handle.writeFile(bytes)
      }
      await handle.sync()
      await handle.close()
      await rename(unfinished, file)
    } catch (error) {
      await handle.close().catch(() => undefined)
      await rm(unfinished, { force: true })
      throw error
    }
    say(context, { file, url, sum, done: 'exported' })
    return exitCodes.ok
  })
}

export async function storageImport(
  context: Context,
  asked: ImportFlags & { readonly file: string; readonly url: string },
): Promise<number> {
  const { file, url, forNewCluster = false } = asked
  const handle = await open(file, 'r').catch((error: Error) => {
    throw cannotUse(file, error)
  })
  await handle.close()
  return withStorage(context, { url, forReading: false }, async (adapter) => {
    const sum = nothingTransferred()
    const chunks = createReadStream(file, { highWaterMark: 1024 * 1024 })
    await importFrames(decodeFrames(chunks), adapter, { forNewCluster, sum })
    say(context, { file, url, sum, done: 'imported' })
    return exitCodes.ok
  })
}

export async function storagePurge(context: Context, url: string): Promise<number> {
  if (!/^rediss?(\+|:)/.test(url)) {
    throw usageError('purge is for Redis: the folder of leveldb:PATH is removed as a folder')
  }
  try {
    const target = parseRedisUrl(url)
    const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }
    const { signal } = context
    const keys = await purgeRedis(target, { logger, connectMs: 10_000, signal })
    if (context.format === 'json') context.output.json({ prefix: target.prefix, keys })
    else context.output.print(`${keys} keys under ${target.prefix} are removed`)
    return exitCodes.ok
  } catch (error) {
    throw asStorageFailure(error)
  }
}

function say(
  { output, format }: Context,
  result: { file: string; url: string; sum: Transferred; done: string },
): void {
  const { file, url, sum, done } = result
  if (format === 'json') {
    output.json({ file, url: withoutPasswords(url), ...sum })
    return
  }
  const { shards, logs, batches, keys, bytes } = sum
  const what = `${shards} shards, ${logs} logs, ${batches} batches, ${keys} keys, ${bytes} bytes`
  output.print(`${done}: ${what} (${file})`)
}

function cannotUse(file: string, error: Error): CliError {
  return new CliError('CANNOT_WRITE', {
    message: `${file}: ${error.message}`,
    exit: exitCodes.cannotCreate,
  })
}
