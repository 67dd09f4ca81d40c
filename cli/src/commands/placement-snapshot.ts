/** `robust placement snapshot`: each node's log made shorter now, or all metadata in a file elsewhere. */
import { createHash, randomUUID } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { backupHead, backupTail } from '@robust/placement'
import { addressesOf, type TargetOptions } from '../cluster/target.ts'
import type { Context } from '../context.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'
import { lookAtCenter, readBackup, takeSnapshot } from '../placement-client.ts'
import { unreachable } from './placement.ts'

export interface SnapshotOptions extends TargetOptions {
  /** A file. */
  readonly out?: string
}

export async function placementSnapshot(
  context: Context,
  options: SnapshotOptions,
): Promise<number> {
  const addresses = addressesOf(context, options)
  const { best, leader } = await lookAtCenter(addresses)
  if (best === undefined) throw unreachable(addresses)
  if (options.out === undefined) return snapshotEach(context, best.members)
  if (leader === undefined) {
    const message = 'a backup is made by the leader, and there is none at the moment'
    throw new CliError('NO_LEADER', { message, exit: exitCodes.tryAgain })
  }
  const made = await writeBackup(leader.leaderAddress, options.out)
  if (context.format === 'json') context.output.json({ file: options.out, ...made })
  else {
    const { bytes, index, nodeId } = made
    const what = `${bytes} bytes, everything up to index ${index}, from ${nodeId}`
    context.output.print(`${options.out}: ${what}`)
  }
  return exitCodes.ok
}

async function snapshotEach(
  { output, format }: Context,
  members: readonly { readonly nodeId: string; readonly address: string }[],
): Promise<number> {
  const taken = await Promise.all(
    members.map(async ({ nodeId, address }) => {
      const reply = await takeSnapshot(address)
      return { node: nodeId, index: reply?.index ?? null, bytes: reply?.bytes ?? null }
    }),
  )
  if (format === 'json') output.json(taken)
  else {
    const columns = ['INDEX', 'BYTES'].map((title) => ({ title, right: true }))
    const rows = taken.map(({ node, index, bytes }) => [
      node,
      String(index ?? 'does not answer'),
      String(bytes ?? '-'),
    ])
    output.print(table([{ title: 'NODE' }, ...columns], rows, output.paint))
  }
  return taken.every(({ index }) => index !== null) ? exitCodes.ok : exitCodes.failed
}

interface Made {
  readonly index: number
  readonly nodeId: string
  readonly bytes: number
}

/** The file is there whole and synced, or not at all. */
async function writeBackup(address: string, path: string): Promise<Made> {
  const unfinished = `${path}.${randomUUID()}.unfinished`
  const file = await open(unfinished, 'wx').catch((error: unknown) => {
    throw cannotWrite(path, error)
  })
  try {
    const made = await copyParts(address, file)
    await file.sync()
    await file.close()
    await rename(unfinished, path)
    return made
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(unfinished, { force: true })
    if (error instanceof CliError) throw error
    if (error instanceof Error && 'details' in error) throw broken(String(error.details))
    throw cannotWrite(path, error)
  }
}

async function copyParts(address: string, file: FileHandle): Promise<Made> {
  const hash = createHash('sha256')
  let made: Made | undefined
  for await (const { kind } of readBackup(address)) {
    if (kind?.$case === 'header') {
      const { index, nodeId } = kind.value
      const head = backupHead(kind.value)
      made = { index, nodeId, bytes: head.byteLength }
      await file.writeFile(head)
    } else if (kind?.$case === 'chunk' && made !== undefined) {
      hash.update(kind.value)
      made = { ...made, bytes: made.bytes + kind.value.byteLength }
      await file.writeFile(kind.value)
    } else if (kind?.$case === 'sha256' && made !== undefined) {
      const sha256 = hash.digest('hex')
      if (sha256 !== kind.value) throw broken('its checksum does not hold')
      const tail = backupTail(sha256)
      await file.writeFile(tail)
      return { ...made, bytes: made.bytes + tail.byteLength }
    }
  }
  throw broken('it ended before its checksum')
}

function broken(cause: string): CliError {
  const message = 'the backup did not arrive whole; no file was made'
  return new CliError('REFUSED', { message, cause, exit: exitCodes.failed })
}

function cannotWrite(path: string, error: unknown): CliError {
  return new CliError('CANNOT_WRITE', {
    message: `${path} cannot be written`,
    cause: error instanceof Error ? error.message : String(error),
    exit: exitCodes.cannotCreate,
  })
}
