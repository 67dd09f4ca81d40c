/** A storage node: an adapter and the service over it, started and stopped together. */
import { type ProbeServer, serveProbes } from '@robust/proto'
import type { StorageNodeConfig } from '../config.ts'
import type { StorageError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { openStorage } from '../open-storage.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { withoutPasswords } from '../storage-url.ts'
import { createStorageService } from './storage-service.ts'

export interface StorageNode {
  readonly host: string
  readonly port: number
  /** Undefined: no probes are offered. */
  readonly httpPort: number | undefined
  /** Answers what has been asked, then closes the data. Idempotent. */
  stop(): Promise<void>
}

export interface StorageNodeOptions {
  readonly logger: Logger
  /** Called once when the engine has failed: end the process, a new start recovers. */
  readonly onFatal: (error: StorageError) => void
}

/** Rejects with a StorageError of the adapter, or the system's error when it cannot listen. */
export async function startStorageNode(
  config: StorageNodeConfig,
  options: StorageNodeOptions,
): Promise<StorageNode> {
  const { logger, onFatal } = options
  const { host, port, url, acceptDataLoss, strict } = config
  const adapter = await openStorage(url, { logger, onFatal, acceptDataLoss, strict })
  const service = createStorageService({ adapter, host, port, logger })
  let probes: ProbeServer | undefined
  try {
    await service.start()
    probes = await startProbes(config, adapter)
  } catch (error) {
    await service.stop()
    await adapter.stop()
    throw error
  }
  const { promise } = adapter.capabilities
  logger.info(
    { host, port: service.port, url: withoutPasswords(url), promise },
    'storage node ready',
  )
  return {
    host,
    get port() {
      return service.port
    },
    get httpPort() {
      return probes?.port
    },
    async stop() {
      await probes?.stop()
      await service.stop()
      await adapter.stop()
    },
  }
}

/** From here on what adds is refused. */
const FULL = 0.98

function startProbes(
  { host, httpPort }: StorageNodeConfig,
  adapter: StorageAdapter,
): Promise<ProbeServer | undefined> {
  if (httpPort === undefined) return Promise.resolve(undefined)
  const pressure = (): number => adapter.pressure ?? 0
  return serveProbes({
    ...{ host, port: httpPort },
    checks: () => [
      { name: 'room', ok: pressure() < FULL, detail: `${Math.round(pressure() * 100)}% used` },
    ],
    metrics: () => metricsOf(adapter, pressure()),
  })
}

function metricsOf({ capabilities: { adapter } }: StorageAdapter, pressure: number): string {
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed } = process.memoryUsage()
  const series = [
    ['storage_pressure_ratio', 'gauge', 'How near it is to refusing: 1 is full', pressure],
    ['storage_resident_memory_bytes', 'gauge', 'Of the process', rss],
    ['storage_heap_used_bytes', 'gauge', 'Of the JavaScript heap', heapUsed],
    ['storage_cpu_seconds_total', 'counter', 'Of the process', (user + system) / 1e6],
  ] as const
  const lines = series.flatMap(([name, type, help, value]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    `${name}{adapter="${adapter}"} ${value}`,
  ])
  return `${lines.join('\n')}\n`
}
