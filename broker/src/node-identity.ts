/** A broker's id lives in its data folder, never in an address; the file of another cluster is refused. */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** The configured id, or the one that is kept, or a new one. Kept when there is a folder to keep it in. */
export function nodeIdentity(configured: string | undefined, dataDir: string | undefined): string {
  const path = dataDir === undefined ? undefined : join(dataDir, 'node-id')
  const kept = path === undefined ? undefined : readIfPresent(path)
  if (configured !== undefined && kept !== undefined && configured !== kept) {
    throw new IdentityError(
      `${path} belongs to node ${kept}, not to ${configured}: name that node, or another --data folder`,
    )
  }
  const id = configured ?? kept ?? `broker-${randomBytes(4).toString('hex')}`
  if (dataDir !== undefined && path !== undefined && kept === undefined) {
    mkdirSync(dataDir, { recursive: true })
    writeWhole(path, `${id}\n`)
  }
  return id
}

/** All of it or nothing is there after a power loss: half an id would be another node's. */
function writeWhole(path: string, text: string): void {
  const draft = `${path}.new`
  writeFileSync(draft, text, { flush: true })
  renameSync(draft, path)
  const folder = openSync(dirname(path), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

export class IdentityError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'IdentityError'
  }
}

function readIfPresent(path: string): string | undefined {
  try {
    // An empty file is what a power loss left of a first start.
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
