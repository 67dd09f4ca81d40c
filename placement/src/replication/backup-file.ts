/**
 * A backup as a file: one line of JSON that says what it is, the bytes of a snapshot of the metadata, and one
 * line with their SHA-256. Written from front to back, so that a file that was cut off is seen to be.
 */
import { createHash } from 'node:crypto'

export interface BackupHead {
  readonly clusterId: string
  /** Node that made it. */
  readonly nodeId: string
  /** Log index of the newest command in it. */
  readonly index: number
  readonly generation: number
  readonly timeMs: number
}

const FORMAT = 'robust-placement-backup-1'
const NEWLINE = 10
const TAIL_BYTES = 'sha256 '.length + 64 + 1

export function backupHead(head: BackupHead): Uint8Array {
  const { clusterId, nodeId, index, generation, timeMs } = head
  const fields = { format: FORMAT, clusterId, nodeId, index, generation, timeMs }
  return new TextEncoder().encode(`${JSON.stringify(fields)}\n`)
}

/** @param sha256 of all bytes between, in lower-case hexadecimal */
export function backupTail(sha256: string): Uint8Array {
  return new TextEncoder().encode(`sha256 ${sha256}\n`)
}

/** @throws Error that says what is wrong with it. */
export function parseBackup(file: Uint8Array): {
  readonly head: BackupHead
  readonly content: Uint8Array
} {
  const end = file.indexOf(NEWLINE)
  const head = parseHead(file.subarray(0, Math.max(0, end)))
  const content = file.subarray(end + 1, file.byteLength - TAIL_BYTES)
  const tail = new TextDecoder().decode(file.subarray(file.byteLength - TAIL_BYTES))
  const sha256 = createHash('sha256').update(content).digest('hex')
  if (end + 1 + TAIL_BYTES > file.byteLength || tail !== `sha256 ${sha256}\n`) {
    throw new Error('the backup is damaged, or was cut off: its checksum does not hold')
  }
  return { head, content }
}

function parseHead(line: Uint8Array): BackupHead {
  const parsed = parseJson(new TextDecoder().decode(line))
  const { format, clusterId, nodeId, index, generation, timeMs } = parsed
  if (format !== FORMAT) throw new Error(`this is no backup: it does not begin with ${FORMAT}`)
  const isWhole =
    typeof clusterId === 'string' &&
    typeof nodeId === 'string' &&
    [index, generation, timeMs].every((number) => Number.isSafeInteger(number))
  if (!isWhole) throw new Error('the first line of the backup lacks a field')
  return {
    clusterId,
    nodeId,
    index: Number(index),
    generation: Number(generation),
    timeMs: Number(timeMs),
  }
}

function parseJson(text: string): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {}
  } catch {
    return {}
  }
}
