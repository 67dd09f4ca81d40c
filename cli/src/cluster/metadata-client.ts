/** A client of the Placement Center that keeps its connections, as the chaos engine drives it. */

import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { MetadataClient, VersionedInput, VersionedOutput } from '@robust/chaos'
import { placement } from '@robust/proto'
import { channelOptions } from '../clients.ts'

const CALL_MS = 1_500
const TENANT = 'chaos'

type Invoke<R> = (
  client: placement.PlacementClient,
  call: { readonly metadata: Metadata; readonly options: { readonly deadline: number } },
  done: (error: ServiceError | null, reply: R) => void,
) => unknown

/** Begins at one node, and goes on to the leader that it is told, else to the next. */
export function metadataClient(addresses: readonly string[], first: number): MetadataClient {
  const clients = addresses.map(
    (address) =>
      new placement.PlacementClient(address, credentials.createInsecure(), channelOptions),
  )
  let at = first % clients.length
  const call = async <R>(to: number, invoke: Invoke<R>): Promise<R> =>
    new Promise<R>((resolve, reject) => {
      const how = { metadata: new Metadata(), options: { deadline: Date.now() + CALL_MS } }
      const client = clients[to] as placement.PlacementClient
      invoke(client, how, (error, reply) => (error === null ? resolve(reply) : reject(error)))
    })
  const ask: Ask = async (invoke) => {
    try {
      return await call(at, invoke)
    } catch (error) {
      const { code, metadata } = error as ServiceError
      const named = addresses.indexOf(String(metadata?.get('leader-address')[0] ?? ''))
      if (named >= 0) at = named
      else if (code !== status.ABORTED && code !== status.NOT_FOUND) at = (at + 1) % clients.length
      throw error
    }
  }
  return {
    run: (key, input) => run(ask, key, input),
    judge: (error) => {
      const { code, metadata } = error as ServiceError
      // A follower did nothing, nor did a leader that says so.
      const isNone = metadata?.get('outcome')[0] === 'none'
      return code === status.FAILED_PRECONDITION || isNone ? 'fail' : 'unknown'
    },
    // Of this node, whoever leads.
    leases: async () => {
      const reply = await call<placement.StatusReply>(first % clients.length, (client, how, done) =>
        client.status({}, how.metadata, how.options, done),
      )
      return { index: reply.appliedIndex, leases: reply.metadata?.shards ?? [] }
    },
    close: () => {
      for (const client of clients) client.close()
    },
  }
}

type Ask = <R>(invoke: Invoke<R>) => Promise<R>

async function run(ask: Ask, key: string, input: VersionedInput): Promise<VersionedOutput> {
  const [kind = '', name = ''] = key.split(':')
  const where = { key: { kind, tenant: TENANT, name }, by: '' }
  try {
    switch (input.kind) {
      case 'read': {
        const { version, value } = await ask<placement.Resource>((client, call, done) =>
          client.getResource({ key: where.key }, call.metadata, call.options, done),
        )
        return { kind: 'found', version, value: valueIn(value) }
      }
      case 'put': {
        const request = {
          ...{ ...where, value: holding(kind, input.value) },
          expectedVersion: input.expected,
        }
        const { version } = await ask<placement.PutResourceReply>((client, call, done) =>
          client.putResource(request, call.metadata, call.options, done),
        )
        return { kind: 'put', version }
      }
      case 'delete': {
        const request = { ...where, expectedVersion: input.expected }
        await ask<placement.DeleteResourceReply>((client, call, done) =>
          client.deleteResource(request, call.metadata, call.options, done),
        )
        return { kind: 'deleted' }
      }
    }
  } catch (error) {
    const { code, metadata } = error as ServiceError
    if (code === status.NOT_FOUND && input.kind === 'read') return { kind: 'none' }
    if (code !== status.ABORTED) throw error
    return { kind: 'conflict', version: Number(metadata.get('current-version')[0]) }
  }
}

/** A definition that is valid, and has the value in it. */
function holding(kind: string, value: string): string {
  return JSON.stringify(
    kind === 'topic'
      ? { partitions: 1, config: { 'retention-ms': Number(value) } }
      : { dialects: { chaos: { value } } },
  )
}

function valueIn(stored: string): string {
  const { config, dialects } = JSON.parse(stored)
  return String(config?.['retention-ms'] ?? dialects?.chaos?.value)
}
