/**
 * `npm run bench -- sqs`: ours over synced LevelDB beside fauxqs, which keeps everything in memory, with the same raw
 * client: interleaved rounds, medians and ratios. The server has core 0, the load core 1, where there are two.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { pinTo } from '../brokers.ts'
import { median } from '../report.ts'
import { ourCommand, ROOT, startServer } from './server.ts'

const USAGE = `usage: npm run bench -- sqs [options]

  --rounds N       rounds; the figures are medians (default 3)
  --seconds S      counted seconds of each part (default 4)
  --connections N  that each have one request on its way (default 64)
  --bytes N        of a body (default 1024)
  --storage URL    of ours: leveldb, or memory: (default leveldb)
  --only NAME      ours or fauxqs
  -o json          figures as JSON`

const run = promisify(execFile)

type Part = 'sends' | 'batched' | 'taken'
interface Figure {
  readonly perSecond: number
  /** Time of the server's process for a message, µs. */
  readonly microsEach: number
  readonly p99Ms: number
}
type Figures = Record<Part, Figure>

const PARTS: Readonly<Record<Part, string>> = {
  sends: 'SendMessage',
  batched: 'SendMessageBatch of 10',
  taken: 'ReceiveMessage and DeleteMessageBatch of 10',
}

interface Options {
  readonly seconds: string
  readonly connections: string
  readonly bytes: string
  readonly storage: string
}

const servers: Readonly<Record<string, (port: number, data: string, storage: string) => string[]>> =
  {
    ours: ourCommand,
    fauxqs: (port) => ['test/performance/sqs/fauxqs-server.mjs', String(port)],
  }

export async function benchSqs(args: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ rounds: text, seconds: text, connections: text, bytes: text, storage: text },
      only: text,
      output: { type: 'string', short: 'o' },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) {
    console.log(USAGE)
    return 0
  }
  const { seconds = '4', connections = '64', bytes = '1024', storage = 'leveldb' } = values
  const names = Object.keys(servers).filter((name) => (values.only ?? name) === name)
  const found = new Map<string, Figures[]>(names.map((name) => [name, []]))
  for (let round = 0; round < Number(values.rounds ?? 3); round++) {
    for (const name of names) {
      const figures = await measure(name, { seconds, connections, bytes, storage })
      found.get(name)?.push(figures)
      process.stderr.write(`${name}: ${JSON.stringify(figures)}\n`)
    }
  }
  if (values.output === 'json') console.log(JSON.stringify(Object.fromEntries(found), null, 2))
  else console.log(table(found))
  return 0
}

async function measure(name: string, options: Options): Promise<Figures> {
  const data = mkdtempSync(join(tmpdir(), 'robust-bench-sqs-'))
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  const command = [process.execPath, ...(servers[name]?.(port, data, options.storage) ?? [])]
  const server = await startServer(command, port)
  try {
    const load = ['--import', 'tsx', join(ROOT, 'test/performance/sqs/load.ts')]
    const { connections, seconds, bytes } = options
    const [program = '', ...rest] = [...pinTo(1), process.execPath, ...load]
    const { stdout } = await run(program, [
      ...[...rest, String(port), connections, seconds, bytes],
      String(server.pid),
    ])
    return JSON.parse(stdout)
  } finally {
    await server.stop()
    rmSync(data, { recursive: true, force: true })
  }
}

function table(found: ReadonlyMap<string, readonly Figures[]>): string {
  const names = [...found.keys()]
  const of = (name: string, part: Part, figure: keyof Figure): number =>
    median((found.get(name) ?? []).map((figures) => figures[part][figure]))
  const lines = [
    `| messages/s | ${names.join(' | ')} | ratio |`,
    `| --- |${' --- |'.repeat(names.length + 1)}`,
  ]
  for (const [part, title] of Object.entries(PARTS) as [Part, string][]) {
    const rates = names.map((name) => Math.round(of(name, part, 'perSecond')))
    const micros = names.map((name) => of(name, part, 'microsEach'))
    const ratio = rates.length === 2 ? `${((rates[0] ?? 0) / (rates[1] ?? 1)).toFixed(2)}×` : '-'
    const shown = rates.map((rate) => rate.toLocaleString('en-US')).join(' | ')
    lines.push(`| ${title} | ${shown} | ${ratio} |`)
    const dear = micros.length === 2 ? `${((micros[1] ?? 0) / (micros[0] ?? 1)).toFixed(2)}×` : '-'
    const times = micros.map((each) => each.toFixed(1)).join(' | ')
    lines.push(`| CPU of the server for each, µs | ${times} | ${dear} |`)
  }
  return lines.join('\n')
}
