/**
 * Changes of queues in the metadata, by compare-and-set at the Placement Center's leader. A change is told as done when
 * this broker knows it, and every other one that can be reached.
 */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { placement } from '@robust/proto'
import { BrokerError } from '../core/errors.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { QueueContent, QueueDefinitions } from '../core/queues/queue-client.ts'
import type { KnownQueue } from '../core/queues/queues.ts'
import type { MetadataCache } from './metadata-cache.ts'
import type { PeerMesh } from './peer-mesh.ts'
import type { PlacementClient } from './placement-client.ts'
import { DELETED_QUEUE, QUEUE, storedValueOf } from './queue-directory.ts'

export interface QueueDefinitionsOptions {
  readonly metadata: MetadataCache
  readonly placement: Pick<PlacementClient, 'ask'>
  readonly mesh: Pick<PeerMesh, 'allKnow'>
  readonly clock: Clock
}

const NO_METADATA = new Metadata()
const CALL_MS = 2_000
/** A broker that does not hear of changes for so long is about to be removed, or loads everything anew. */
const KNOWN_MS = 5_000
const REFRESH_MS = 50

export class PlacedQueues implements QueueDefinitions {
  readonly #options: QueueDefinitionsOptions

  constructor(options: QueueDefinitionsOptions) {
    this.#options = options
  }

  put(content: QueueContent, expectedVersion: number): Promise<number | undefined> {
    const { tenant, name } = content
    const key = { kind: QUEUE, tenant, name }
    const value = storedValueOf(content)
    return this.#change([{ key, value, expectedVersion }])
  }

  remove({ tenant, name, id, version }: KnownQueue): Promise<number | undefined> {
    const gone = { key: { kind: QUEUE, tenant, name }, value: undefined, expectedVersion: version }
    const key = { kind: DELETED_QUEUE, tenant, name: String(id) }
    const value = JSON.stringify({ name })
    return this.#change([gone, { key, value, expectedVersion: undefined }])
  }

  /** Nothing is left of it on its shard. */
  async forget(tenant: string, id: number): Promise<void> {
    const key = { kind: DELETED_QUEUE, tenant, name: String(id) }
    const request = { key, expectedVersion: undefined, by: '' }
    await this.#options.placement.ask<placement.DeleteResourceReply>((client, done) =>
      client.deleteResource(request, NO_METADATA, deadline(), done),
    )
  }

  async refresh(tenant: string, name: string): Promise<void> {
    const found = await this.#find(tenant, name)
    if (found !== undefined) await this.#options.metadata.reached(found.version)
    // That something is gone has no version of its own.
    else await new Promise<void>((resolve) => this.#options.clock.after(REFRESH_MS, resolve))
  }

  async #find(tenant: string, name: string): Promise<placement.Resource | undefined> {
    const key = { kind: QUEUE, tenant, name }
    try {
      return await this.#options.placement.ask<placement.Resource>((client, done) =>
        client.getResource({ key }, NO_METADATA, deadline(), done),
      )
    } catch (error) {
      if ((error as ServiceError).code === status.NOT_FOUND) return undefined
      throw brokerError(error as ServiceError)
    }
  }

  async #change(changes: placement.ResourceChange[]): Promise<number | undefined> {
    let version: number
    try {
      const request = { changes, by: this.#options.metadata.self }
      const reply = await this.#options.placement.ask<placement.ChangeResourcesReply>(
        (client, done) => client.changeResources(request, NO_METADATA, deadline(), done),
      )
      version = reply.version
    } catch (error) {
      if ((error as ServiceError).code === status.ABORTED) return undefined
      throw brokerError(error as ServiceError)
    }
    await this.#known(version)
    return version
  }

  async #known(version: number): Promise<void> {
    const { metadata, mesh, clock } = this.#options
    const known = metadata.reached(version).then(() => mesh.allKnow(version))
    await new Promise<void>((resolve) => {
      const timer = clock.after(KNOWN_MS, resolve)
      void known.then(() => {
        timer.cancel()
        resolve()
      })
    })
  }
}

function brokerError({ code, details, message }: ServiceError): BrokerError {
  const isRefusal = code === status.INVALID_ARGUMENT || code === status.RESOURCE_EXHAUSTED
  return new BrokerError(isRefusal ? 'REFUSED' : 'UNAVAILABLE', details || message)
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + CALL_MS }
}
