/**
 * What the Placement Center tells this broker to do. Orders of an older term, of another registration, or
 * decided on older metadata than an order that was taken, are refused: they were on the way for too long.
 */
import { type ServiceError, type sendUnaryData, status } from '@grpc/grpc-js'
import type { control } from '@robust/proto'

export interface ControlServiceOptions {
  readonly placement: { readonly nodeEpoch: number; readonly term: number }
  readonly shards: {
    acquire(shards: readonly control.ShardEpoch[]): void
    release(shards: readonly control.ShardEpoch[]): Promise<void>
  }
  readonly clients: ClientOrders
  readonly inspect: () => control.InspectReply
}

export interface ClientOrders {
  throttle(order: control.ThrottleRequest): void
  /** Answers how many clients will be moved. */
  shed(order: control.ShedRequest): number
}

export function createControlService(options: ControlServiceOptions): control.BrokerControlServer {
  const { placement, shards, clients, inspect } = options
  let newest = { placementTerm: 0, nodeEpoch: 0, metadataIndex: 0 }

  function refusal(authority: control.Authority | undefined): Partial<ServiceError> | undefined {
    if (authority === undefined) return invalid('no authority is named')
    const { placementTerm, nodeEpoch, metadataIndex } = authority
    const term = Math.max(newest.placementTerm, placement.term)
    if (placementTerm < term) return stale(`term ${placementTerm} is over`)
    if (nodeEpoch !== placement.nodeEpoch || nodeEpoch === 0) {
      return stale(`this broker is registered at epoch ${placement.nodeEpoch}`)
    }
    const isSame = placementTerm === newest.placementTerm && nodeEpoch === newest.nodeEpoch
    if (isSame && metadataIndex < newest.metadataIndex) {
      return stale(`an order of index ${newest.metadataIndex} was taken since`)
    }
    newest = { placementTerm, nodeEpoch, metadataIndex }
    return undefined
  }

  function obey<R>(
    authority: control.Authority | undefined,
    done: sendUnaryData<R>,
    act: () => R,
  ): void {
    const refused = refusal(authority)
    if (refused !== undefined) done(refused)
    else done(null, act())
  }

  return {
    acquireShards: (call, done) => {
      obey(call.request.authority, done, () => {
        shards.acquire(call.request.shards)
        return {}
      })
    },
    releaseShards: (call, done) => {
      obey(call.request.authority, done, () => {
        void shards.release(call.request.shards)
        return {}
      })
    },
    throttle: (call, done) => {
      obey(call.request.authority, done, () => {
        clients.throttle(call.request)
        return {}
      })
    },
    shed: (call, done) => {
      const { share } = call.request
      if (!(share > 0 && share <= 1)) {
        done(invalid(`share ${share} is not above 0 and at most 1`))
        return
      }
      obey(call.request.authority, done, () => ({ clients: clients.shed(call.request) }))
    },
    inspect: (_call, done) => done(null, inspect()),
  }
}

function invalid(details: string): Partial<ServiceError> {
  return { code: status.INVALID_ARGUMENT, details }
}

function stale(details: string): Partial<ServiceError> {
  return { code: status.FAILED_PRECONDITION, details }
}
