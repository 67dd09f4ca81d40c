/**
 * One measurement in a process of its own, as a broker has one storage: what JavaScript has learnt of another
 * adapter would slow this one down. Started with a job over IPC, answers with its figures and ends.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { openStorage } from '@robust/storage-adapters'
import { append, readBack } from './load.ts'
import { bareLevelDb, bareRedis } from './peers.ts'

export type Job =
  | { readonly kind: 'adapter'; readonly url: string; readonly sizes: Sizes }
  | { readonly kind: 'bare-leveldb'; readonly path: string; readonly sizes: Sizes }
  | { readonly kind: 'bare-redis'; readonly port: number; readonly sizes: Sizes }

interface Sizes {
  /** Records of each batch, one measurement each. */
  readonly records: readonly number[]
  readonly seconds: number
}

/** Name and value. */
export type Figures = readonly (readonly [name: string, value: number])[]

/** Rejects when the process ends without an answer. */
export function measured(job: Job): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url))
    child.once('message', (figures) => resolve(figures as Figures))
    child.once('exit', (code) => reject(new Error(`The measurement ended with ${code}`)))
    child.send(job)
  })
}

async function run(job: Job): Promise<Figures> {
  const figures: [string, number][] = []
  const { seconds } = job.sizes
  if (job.kind === 'adapter') return ofAdapter(job)
  for (const records of job.sizes.records) {
    const rate =
      job.kind === 'bare-leveldb'
        ? await bareLevelDb(`${job.path}/${records}`, { records, seconds })
        : await bareRedis(job.port, { records, seconds })
    figures.push([`${records} per batch, records/s`, rate])
  }
  return figures
}

/** Appends for each batch size, then reading back of the largest. */
async function ofAdapter({ url, sizes }: Job & { kind: 'adapter' }): Promise<Figures> {
  const figures: [string, number][] = []
  const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const adapter = await openStorage(url, { logger, connectMs: 20_000 })
  let epoch = 1
  for (const records of sizes.records) {
    const { seconds } = sizes
    const { recordsPerSecond, p99Ms } = await append(adapter, { records, seconds, epoch })
    figures.push([`${records} per batch, records/s`, recordsPerSecond])
    figures.push([`${records} per batch, p99 ms`, p99Ms])
    epoch += 1
  }
  figures.push(['reading back, MiB/s', await readBack(adapter, Math.max(...sizes.records))])
  await adapter.stop()
  return figures
}

if (process.send !== undefined) {
  process.once('message', (job) => {
    void run(job as Job).then((figures) => process.send?.(figures, () => process.disconnect()))
  })
}
