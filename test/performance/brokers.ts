// Starts and stops the brokers that are compared: ours, mosquitto (Debian) and aedes (npm), each on a
// free port of the loopback and, where taskset exists, on a core of its own. Only what is started
// here is stopped here.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const BROKER_NAMES = ['ours', 'mosquitto', 'aedes'] as const
export type BrokerName = (typeof BROKER_NAMES)[number]

const MQTT_PORT = 1883
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const START_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 10_000

/** A broker that did not start; the message says which and why. */
export class BrokerError extends Error {}

export interface RunningBroker {
  name: BrokerName
  port: number
  /** All its processes now. */
  pids(): Promise<number[]>
  stop(): Promise<void>
}

export interface BrokerOptions {
  oursCommand: string
  oursPort: number | undefined
  /** mosquitto keeps messages on disk, in the way that it comes with. */
  persistent?: boolean
}

const stopping = new Set<() => Promise<void>>()

/** Stops every broker that was started and not stopped yet. */
export async function stopAllBrokers(): Promise<void> {
  await Promise.all([...stopping].map((stop) => stop()))
}

/** The words that pin a command to a core; none when there is only one core or no taskset. */
export function pinTo(core: number): string[] {
  if (availableParallelism() < 2) return []
  try {
    execFileSync('taskset', ['-c', String(core), 'true'], { stdio: 'ignore' })
    return ['taskset', '-c', String(core)]
  } catch {
    return []
  }
}

/** Resolves when the broker answers CONNECT. Throws BrokerError. */
export async function startBroker(
  name: BrokerName,
  options: BrokerOptions,
): Promise<RunningBroker> {
  const data = await mkdtemp(join(tmpdir(), `robust-bench-${name}-`))
  const port = name === 'ours' && options.oursPort ? options.oursPort : await freePort()
  const command = await shellCommand(name, {
    ...{ port, data, ours: options.oursCommand },
    persistent: options.persistent === true,
  })
  const [file = 'sh', ...args] = [...pinTo(0), 'sh', '-c', `ulimit -n $(ulimit -Hn); ${command}`]
  const child = spawn(file, args, {
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const stop = async () => {
    stopping.delete(stop)
    await stopGroup(child)
    await rm(data, { recursive: true, force: true })
  }
  stopping.add(stop)
  let errors = ''
  child.stderr?.on('data', (text: Buffer) => {
    errors = (errors + text.toString()).slice(-2000)
  })
  // A command that cannot be started at all ends like one that exits at once.
  child.on('error', (error) => {
    errors += error.message
  })
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await answersConnect(port))) {
    if (hasEnded(child) || Date.now() > deadline) {
      await stop()
      const state = hasEnded(child) ? 'ended' : `did not answer on port ${port} in time`
      throw new BrokerError(`${name} ${state} (${command}): ${errors.trim()}`)
    }
    await sleep(50)
  }
  return { name, port, stop, pids: () => processTree(child.pid ?? 0) }
}

async function shellCommand(
  name: BrokerName,
  context: { port: number; data: string; ours: string; persistent: boolean },
): Promise<string> {
  const { port, data } = context
  switch (name) {
    case 'ours':
      return context.ours
        .replaceAll('{data}', data)
        .replaceAll('{offset}', String(port - MQTT_PORT))
        .replaceAll('{port}', String(port))
    case 'mosquitto': {
      const file = join(data, 'mosquitto.conf')
      await writeFile(file, mosquittoConfiguration(port, context.persistent ? data : undefined))
      return `PATH="$PATH:/usr/sbin"; exec mosquitto -c ${file}`
    }
    case 'aedes':
      return `exec node test/performance/aedes-server.mjs ${port}`
    default:
      return name satisfies never
  }
}

/**
 * Nothing may be dropped or held back and no time is spent on logs. The rest is mosquitto's default,
 * Nagle's algorithm too: without it mosquitto is up to a half slower, with no gain in latency here.
 */
function mosquittoConfiguration(port: number, folder: string | undefined): string {
  return [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'max_queued_messages 0',
    'max_inflight_messages 0',
    'max_connections -1',
    ...(folder === undefined
      ? ['persistence false']
      : ['persistence true', `persistence_location ${folder}/`]),
    'log_dest none',
    'user root',
    '',
  ].join('\n')
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

/** SIGTERM to the process group that was started, SIGKILL when that does not help. */
async function stopGroup(child: ChildProcess): Promise<void> {
  const { pid } = child
  if (pid === undefined) return
  const deadline = Date.now() + STOP_TIMEOUT_MS
  let signal: NodeJS.Signals | 0 = 'SIGTERM'
  while (signalGroup(pid, signal)) {
    if (Date.now() > deadline) {
      signalGroup(pid, 'SIGKILL')
      return
    }
    signal = 0
    await sleep(20)
  }
}

/** False when the group is gone. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal)
  } catch {
    return false
  }
}

/** With these, all ports of our broker (MQTT - 660 to MQTT + 8,100) stay below the ephemeral ones. */
const PORT_MIN = 20_000
const PORT_MAX = 24_500

/** One that nobody listens on now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN))
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

const CONNECT = Buffer.from('100f00044d515454040200000003707262', 'hex')

/** True when a CONNECT gets a CONNACK that accepts it. */
function answersConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const finish = (answered: boolean) => {
      socket.destroy()
      resolve(answered)
    }
    socket.setTimeout(2000, () => finish(false))
    socket.on('connect', () => socket.write(CONNECT))
    socket.on('data', (bytes) => finish(bytes[0] === 0x20 && bytes[3] === 0))
    socket.on('error', () => finish(false))
    socket.on('close', () => finish(false))
  })
}

/** The process and all its descendants, by the parent in /proc/PID/stat. */
async function processTree(root: number): Promise<number[]> {
  const parents = new Map<number, number>()
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
    if (parent !== undefined) parents.set(Number(entry), Number(parent))
  }
  const tree = [root]
  for (const pid of tree) {
    for (const [child, parent] of parents) if (parent === pid) tree.push(child)
  }
  return tree
}
