/**
 * A LevelDB directory for reading only. Opening one writes into it (a new log, a new manifest), so that what
 * is opened is a copy: tables, which never change, are linked; the few other files are copied.
 */
import { copyFile, link, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { StorageError } from '../errors.ts'
import { segmentsName } from './segments.ts'

export interface LinkedCopy {
  readonly path: string
  remove(): Promise<void>
}

/** Rejects with INVALID when there is no database, with UNAVAILABLE when a process has it open. */
export async function copyForReading(path: string): Promise<LinkedCopy> {
  const names = await readdir(path).catch((): string[] => [])
  if (!names.includes('CURRENT')) {
    throw new StorageError('INVALID', `There is no LevelDB storage in ${path}`)
  }
  await refuseIfOpen(path)
  const copy = await makeFolder(path)
  const remove = () => rm(copy, { recursive: true, force: true })
  try {
    for (const name of names) {
      const [from, to] = [join(path, name), join(copy, name)]
      if (/\.(ldb|sst)$/.test(name)) await linkOrCopy(from, to)
      else if (name === segmentsName) await copySegments(from, to)
      else if (/^(CURRENT|WATERMARK|MANIFEST-\d+|\d+\.log)$/.test(name)) await copyFile(from, to)
    }
    return { path: copy, remove }
  } catch (error) {
    await remove()
    throw error
  }
}

async function copySegments(from: string, to: string): Promise<void> {
  await mkdir(to)
  for (const name of await readdir(from)) await linkOrCopy(join(from, name), join(to, name))
}

/** Beside the database, where files can be linked; elsewhere when that cannot be written. */
async function makeFolder(path: string): Promise<string> {
  const name = '.robust-reading-'
  try {
    return await mkdtemp(join(dirname(resolve(path)), name))
  } catch {
    return mkdtemp(join(tmpdir(), name))
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch {
    await copyFile(from, to)
  }
}

/** LevelDB holds a lock on its LOCK file; where the system does not list locks, nobody is seen. */
async function refuseIfOpen(path: string): Promise<void> {
  const locked = await stat(join(path, 'LOCK')).catch(() => undefined)
  const locks = await readFile('/proc/locks', 'utf8').catch(() => '')
  if (locked === undefined) return
  for (const line of locks.split('\n')) {
    const [, pid, inode] = /WRITE (\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? []
    if (Number(inode) !== locked.ino) continue
    throw new StorageError(
      'UNAVAILABLE',
      `${path} is in use by process ${pid}: ask the storage node instead (robust://HOST:PORT)`,
    )
  }
}
