/**
 * One process at a time in a folder: it listens on a socket in there, which the system takes back when the
 * process ends in any way. A file with a process id would outlive it, and mean nothing in another container.
 */
import { randomBytes } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { LogInUseError } from '../errors.ts'

const NAME = 'lock'
const ANSWER_MS = 2_000

/** Returns what gives it back. @throws LogInUseError */
export async function lockFolder(directory: string): Promise<() => Promise<void>> {
  // A path of a socket may have 107 bytes; by the open folder it is short.
  const folder = await open(directory, 'r')
  const path =
    process.platform === 'linux' ? `/proc/self/fd/${folder.fd}/${NAME}` : join(directory, NAME)
  const token = randomBytes(16).toString('hex')
  const server = createServer((socket) => socket.on('error', () => undefined).end(token))
  const release = async (): Promise<void> => {
    await new Promise((resolve) => server.close(resolve))
    await folder.close()
  }
  try {
    if ((await holderOf(path)) !== undefined) throw new LogInUseError(directory)
    await rm(path, { force: true })
    await listen(server, path)
    // Two that start at once both take a socket that is left over away: the last one has it.
    if ((await holderOf(path)) !== token) throw new LogInUseError(directory)
  } catch (error) {
    if (server.listening) await new Promise((resolve) => server.close(resolve))
    await folder.close()
    throw error
  }
  server.unref()
  return release
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  })
}

/** The token of who listens; undefined when nobody does. One that does not answer holds it too. */
function holderOf(path: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(path)
    socket.setTimeout(ANSWER_MS, () => socket.destroy())
    socket.on('data', (chunk) => {
      text += chunk.toString()
    })
    socket.on('close', () => resolve(text))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined)
      else reject(error)
    })
  })
}
