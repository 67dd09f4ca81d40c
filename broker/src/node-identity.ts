/** A broker's id lives in its data folder, never in an address; the file of another cluster is refused. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

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
    writeFileSync(path, `${id}\n`)
  }
  return id
}

export class IdentityError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'IdentityError'
  }
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined
  }
}
