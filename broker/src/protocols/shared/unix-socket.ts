/** The file of a Unix socket. */
import { unlinkSync } from 'node:fs'
import { connect } from 'node:net'

/** A socket file that nobody listens on was left by a process that died. */
export function removeDeadSocket(path: string): Promise<void> {
  return new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve()
    })
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') unlinkSync(path)
      resolve()
    })
  })
}
