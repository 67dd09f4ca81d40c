/** Real Redis servers for tests: alone, three of a cluster, or a primary with a replica and a Sentinel. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RedisServer {
  readonly port: number
  readonly folder: string
  readonly address: string
  readonly process: ChildProcess
  /** One command, its words as they are; the reply as text. Rejects with an error reply. */
  command(...words: string[]): Promise<string>
  /** Killed, when it still runs, and started again over the same data; other settings when given. */
  restart(settings?: readonly string[]): Promise<void>
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Ends it and removes its data. */
  remove(): Promise<void>
}

export interface RedisOptions {
  /** As on the command line: `--appendonly yes`, one word each. */
  readonly settings?: readonly string[]
  readonly environment?: NodeJS.ProcessEnv
  readonly port?: number
  readonly folder?: string
}

export const durable = ['--appendonly', 'yes', '--appendfsync', 'always']

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'robust-redis-'))
  for (let attempt = 0; ; attempt += 1) {
    const port = options.port ?? (await freePort())
    try {
      return handleOf(port, await launch(port, { ...options, folder }), { ...options, folder })
    } catch (error) {
      if (options.port !== undefined || attempt === 4) throw error
    }
  }
}

type Located = RedisOptions & { readonly folder: string }

function handleOf(port: number, started: ChildProcess, options: Located): RedisServer {
  let child = started
  let settings = options.settings
  const kill = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill(signal)
    // A paused process takes no other signal than these two.
    child.kill('SIGCONT')
    await exited
  }
  return {
    port,
    folder: options.folder,
    address: `127.0.0.1:${port}`,
    get process() {
      return child
    },
    command: (...words) => redisCommand(port, words),
    restart: async (changed) => {
      await kill()
      settings = changed ?? settings
      child = await launch(port, { ...options, ...(settings && { settings }) })
    },
    kill,
    remove: async () => {
      await kill()
      rmSync(options.folder, { recursive: true, force: true })
    },
  }
}

async function launch(port: number, options: Located): Promise<ChildProcess> {
  const settings = options.settings ?? durable
  const isFile = settings[0]?.endsWith('.conf') === true
  const place = ['--port', String(port), '--dir', options.folder, '--bind', '127.0.0.1']
  const args = [...place, '--save', '', '--repl-diskless-sync-delay', '0']
  const ordered = isFile
    ? [settings[0] ?? '', ...args, ...settings.slice(1)]
    : [...args, ...settings]
  const child = spawn('redis-server', ordered, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.environment },
  })
  let output = ''
  child.on('error', (error) => {
    output += error.message
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output = (output + chunk).slice(-4000)
    })
  }
  const isUp = (): boolean => /Ready to accept connections|Sentinel ID is/.test(output)
  const until = performance.now() + 20_000
  while (!isUp()) {
    if (child.exitCode !== null || child.pid === undefined || performance.now() > until) {
      // Of a process that never was, the pid is 0 to the system: this whole group of processes.
      if (child.pid !== undefined) child.kill('SIGKILL')
      throw new Error(`redis-server on port ${port} did not start: ${output}`)
    }
    await sleep(10)
  }
  return child
}

export interface RedisGroup {
  readonly servers: readonly RedisServer[]
  readonly url: string
  remove(): Promise<void>
}

/** Three primaries, and a replica of each when asked for. */
export async function startRedisCluster(
  options: { replicas?: boolean; settings?: readonly string[] } = {},
): Promise<RedisGroup> {
  const settings = [...(options.settings ?? durable), '--cluster-enabled', 'yes']
  const timing = ['--cluster-node-timeout', '2000', '--cluster-announce-ip', '127.0.0.1']
  const count = options.replicas === true ? 6 : 3
  const servers: RedisServer[] = []
  for (let at = 0; at < count; at += 1) {
    servers.push(
      await startRedis({ settings: [...settings, ...timing], port: await freeBusPort() }),
    )
  }
  const primaries = servers.slice(0, 3)
  for (const [at, server] of primaries.entries()) {
    const [from, to] = [Math.floor((16_384 * at) / 3), Math.floor((16_384 * (at + 1)) / 3) - 1]
    await server.command('CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1))
    await server.command('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to))
  }
  for (const server of servers.slice(1)) {
    await servers[0]?.command('CLUSTER', 'MEET', '127.0.0.1', String(server.port))
  }
  await eventually('every node knows all others', async () => {
    const known = await Promise.all(servers.map((one) => one.command('CLUSTER', 'INFO')))
    return known.every((info) => info.includes(`cluster_known_nodes:${count}`))
  })
  for (const [at, replica] of servers.slice(3).entries()) {
    const id = await primaries[at]?.command('CLUSTER', 'MYID')
    await eventually('the replica follows', () =>
      replica.command('CLUSTER', 'REPLICATE', id ?? '').then(
        () => true,
        () => false,
      ),
    )
  }
  await eventually('the cluster serves', async () => {
    const infos = await Promise.all(servers.map((one) => one.command('CLUSTER', 'INFO')))
    return infos.every((info) => info.includes('cluster_state:ok'))
  })
  return {
    servers,
    url: `redis+cluster://${primaries.map(({ address }) => address).join(',')}`,
    remove: async () => {
      await Promise.all(servers.map((server) => server.remove()))
    },
  }
}

/** A primary, a replica of it, and a Sentinel that alone decides. */
export async function startSentinelPair(settings: readonly string[] = durable): Promise<
  RedisGroup & {
    readonly primary: RedisServer
    readonly replica: RedisServer
    readonly sentinel: RedisServer
  }
> {
  const primary = await startRedis({ settings })
  const replica = await startRedis({
    settings: [...settings, '--replicaof', '127.0.0.1', String(primary.port)],
  })
  await eventually('the replica is in step', async () =>
    (await replica.command('INFO', 'replication')).includes('master_link_status:up'),
  )
  const folder = mkdtempSync(join(tmpdir(), 'robust-sentinel-'))
  const file = join(folder, 'sentinel.conf')
  writeFileSync(
    file,
    [
      `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
      'sentinel down-after-milliseconds main 1000',
      'sentinel failover-timeout main 5000',
      '',
    ].join('\n'),
  )
  const sentinel = await startRedis({ settings: [file, '--sentinel'], folder })
  await eventually('the Sentinel knows the replica', async () =>
    (await sentinel.command('INFO', 'sentinel')).includes('slaves=1'),
  )
  return {
    primary,
    replica,
    sentinel,
    servers: [primary, replica, sentinel],
    url: `redis+sentinel://${sentinel.address}/main`,
    remove: async () => {
      await Promise.all([primary.remove(), replica.remove(), sentinel.remove()])
    },
  }
}

export async function eventually(
  what: string,
  holds: () => Promise<boolean> | boolean,
  timeoutMs = 30_000,
): Promise<void> {
  const until = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(20)
  }
}

/** Below the ports that the system gives to outgoing connections. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 22_000 + Math.floor(Math.random() * 10_000)
    if (await isFree(port)) return port
  }
}

/** One whose cluster bus, 10,000 above, is free too and still a port. */
async function freeBusPort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 10_000)
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ host: '127.0.0.1', port }, () => probe.close(() => resolve(true)))
  })
}

/** Speaks just enough of the protocol for a test: one command, one reply, flattened into text. */
function redisCommand(port: number, words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.setEncoding('latin1')
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer within 10 s')))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`the connection ended: ${received}`)))
    socket.on('data', (chunk: string) => {
      received += chunk
      const reply = parseReply(received)
      if (reply === undefined) return
      socket.removeAllListeners('close')
      socket.destroy()
      if (reply.isError) reject(new Error(reply.text))
      else resolve(reply.text)
    })
    const body = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
    socket.write(`*${words.length}\r\n${body.join('')}`)
  })
}

function parseReply(
  text: string,
  at = 0,
): { text: string; end: number; isError: boolean } | undefined {
  const line = text.indexOf('\r\n', at)
  if (line < 0) return undefined
  const kind = text[at]
  const rest = text.slice(at + 1, line)
  if (kind === '$') {
    const length = Number(rest)
    if (length < 0) return { text: '', end: line + 2, isError: false }
    const end = line + 2 + length
    if (text.length < end + 2) return undefined
    return { text: text.slice(line + 2, end), end: end + 2, isError: false }
  }
  if (kind !== '*') return { text: rest, end: line + 2, isError: kind === '-' }
  const parts: string[] = []
  let end = line + 2
  for (let count = Number(rest); count > 0; count -= 1) {
    const part = parseReply(text, end)
    if (part === undefined) return undefined
    parts.push(part.text)
    end = part.end
  }
  return { text: parts.join('\n'), end, isError: false }
}
