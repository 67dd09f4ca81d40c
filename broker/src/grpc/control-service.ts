/** What the Placement Center tells this broker to do. Orders of an older term or another registration are refused. */
import { type ServiceError, type sendUnaryData, status } from '@grpc/grpc-js'
import type { control } from '@robust/proto'
import type { PlacementClient } from '../cluster/placement-client.ts'
import type { ShardHost } from '../cluster/shard-host.ts'

export interface ControlServiceOptions {
  readonly placement: PlacementClient
  readonly shards: ShardHost
  readonly inspect: () => control.InspectReply
}

export function createControlService(options: ControlServiceOptions): control.BrokerControlServer {
  const { placement, shards, inspect } = options
  let term = 0

  function refusal(authority: control.Authority | undefined): Partial<ServiceError> | undefined {
    if (authority === undefined) {
      return { code: status.INVALID_ARGUMENT, details: 'no authority is named' }
    }
    term = Math.max(term, placement.term)
    if (authority.placementTerm < term) {
      return {
        code: status.FAILED_PRECONDITION,
        details: `term ${authority.placementTerm} is over`,
      }
    }
    if (authority.nodeEpoch !== placement.nodeEpoch) {
      const details = `this broker is registered at epoch ${placement.nodeEpoch}`
      return { code: status.FAILED_PRECONDITION, details }
    }
    term = authority.placementTerm
    return undefined
  }

  function obey<R>(
    authority: control.Authority | undefined,
    done: sendUnaryData<R>,
    act: () => R,
  ): void {
    const refused = refusal(authority)
    if (refused === undefined) done(null, act())
    else done(refused)
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
    inspect: (_call, done) => done(null, inspect()),
  }
}
