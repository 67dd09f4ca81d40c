/** Which node of which cluster a data folder belongs to. A folder of another one is refused. */
import {
  closeSync,
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

export class IdentityError extends Error {
  override readonly name = 'IdentityError'
}

const FILE = 'identity.json'

/**
 * What is kept wins over a default; what was asked for must be what is kept. Written when it is new.
 * @throws IdentityError
 */
export function openIdentity(
  directory: string,
  asked: Partial<Identity>,
  defaults: Identity,
): Identity {
  const path = join(directory, FILE)
  const kept = readIdentity(path)
  if (kept === undefined) {
    const identity = {
      clusterId: asked.clusterId ?? defaults.clusterId,
      nodeId: asked.nodeId ?? defaults.nodeId,
    }
    mkdirSync(directory, { recursive: true })
    writeDurably(path, `${JSON.stringify(identity, undefined, 2)}\n`)
    return identity
  }
  const { clusterId = kept.clusterId, nodeId = kept.nodeId } = asked
  if (clusterId === kept.clusterId && nodeId === kept.nodeId) return kept
  throw new IdentityError(
    `${directory} belongs to node ${kept.nodeId} of cluster ${kept.clusterId}, ` +
      `not to node ${nodeId} of cluster ${clusterId}: name that node, or another --data folder`,
  )
}

function readIdentity(path: string): Identity | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  const parsed = parseJson(path, text)
  const { clusterId, nodeId } = parsed as { clusterId?: unknown; nodeId?: unknown }
  if (typeof clusterId !== 'string' || typeof nodeId !== 'string') {
    throw new IdentityError(`${path} names no node and cluster`)
  }
  return { clusterId, nodeId }
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
