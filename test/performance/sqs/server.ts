// An SQS server as a process of its own, on core 0 where there are two.

import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pinTo } from '../brokers.ts'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const SQS_PORT = 9324
const START_MS = 20_000

export interface SqsServer {
  readonly pid: number
  stop(): Promise<void>
}

/** What Node runs for our broker. `storage`: leveldb, or a URL. */
export function ourCommand(port: number, data: string, storage: string): string[] {
  return [
    ...['cli/bin/robust.js', 'server', 'start', '--data', data, '--log-level', 'error'],
    ...['--port-offset', String(port - SQS_PORT)],
    ...(storage === 'leveldb' ? [] : ['--storage', storage]),
  ]
}

/** Resolves when it answers. Rejects with an Error when it does not. */
export async function startServer(command: readonly string[], port: number): Promise<SqsServer> {
  const [file = '', ...args] = [...pinTo(0), ...command]
  const child = spawn(file, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await ended
  }
  try {
    await answers(child, port)
  } catch (error) {
    await stop()
    throw error
  }
  return { pid: child.pid ?? 0, stop }
}

async function answers(child: ChildProcess, port: number): Promise<void> {
  const until = performance.now() + START_MS
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined)
    if (answer?.ok === true) return
    if (child.exitCode !== null || performance.now() > until) throw new Error('it did not start')
    await sleep(50)
  }
}
