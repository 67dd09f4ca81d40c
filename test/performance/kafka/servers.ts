// The servers of the Kafka benchmark: ours, and Apache Kafka as one KRaft node with the flags of its own start script.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { kafkaClassPath } from '../../clients/kafka-java.ts'
import { freePort, pinTo } from '../brokers.ts'
import { ROOT } from '../sqs/server.ts'

export const SERVERS = ['memory', 'leveldb', 'apache'] as const
export type ServerName = (typeof SERVERS)[number]

const KAFKA_PORT = 9092
const START_MS = 60_000
const TICK_MS = 10
/** ApiVersions 0, of client "b". */
const API_VERSIONS = Buffer.from('0000000b0012000000000001000162', 'hex')

export interface Server {
  readonly address: string
  /** From the start of the process to its answer to ApiVersions. */
  readonly startMs: number
  /** Of the process until now, user and system. */
  cpuMs(): number
  residentMib(): number
  stop(): Promise<void>
}

/** Rejects with an Error when it does not start. */
export async function startServer(name: ServerName, data: string): Promise<Server> {
  const port = await freePort()
  const words = name === 'apache' ? apache(port, data) : ours(port, data, name)
  const [file = '', ...args] = [...pinTo(0), ...words]
  const begun = performance.now()
  const child = spawn(file, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  while (!(await answers(port))) {
    if (child.exitCode === null && performance.now() - begun < START_MS) continue
    await stop()
    throw new Error(`${name} did not start`)
  }
  const startMs = performance.now() - begun
  return { address: `127.0.0.1:${port}`, startMs, stop, ...usageOf(child) }
}

function usageOf(child: ChildProcess): Pick<Server, 'cpuMs' | 'residentMib'> {
  const read = (file: string): string => readFileSync(`/proc/${child.pid}/${file}`, 'utf8')
  return {
    cpuMs: () => {
      const stat = read('stat')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return (Number(fields[11]) + Number(fields[12])) * TICK_MS
    },
    residentMib: () => Number(/^VmRSS:\s+(\d+)/m.exec(read('status'))?.[1]) / 1024,
  }
}

function ours(port: number, data: string, storage: ServerName): string[] {
  return [
    ...[process.execPath, 'cli/bin/robust.js', 'server', 'start', '--data', data],
    ...['--log-level', 'error', '--port-offset', String(port - KAFKA_PORT)],
    ...(storage === 'memory' ? ['--storage', 'memory:'] : []),
  ]
}

function apache(port: number, data: string): string[] {
  const settings = join(data, 'server.properties')
  const lines = [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${port + 1}`,
    `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${port + 1}`,
    'controller.listener.names=CONTROLLER',
    `log.dirs=${join(data, 'logs')}`,
    'offsets.topic.replication.factor=1',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    '',
  ]
  writeFileSync(settings, lines.join('\n'))
  const classPath = ['-cp', kafkaClassPath()]
  const format = [
    'kafka.tools.StorageTool',
    'format',
    '-t',
    'MkU3OEVBNTcwNTJENDM2Qg',
    '-c',
    settings,
  ]
  execFileSync('java', [...classPath, ...format], { stdio: 'ignore' })
  const heap = ['-Xmx1G', '-Xms1G', '-server', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20']
  const more = ['-XX:InitiatingHeapOccupancyPercent=35', '-XX:+ExplicitGCInvokesConcurrent']
  return ['java', ...heap, ...more, ...classPath, 'kafka.Kafka', settings]
}

async function answers(port: number): Promise<boolean> {
  const answered = await new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(API_VERSIONS))
    const end = (well: boolean): void => {
      socket.destroy()
      resolve(well)
    }
    socket.setTimeout(5_000, () => end(false))
    socket.once('data', (bytes) => end(bytes.readInt32BE(4) === 1))
    socket.once('error', () => end(false))
    socket.once('close', () => end(false))
  })
  if (!answered) await sleep(TICK_MS)
  return answered
}
