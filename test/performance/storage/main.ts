/**
 * `npm run bench -- storage`: the adapters against the bare engines, in one run on one machine, interleaved
 * rounds, medians and ratios; each in a process of its own.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openLevelDbStorage, openStorage, type StorageAdapter } from '@robust/storage-adapters'
import { durable, startRedis } from '../../support/redis-servers.ts'
import { startStorageNode } from '../../support/storage-nodes.ts'
import { median } from '../report.ts'
import { append, fillLogs, openAll, readBack, template } from './load.ts'
import { type Job, measured } from './one-process.ts'

const USAGE = `usage: npm run bench -- storage [options]

  --rounds N     rounds; the figures are medians (default 3)
  --seconds S    counted seconds of each append (default 3)
  --records a,b  records of 256 B in a batch (default 1,16)
  --logs N       logs to open with (default 100000; 0 leaves it out)
  --only PART    adapters, or the leveldb or redis ones of them; or ingest: batches in segment files and in the
                 database
  -o json        figures as JSON`

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly records: readonly number[]
  readonly logs: number
  readonly json: boolean
  readonly only: string | undefined
}

const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }
const figures = new Map<string, number[]>()
const cleanups: (() => Promise<unknown>)[] = []

function note(name: string, value: number): void {
  figures.set(name, [...(figures.get(name) ?? []), value])
  process.stderr.write(`${name}: ${format(value)}\n`)
}

function format(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'robust-bench-'))
  cleanups.push(async () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

type Opener = () => Promise<StorageAdapter>

async function measure(name: string, job: Job): Promise<void> {
  for (const [figure, value] of await measured(job)) note(`${name}, ${figure}`, value)
}

async function round({ seconds, records, only }: Options): Promise<void> {
  const sizes = { records, seconds }
  const measureAdapter = (name: string, url: string): Promise<void> =>
    measure(name, { kind: 'adapter', url, sizes })
  if (only !== 'redis') {
    await measure('bare classic-level', { kind: 'bare-leveldb', path: newFolder(), sizes })
    await measureAdapter('leveldb', `leveldb:${newFolder()}`)
    const node = await startStorageNode(`leveldb:${newFolder()}`)
    await measureAdapter('remote', `robust://${node.address}`)
    await node.kill('SIGTERM')
  }
  if (only === 'leveldb') return
  for (const fsync of ['always', 'everysec'] as const) {
    const settings = fsync === 'always' ? durable : ['--appendonly', 'yes']
    const server = await startRedis({ settings })
    const { port } = server
    await measure(`bare Redis script, ${fsync}`, { kind: 'bare-redis', port, sizes })
    await server.command('FLUSHALL')
    await measureAdapter(`redis ${fsync}`, `redis://${server.address}`)
    await server.remove()
  }
}

/** Batches in segment files, as it is, and in the database only; MiB/s of batches, and what reaches the disk. */
async function ingest(options: Options): Promise<void> {
  for (const records of [16, 64, 256]) {
    for (const [name, least] of [
      ['with segment files', 1],
      ['in the database only', Number.POSITIVE_INFINITY],
    ] as const) {
      const folder = newFolder()
      const more = { segmentLimits: { batchBytesMin: least, groupBytesMin: least } }
      const adapter = await openLevelDbStorage(folder, more)
      const writtenBefore = diskBytesWritten()
      const { seconds } = options
      const result = await append(adapter, { records, seconds, epoch: 1 })
      const bytes = result.recordsPerSecond * (template(records).length / records)
      const size = `batches of ${(template(records).length / 1024).toFixed(0)} KiB`
      note(`ingest ${name}, ${size}, MiB/s`, bytes / 1024 ** 2)
      await adapter.stop()
      const written = (diskBytesWritten() - writtenBefore) / seconds
      note(`ingest ${name}, ${size}, bytes to disk per byte`, written / bytes)
      const again = await openLevelDbStorage(folder, more)
      note(`reading back ${name}, ${size}, MiB/s`, await readBack(again, records))
      await again.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Of this process; 0 where the system does not tell. */
function diskBytesWritten(): number {
  try {
    return Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
  } catch {
    return 0
  }
}

async function manyLogs(count: number): Promise<void> {
  const level = `leveldb:${newFolder()}`
  const server = await startRedis({ settings: ['--appendonly', 'yes'] })
  const redis = `redis://${server.address}`
  for (const [name, url] of [
    ['leveldb', level],
    ['redis', redis],
  ] as const) {
    const open: Opener = () => openStorage(url, { logger, connectMs: 20_000 })
    const adapter = await open()
    await fillLogs(adapter, count)
    await adapter.stop()
    for (const epoch of [2, 3, 4]) {
      note(`${name}, opening 64 shards with ${count} logs, s`, await openAll(open, epoch))
    }
  }
  await server.remove()
  const node = await startStorageNode(level)
  const open: Opener = () => openStorage(`robust://${node.address}`, { logger, connectMs: 20_000 })
  for (const epoch of [5, 6, 7]) {
    note(`remote, opening 64 shards with ${count} logs, s`, await openAll(open, epoch))
  }
  await node.kill('SIGTERM')
}

function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: Array.from(args),
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      records: { type: 'string', default: '1,16' },
      logs: { type: 'string', default: '100000' },
      output: { type: 'string', short: 'o', default: 'table' },
      only: { type: 'string' },
    },
  })
  return {
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    records: values.records.split(',').map(Number),
    logs: Number(values.logs),
    json: values.output === 'json',
    only: values.only,
  }
}

function report(options: Options): string {
  const medians = new Map(Array.from(figures, ([name, values]) => [name, median(values)]))
  const lines = Array.from(
    medians,
    ([name, value]) => `${name.padEnd(58)} ${format(value).padStart(12)}`,
  )
  const ratio = (ours: string, peer: string): string => {
    const value = (medians.get(ours) ?? Number.NaN) / (medians.get(peer) ?? Number.NaN)
    const title = `${ours} / ${peer.replace(/, \d+ per batch.*/, '')}`
    return `${title.padEnd(80)} ${value.toFixed(2)}x`
  }
  const ratios = options.records.flatMap((records) => {
    const of = (name: string) => `${name}, ${records} per batch, records/s`
    return [
      ratio(of('leveldb'), of('bare classic-level')),
      ratio(of('remote'), of('leveldb')),
      ratio(of('redis always'), of('bare Redis script, always')),
      ratio(of('redis everysec'), of('bare Redis script, everysec')),
    ]
  })
  const known = ratios.filter((line) => !line.includes('NaN'))
  return [...lines, '', ...known].join('\n')
}

export async function benchStorage(args: readonly string[]): Promise<number> {
  let options: Options
  try {
    options = parseOptions(args)
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
    return 64
  }
  try {
    for (let number = 0; number < options.rounds; number += 1) {
      if (!options.only || options.only === 'ingest') await ingest(options)
      if (options.only !== 'ingest') await round(options)
    }
    if (options.logs > 0 && options.only !== 'ingest') await manyLogs(options.logs)
  } finally {
    for (const cleanup of cleanups.toReversed()) await cleanup()
  }
  if (options.json) console.log(JSON.stringify(Object.fromEntries(figures), null, 2))
  else console.log(report(options))
  return 0
}
