/** Ports: whether one is free, and who holds it when it is not. */
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { ownerOfSocket, processName } from './process-table.ts'

export interface PortUse {
  /** Which node wants it, and for what. */
  readonly node: string
  readonly protocol: string
  readonly host: string
  readonly port: number
}

export interface PortOwner {
  readonly pid: number
  readonly name: string
}

/** Asks the system by listening; nothing can be sure that it stays so. */
export function isPortFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

export async function busyPorts(uses: readonly PortUse[]): Promise<readonly PortUse[]> {
  const free = await Promise.all(uses.map(({ host, port }) => isPortFree(host, port)))
  return uses.filter((_, at) => free[at] === false)
}

/** Whether somebody accepts connections. Takes the port from nobody, as `isPortFree` might for a moment. */
export function isListening(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** Undefined when it cannot be told: nobody listens, or another user does. */
export function findPortOwner(port: number): PortOwner | undefined {
  for (const inode of listeningSockets(port)) {
    const pid = ownerOfSocket(inode)
    if (pid !== undefined) return { pid, name: processName(pid) ?? 'ended' }
  }
  return undefined
}

const LISTEN = '0A'

function listeningSockets(port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) =>
    linesOf(path).flatMap((line) => {
      const fields = line.trim().split(/\s+/)
      const isIt = fields[1]?.endsWith(`:${hex}`) === true && fields[3] === LISTEN
      return isIt && fields[9] !== undefined ? [fields[9]] : []
    }),
  )
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(1)
  } catch {
    return []
  }
}
