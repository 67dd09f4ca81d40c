/** What tests over loopback share. */
import { createServer } from 'node:net'
import { credentials, type ServiceError } from '@grpc/grpc-js'
import { placement as wire } from '@robust/proto'
import type { Logger } from '../logger.ts'

export const QUIET: Logger = {
  level: 'error',
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

export type Done<R> = (error: ServiceError | null, reply: R) => void

const CALL_TIMEOUT_MS = 2_000

export function openClient(address: string): wire.PlacementClient {
  return new wire.PlacementClient(address, credentials.createInsecure(), {
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 200,
    'grpc.use_local_subchannel_pool': 1,
  })
}

/** One call, with a deadline. */
export function ask<R>(
  invoke: (options: { deadline: number }, done: Done<R>) => unknown,
): Promise<R> {
  return new Promise((resolve, reject) => {
    invoke({ deadline: Date.now() + CALL_TIMEOUT_MS }, (error, reply) => {
      if (error) reject(error)
      else resolve(reply)
    })
  })
}

export async function freePorts(count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    probes.map(
      (probe) =>
        new Promise<number>((resolve) => {
          probe.listen(0, '127.0.0.1', () => {
            const address = probe.address()
            resolve(typeof address === 'object' && address !== null ? address.port : 0)
          })
        }),
    ),
  )
  await Promise.all(probes.map((probe) => new Promise((resolve) => probe.close(resolve))))
  return ports
}
