/** Asks a Placement Center node at an address who it is. Changes nothing, and takes silence for an answer. */
import { credentials, Metadata } from '@grpc/grpc-js'
import { placement as wire } from '@robust/proto'
import { CLIENT_OPTIONS } from '../grpc-settings.ts'

/** Undefined when nobody answers in time. */
export type Probe = (address: string) => Promise<wire.StatusReply | undefined>

const TIMEOUT_MS = 1_000

/** On a connection of its own, so that no failed attempt before delays it. */
export const probeNode: Probe = (address) => {
  const options = { ...CLIENT_OPTIONS, 'grpc.use_local_subchannel_pool': 1 }
  const client = new wire.PlacementClient(address, credentials.createInsecure(), options)
  return new Promise<wire.StatusReply | undefined>((resolve) => {
    const deadline = Date.now() + TIMEOUT_MS
    client.status({}, new Metadata(), { deadline }, (error, reply) => {
      resolve(error === null ? reply : undefined)
    })
  }).finally(() => client.close())
}
