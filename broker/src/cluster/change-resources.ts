/**
 * Changes of the metadata by compare-and-set at the Placement Center's leader. A change is told as done when this
 * broker knows it, and every other one that can be reached.
 */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { placement } from '@robust/proto'
import { BrokerError } from '../core/errors.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { MetadataCache } from './metadata-cache.ts'
import type { PeerMesh } from './peer-mesh.ts'
import type { PlacementClient } from './placement-client.ts'

export interface ResourceChanges {
  readonly metadata: MetadataCache
  readonly placement: Pick<PlacementClient, 'ask'>
  readonly mesh: Pick<PeerMesh, 'allKnow'>
  readonly clock: Clock
}

const NO_METADATA = new Metadata()
const CALL_MS = 2_000
/** A broker that does not hear of changes for so long is about to be removed, or loads everything anew. */
const KNOWN_MS = 5_000
/** Until a change by somebody else has come here, ms. */
const RETRY_MS = 50

/**
 * All of them or none. Resolves with the new version; undefined: something of another version is there. Rejects
 * with BrokerError: REFUSED, UNAVAILABLE (the outcome is unknown then).
 */
export async function changeResources(
  options: ResourceChanges,
  changes: placement.ResourceChange[],
): Promise<number | undefined> {
  let version: number
  try {
    const request = { changes, by: options.metadata.self }
    const reply = await options.placement.ask<placement.ChangeResourcesReply>((client, done) =>
      client.changeResources(request, NO_METADATA, deadline(), done),
    )
    version = reply.version
  } catch (error) {
    if ((error as ServiceError).code === status.ABORTED) return undefined
    throw brokerError(error as ServiceError)
  }
  await known(options, version)
  return version
}

export interface ResourceAt {
  readonly kind: string
  readonly tenant: string
  readonly name: string
}

type Value = Readonly<Record<string, unknown>>

/** More often only who changes the same thing all the time is in the way. */
const ATTEMPTS = 5

/**
 * `edit` gets the value as it is now (undefined: there is none) and answers what it is to be (undefined: it goes); it
 * may throw. Rejects with BrokerError: REFUSED, UNAVAILABLE (the outcome is unknown then, or others change it).
 */
export async function editResource(
  options: ResourceChanges,
  key: ResourceAt,
  edit: (now: Value | undefined) => Value | undefined,
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const known = options.metadata.resources.get(key.kind, key.tenant, key.name)
    const edited = edit(known && (JSON.parse(known.value) as Value))
    if (known === undefined && edited === undefined) return
    const value = edited && JSON.stringify(edited)
    const change = { key, value, expectedVersion: known?.version ?? 0 }
    if ((await changeResources(options, [change])) !== undefined) return
    // Somebody else was first: what they have changed comes with the watch.
    await new Promise<void>((resolve) => options.clock.after(RETRY_MS, resolve))
  }
  throw new BrokerError('UNAVAILABLE', `${key.kind} ${key.name} changes all the time`)
}

async function known({ metadata, mesh, clock }: ResourceChanges, version: number): Promise<void> {
  const everywhere = metadata.reached(version).then(() => mesh.allKnow(version))
  await new Promise<void>((resolve) => {
    const timer = clock.after(KNOWN_MS, resolve)
    void everywhere.then(() => {
      timer.cancel()
      resolve()
    })
  })
}

export function brokerError({ code, details, message }: ServiceError): BrokerError {
  const isRefusal = code === status.INVALID_ARGUMENT || code === status.RESOURCE_EXHAUSTED
  return new BrokerError(isRefusal ? 'REFUSED' : 'UNAVAILABLE', details || message)
}

export function deadline(): { deadline: number } {
  return { deadline: Date.now() + CALL_MS }
}
