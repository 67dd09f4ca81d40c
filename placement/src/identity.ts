/**
 * Which node of which cluster a data folder belongs to, and a name for the folder itself: a random one, made
 * with its log. A folder of another node is refused here; whether a new folder may be used under an id is for
 * the cluster to say (replication/admission.ts).
 */
import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

export interface Identity {
  readonly clusterId: string
  readonly nodeId: string
}

export interface DataFolder extends Identity {
  /** Of the log in it: another one when that was lost. */
  readonly folderId: string
  /** There is no log in it: it was never used, or lost what was in it. */
  readonly isNew: boolean
}

/** The data folder cannot be used by this node; the process must end. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError'
}

const FILE = 'identity.json'
/** Made by the log store when it is opened first. */
const LOG = 'raft'

/**
 * What is kept wins over a default; what was asked for must be what is kept. Written when it is new.
 * @throws IdentityError
 */
export function openDataFolder(
  directory: string,
  asked: Partial<Identity>,
  defaults: Identity,
): DataFolder {
  const path = join(directory, FILE)
  const kept = readKept(path)
  const isNew = !hasLog(directory)
  if (kept !== undefined) refuseOther(directory, kept, asked)
  const { clusterId, nodeId } = kept ?? { ...defaults, ...asked }
  const folderId = isNew ? undefined : kept?.folderId
  const folder = { clusterId, nodeId, folderId: folderId ?? randomUUID() }
  if (folderId === undefined) {
    mkdirSync(directory, { recursive: true })
    writeDurably(path, `${JSON.stringify(folder, undefined, 2)}\n`)
  }
  return { ...folder, isNew }
}

/** Whether a log was begun there. */
export function hasLog(directory: string): boolean {
  return existsSync(join(directory, LOG))
}

/** Undefined when nothing is kept there yet. @throws IdentityError */
export function keptIdentity(directory: string): Identity | undefined {
  return readKept(join(directory, FILE))
}

function refuseOther(directory: string, kept: Identity, asked: Partial<Identity>): void {
  const { clusterId = kept.clusterId, nodeId = kept.nodeId } = asked
  if (clusterId === kept.clusterId && nodeId === kept.nodeId) return
  throw new IdentityError(
    `${directory} belongs to node ${kept.nodeId} of cluster ${kept.clusterId}, ` +
      `not to node ${nodeId} of cluster ${clusterId}: name that node, or another --data folder`,
  )
}

interface Kept extends Identity {
  readonly folderId: string | undefined
}

function readKept(path: string): Kept | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  const parsed = parseJson(path, text)
  const { clusterId, nodeId, folderId } = parsed as Readonly<Record<string, unknown>>
  if (typeof clusterId !== 'string' || typeof nodeId !== 'string') {
    throw new IdentityError(`${path} names no node and cluster`)
  }
  return { clusterId, nodeId, folderId: typeof folderId === 'string' ? folderId : undefined }
}

function parseJson(path: string, text: string): object {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) return parsed
  } catch (error) {
    throw new IdentityError(`${path} cannot be read`, { cause: error })
  }
  throw new IdentityError(`${path} cannot be read`)
}

function writeDurably(path: string, text: string): void {
  const unfinished = `${path}.unfinished`
  const file = openSync(unfinished, 'w')
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(unfinished, path)
}
