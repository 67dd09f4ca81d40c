/**
 * Which process of this node ran here before, by a file in the data folder. One that has certainly ended is told to
 * the Placement Center, which then need not wait for its lease. Were it alive after all (a folder shared by machines),
 * it would be fenced by storage like any owner that has lost its shards.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Kept {
  readonly incarnation: string
  readonly pid: number
  /** Tells a process from a later one with the same number. */
  readonly startedAt: string
}

/** Notes this process as the node's. The incarnation of the one before, if it has ended; empty: not known. */
export function replacePredecessor(dataDir: string | undefined, incarnation: string): string {
  if (dataDir === undefined) return ''
  const path = join(dataDir, 'process.json')
  const before = keptIn(path)
  const { pid } = process
  mkdirSync(dataDir, { recursive: true })
  writeFileSync(path, `${JSON.stringify({ incarnation, pid, startedAt: startOf(pid) ?? '' })}\n`)
  return before !== undefined && hasEnded(before) ? before.incarnation : ''
}

/** Where the system does not tell, nobody has ended. */
function hasEnded({ pid, startedAt }: Kept): boolean {
  return startOf(process.pid) !== undefined && startedAt !== '' && startOf(pid) !== startedAt
}

/** In clock ticks of this boot; undefined: there is no such process. (proc(5), field 22 of stat) */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    // The name, in brackets, may hold brackets and spaces: fields are counted after the last one.
    const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return 'ZX'.includes(state) ? undefined : `${fields[18]}@${boot}`
  } catch {
    return undefined
  }
}

function keptIn(path: string): Kept | undefined {
  try {
    const kept = JSON.parse(readFileSync(path, 'utf8')) as Partial<Kept>
    const { incarnation, pid, startedAt } = kept
    if (typeof incarnation !== 'string' || typeof startedAt !== 'string') return undefined
    return typeof pid === 'number' ? { incarnation, pid, startedAt } : undefined
  } catch {
    return undefined
  }
}
