/** What each process of a cluster of this machine takes: memory, open files, disk. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Of the state file of the cluster, what is needed here. */
interface Node {
  readonly name: string
  readonly pid: number | null
  readonly ports: Readonly<Record<string, number>>
  readonly logFile: string
  readonly dataDir: string
}

export interface Sample {
  /** Since the load began, ms. */
  readonly atMs: number
  readonly node: string
  readonly pid: number
  /** Bytes. */
  readonly rss: number
  /** Used by JavaScript, bytes; undefined: the process did not say. */
  readonly heap: number | undefined
  /** Open file descriptors. */
  readonly files: number
  /** Of its data and its log file, bytes. */
  readonly disk: number
}

const ANSWER_MS = 5_000

/** Of the processes that run; `ended` of those that do not. */
export async function sampleCluster(
  home: string,
  atMs: number,
): Promise<{ readonly samples: readonly Sample[]; readonly ended: readonly string[] }> {
  const nodes = nodesOf(home)
  const samples = await Promise.all(nodes.map((node) => sampleNode(node, atMs)))
  return {
    samples: samples.filter((sample) => sample !== undefined),
    ended: nodes.filter((_, at) => samples[at] === undefined).map(({ name }) => name),
  }
}

function nodesOf(home: string): readonly Node[] {
  return (JSON.parse(readFileSync(stateFile(home), 'utf8')) as { nodes: Node[] }).nodes
}

function stateFile(home: string): string {
  return join(home, 'clusters/local/state.json')
}

async function sampleNode(node: Node, atMs: number): Promise<Sample | undefined> {
  const { name, pid, ports, logFile, dataDir } = node
  const heap = await heapOf(ports['http'])
  const disk = bytesBelow(dataDir) + bytesBelow(logFile)
  try {
    if (pid === null) return undefined
    const [, pages] =
      readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m) ?? []
    const files = readdirSync(`/proc/${pid}/fd`).length
    return { atMs, node: name, pid, rss: Number(pages) * 1024, heap, files, disk }
  } catch {
    return undefined
  }
}

async function heapOf(port: number | undefined): Promise<number | undefined> {
  try {
    const signal = AbortSignal.timeout(ANSWER_MS)
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`, { signal })).text()
    const [, bytes] = text.match(/^\w*_heap_used_bytes(?:\{[^}]*\})? (\S+)$/m) ?? []
    return bytes === undefined ? undefined : Number(bytes)
  } catch {
    return undefined
  }
}

/** What goes while it is looked at is nothing. */
function bytesBelow(path: string): number {
  try {
    const stat = statSync(path)
    if (!stat.isDirectory()) return stat.size
    return readdirSync(path).reduce((sum, name) => sum + bytesBelow(join(path, name)), 0)
  } catch {
    return 0
  }
}
