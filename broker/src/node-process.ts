/**
 * Which process of this node ran here before, by a file in the data folder. One that has certainly ended is told to
 * the Placement Center, which then need not wait for its lease. Nothing is said of a process of another boot, machine or
 * container (each has process numbers of its own): it may be alive, with a lease, where it cannot be seen from here.
 */
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Kept {
  readonly incarnation: string
  readonly pid: number
  /** Tells a process from a later one with the same number. */
  readonly startedAt: string
  /** Where the number means something. */
  readonly place: string
}

/** Notes this process as the node's. The incarnation of the one before, if it has ended; empty: not known. */
export function replacePredecessor(dataDir: string | undefined, incarnation: string): string {
  if (dataDir === undefined) return ''
  const path = join(dataDir, 'process.json')
  const before = keptIn(path)
  const { pid } = process
  const kept: Kept = { incarnation, pid, startedAt: startOf(pid) ?? '', place: placeOf() }
  mkdirSync(dataDir, { recursive: true })
  writeFileSync(path, `${JSON.stringify(kept)}\n`)
  return before !== undefined && hasEnded(before) ? before.incarnation : ''
}

/** Where the system does not tell, nobody has ended. */
function hasEnded({ pid, startedAt, place }: Kept): boolean {
  return place !== '' && place === placeOf() && startOf(pid) !== startedAt
}

/** The boot, and the namespace of process numbers; empty: not known. (pid_namespaces(7)) */
function placeOf(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return ''
  }
}

/** In clock ticks since the boot; undefined: there is no such process. (proc(5), field 22 of stat) */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name, in brackets, may hold brackets and spaces: fields are counted after the last one.
    const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return 'ZX'.includes(state) ? undefined : fields[18]
  } catch {
    return undefined
  }
}

function keptIn(path: string): Kept | undefined {
  try {
    const kept = JSON.parse(readFileSync(path, 'utf8')) as Partial<Kept>
    const { incarnation, pid, startedAt, place } = kept
    if (typeof incarnation !== 'string' || typeof startedAt !== 'string') return undefined
    if (typeof pid !== 'number' || typeof place !== 'string') return undefined
    return { incarnation, pid, startedAt, place }
  } catch {
    return undefined
  }
}
