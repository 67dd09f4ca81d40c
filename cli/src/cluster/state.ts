/**
 * What this machine knows about its clusters: one state file each, and which one is current. Written whole
 * and renamed into place, so that a reader never sees half of it. No secrets are in it.
 */
import { readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { makeFolder } from './folders.ts'
import type { ProcessIdentity } from './process-table.ts'

export type Role = 'placement' | 'storage' | 'broker' | 'network'

export interface NodeRecord {
  readonly name: string
  readonly role: Role
  /** Null while it is not meant to run. */
  readonly pid: number | null
  readonly startTime: string | null
  /** By protocol: where others reach it. */
  readonly ports: Readonly<Record<string, number>>
  /** Where it listens itself, when `network-1` stands before its gRPC port. */
  readonly innerGrpc?: number
  /** Of `network-1`: the ports at which it stands before the others. */
  readonly fronts?: readonly number[]
  /** Folder of what breaks its disk and its clock; undefined: nothing does. */
  readonly faults?: string
  /** What follows `robust ROLE start`. */
  readonly args: readonly string[]
  readonly logFile: string
  readonly dataDir: string
}

export interface ClusterState {
  readonly version: 1
  readonly name: string
  readonly clusterId: string
  readonly createdAt: string
  readonly host: string
  readonly dataDir: string
  readonly logDir: string
  readonly portOffset: number
  readonly preset: string
  readonly shards: number
  /** What the brokers are given when it is elsewhere, else what the storage node serves. */
  readonly storageUrl: string
  /** Addresses of a Placement Center that is not started by this command; empty: it is. */
  readonly externalPlacement: readonly string[]
  /** Nodes reach each other through `network-1`, which can disturb their links. */
  readonly breakable?: boolean
  /** `ROLE.FLAG=VALUE[@NODE]`, as given. */
  readonly settings: readonly string[]
  readonly nodes: readonly NodeRecord[]
}

export interface StateStore {
  /** Folder of a cluster; it may not exist. */
  folder(cluster: string): string
  /** Undefined when there is no such cluster. Throws BAD_STATE_FILE when it cannot be understood. */
  read(cluster: string): ClusterState | undefined
  write(state: ClusterState): void
  remove(cluster: string): void
  list(): readonly string[]
  /** The cluster that commands mean when none is named. */
  readonly current: string | undefined
  select(cluster: string | undefined): void
}

export function createStateStore(home: string): StateStore {
  const clusters = join(home, 'clusters')
  const contexts = join(home, 'contexts.json')
  const fileOf = (cluster: string): string => join(clusters, cluster, 'state.json')
  return {
    folder: (cluster) => join(clusters, cluster),
    read: (cluster) => parseState(fileOf(cluster)),
    write: (state) => writeWhole(fileOf(state.name), state),
    remove: (cluster) => rmSync(fileOf(cluster), { force: true }),
    list: () => foldersIn(clusters).filter((name) => readIfPresent(fileOf(name)) !== undefined),
    get current() {
      return parseContexts(contexts)
    },
    select: (cluster) => {
      if (cluster === undefined) removeTraces(home, [contexts, clusters])
      else writeWhole(contexts, { version: 1, current: cluster })
    },
  }
}

export function processOf(node: NodeRecord): ProcessIdentity | undefined {
  const { pid, startTime } = node
  return pid === null || startTime === null ? undefined : { pid, startTime }
}

/** The same cluster with one node changed, or added. */
export function withNode(state: ClusterState, node: NodeRecord): ClusterState {
  const known = state.nodes.some(({ name }) => name === node.name)
  const nodes = known
    ? state.nodes.map((other) => (other.name === node.name ? node : other))
    : [...state.nodes, node]
  return { ...state, nodes }
}

export function nodesOf(state: ClusterState, role: Role): readonly NodeRecord[] {
  return state.nodes.filter((node) => node.role === role)
}

function parseState(path: string): ClusterState | undefined {
  const state = parseJson(path)
  if (state === undefined) return undefined
  if (isRecord(state) && state['version'] === 1 && Array.isArray(state['nodes'])) {
    return state as unknown as ClusterState
  }
  throw badFile(path, 'it is not a state file of this version')
}

function parseContexts(path: string): string | undefined {
  const contexts = parseJson(path)
  if (!isRecord(contexts)) return undefined
  const { current } = contexts
  return typeof current === 'string' ? current : undefined
}

function parseJson(path: string): unknown {
  const text = readIfPresent(path)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    throw badFile(path, error instanceof Error ? error.message : String(error))
  }
}

function badFile(path: string, cause: string): CliError {
  return new CliError('BAD_STATE_FILE', {
    message: `${path} cannot be understood`,
    cause,
    hint: 'stop the processes that are listed in it by hand, then remove it',
    exit: exitCodes.configuration,
  })
}

function writeWhole(path: string, value: unknown): void {
  makeFolder(join(path, '..'), 'state folder')
  try {
    const draft = `${path}.${process.pid}.new`
    writeFileSync(draft, `${JSON.stringify(value, undefined, 2)}\n`)
    renameSync(draft, path)
  } catch (error) {
    throw new CliError('CANNOT_WRITE', {
      message: `${path} cannot be written`,
      cause: error instanceof Error ? error.message : String(error),
      exit: exitCodes.cannotCreate,
    })
  }
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw badFile(path, error instanceof Error ? error.message : String(error))
  }
}

/** Nothing of ours is left when there is no cluster any more. */
function removeTraces(home: string, [contexts, clusters]: readonly [string, string]): void {
  rmSync(contexts, { force: true })
  for (const folder of [clusters, home]) {
    try {
      rmdirSync(folder)
    } catch {
      // Other clusters, or files of somebody else.
      return
    }
  }
}

function foldersIn(path: string): string[] {
  try {
    return readdirSync(path).sort()
  } catch {
    return []
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
