/** Server processes that are started by hand, as on several machines: no state file knows them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { resolve } from 'node:path'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')

export interface Server {
  readonly pid: number
  /** Everything it has printed. */
  output(): string
  signal(signal: NodeJS.Signals): void
  /** The exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>
  /** SIGKILL, also when it is stopped; resolves when it is gone. */
  kill(): Promise<void>
}

const running = new Set<ChildProcess>()

/** `prefix`: what the command is run by, for example `ip netns exec NAME`. */
export function startServer(args: readonly string[], prefix: readonly string[] = []): Server {
  const [command = '', ...rest] = [...prefix, process.execPath, ROBUST, ...args]
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let text = ''
  const take = (chunk: Buffer): void => {
    text += chunk.toString()
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  const ended = new Promise<number | null>((done) => {
    child.once('close', (code) => {
      running.delete(child)
      done(code)
    })
  })
  const signal = (name: NodeJS.Signals): void => {
    if (running.has(child)) child.kill(name)
  }
  return {
    pid: child.pid ?? 0,
    output: () => text,
    signal,
    ended,
    kill: async () => {
      signal('SIGKILL')
      await ended
    },
  }
}

/** Ends whatever a test has left. */
export async function killServers(): Promise<void> {
  await Promise.all(
    [...running].map(
      (child) =>
        new Promise<void>((done) => {
          child.once('close', () => done())
          child.kill('SIGKILL')
        }),
    ),
  )
}
