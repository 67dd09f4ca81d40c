/** What arrives from outside, checked before anything is done with it. */
import type { placement as wire } from '@robust/proto'
import { PlacementError } from '../errors.ts'

const NAME_CHARACTERS_MAX = 255
const ENDPOINTS_MAX = 64
/** More than any cluster has shards. */
const SHARDS_MAX = 16_384

/** @throws PlacementError INVALID */
export function checkRegistration(request: wire.RegisterRequest): void {
  checkName('node_id', request.nodeId)
  checkName('incarnation', request.incarnation)
  if (request.replaces !== '') checkName('replaces', request.replaces)
  if (request.version.length > NAME_CHARACTERS_MAX) throw invalid('version is too long')
  if (!/^[^\s]{1,255}:\d{1,5}$/.test(request.grpcAddress)) {
    throw invalid('grpc_address is not HOST:PORT')
  }
  if (request.endpoints.length > ENDPOINTS_MAX) throw invalid('there are too many endpoints')
  for (const { protocol, host, port } of request.endpoints) {
    checkName('endpoint protocol', protocol)
    checkName('endpoint host', host)
    if (port > 65_535) throw invalid(`endpoint port ${port} is not a port`)
  }
}

/** @throws PlacementError INVALID */
export function checkShards(shards: readonly { shard: number; epoch: number }[]): void {
  if (shards.length > SHARDS_MAX) throw invalid('there are too many shards')
}

/** @throws PlacementError INVALID */
export function checkName(what: string, value: string): void {
  if (value.length === 0) throw invalid(`${what} is empty`)
  if (value.length > NAME_CHARACTERS_MAX) throw invalid(`${what} is too long`)
}

/** @throws PlacementError INVALID */
export function checkReason(reason: string): void {
  if (reason.length > NAME_CHARACTERS_MAX) throw invalid('reason is too long')
}

function invalid(message: string): PlacementError {
  return new PlacementError('INVALID', message)
}
