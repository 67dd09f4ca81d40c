/**
 * Changes of queues in the metadata, by compare-and-set at the Placement Center's leader. A change is told as done when
 * this broker knows it, and every other one that can be reached.
 */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { placement } from '@robust/proto'
import type { QueueContent, QueueDefinitions } from '../core/queues/queue-client.ts'
import type { KnownQueue } from '../core/queues/queues.ts'
import { brokerError, changeResources, deadline, type ResourceChanges } from './change-resources.ts'
import { DELETED_QUEUE, QUEUE, storedValueOf } from './queue-directory.ts'

const NO_METADATA = new Metadata()
const REFRESH_MS = 50

export class PlacedQueues implements QueueDefinitions {
  readonly #options: ResourceChanges

  constructor(options: ResourceChanges) {
    this.#options = options
  }

  put(content: QueueContent, expectedVersion: number): Promise<number | undefined> {
    const { tenant, name } = content
    const key = { kind: QUEUE, tenant, name }
    const value = storedValueOf(content)
    return changeResources(this.#options, [{ key, value, expectedVersion }])
  }

  remove({ tenant, name, id, version }: KnownQueue): Promise<number | undefined> {
    const gone = { key: { kind: QUEUE, tenant, name }, value: undefined, expectedVersion: version }
    const key = { kind: DELETED_QUEUE, tenant, name: String(id) }
    const value = JSON.stringify({ name })
    return changeResources(this.#options, [gone, { key, value, expectedVersion: undefined }])
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
}
