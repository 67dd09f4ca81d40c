/** Which node of the cluster a connection on this machine comes from, by /proc (Linux). */
import { readFileSync } from 'node:fs'
import { ownerOfSocket } from '../cluster/process-table.ts'

/** The `--node-id` of the process that holds the end at `port` of a connection to `peerPort`. */
export function nodeBehind(port: number, peerPort: number): string | undefined {
  const inode = inodeOf(port, peerPort)
  const pid = inode === undefined ? undefined : ownerOfSocket(inode)
  if (pid === undefined) return undefined
  const args = read(`/proc/${pid}/cmdline`).split('\0')
  const at = args.indexOf('--node-id')
  return at < 0 ? undefined : args[at + 1]
}

function inodeOf(port: number, peerPort: number): string | undefined {
  for (const path of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of read(path).split('\n').slice(1)) {
      const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/)
      if (portIn(local) === port && portIn(remote) === peerPort) return inode
    }
  }
  return undefined
}

function portIn(address: string | undefined): number {
  return Number.parseInt(address?.slice(address.lastIndexOf(':') + 1) ?? '', 16)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // It has just ended, or is another user's.
    return ''
  }
}
