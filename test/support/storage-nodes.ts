/** A storage node as a process of its own, to be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')

export interface StorageNodeProcess {
  readonly port: number
  readonly address: string
  readonly process: ChildProcess
  /** What it said when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>
  /** Its exit code and what it wrote to stderr. */
  readonly exited: Promise<{ readonly code: number | null; readonly stderr: string }>
  kill(signal?: NodeJS.Signals): Promise<void>
}

/** Rejects with what it wrote when it ends before it is ready. Port 0: any free one. */
export async function startStorageNode(
  url: string,
  options: { port?: number; environment?: NodeJS.ProcessEnv; flags?: readonly string[] } = {},
): Promise<StorageNodeProcess> {
  const { port = 0, environment = {}, flags = [] } = options
  const args = ['storage', 'start', '--url', url, '--listen', `127.0.0.1:${port}`, ...flags]
  const child = spawn(process.execPath, [ROBUST, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  })
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const exited = new Promise<{ code: number | null; stderr: string }>((done) => {
    child.once('close', (code) => done({ code, stderr }))
  })
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{')) continue
    const entry = JSON.parse(line) as { msg: string; port: number }
    if (entry.msg !== 'storage node ready') continue
    child.stdout.resume()
    return {
      port: entry.port,
      address: `127.0.0.1:${entry.port}`,
      process: child,
      ready: { ...entry },
      exited,
      kill: async (signal = 'SIGKILL') => {
        if (child.exitCode === null && child.signalCode === null) child.kill(signal)
        await exited
      },
    }
  }
  const { code } = await exited
  throw new Error(`the storage node ended with exit code ${code}: ${stderr}`)
}
