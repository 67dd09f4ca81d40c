/** What clients meet, whatever their dialect: the protocols' servers, who is let in, and the settings of both. */

import { composeSecurity } from './authentication.ts'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import { BrokerSettings } from './cluster/settings.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { StoragePressure } from './core/storage-pressure.ts'
import type { BrokerLog } from './observability/log.ts'
import { Admission } from './protocols/shared/admission.ts'
import { ClientMover } from './protocols/shared/client-mover.ts'
import type { ProtocolServer } from './protocols/shared/protocol-server.ts'
import type { Authenticator } from './security/authenticator.ts'

/** What clients meet, and what decides about them. */
export interface Frontage {
  readonly protocols: ProtocolServer[]
  readonly settings: BrokerSettings
  readonly admission: Admission
  readonly mover: ClientMover
  readonly pressure: StoragePressure
  readonly security: Authenticator
}

export function frontageOf(
  metadata: MetadataCache,
  pressure: StoragePressure,
  log: BrokerLog,
): Frontage {
  const protocols: ProtocolServer[] = []
  const settings = new BrokerSettings(metadata.resources)
  const admission = new Admission({
    clock: systemClock,
    connections: () => protocols.reduce((sum, { connections }) => sum + connections, 0),
    limits: () => ({
      connectionsMax: settings.get('limits.connections-max'),
      perSecond: settings.get('limits.connections-per-second'),
      listenerPerSecond: settings.get('limits.listener-connections-per-second'),
      userConnectionsMax: settings.get('limits.user-connections-max'),
      userPerSecond: settings.get('limits.user-connections-per-second'),
    }),
    isOutOfMemory: memoryWatch(settings),
    serverOf: (node, protocol) => metadata.serverOf(node, protocol),
  })
  const security = composeSecurity(metadata.resources, settings, log)
  const mover = new ClientMover(systemClock)
  return { protocols, settings, admission, mover, pressure, security }
}

/** Asked for every chunk that comes, looked up once in a while. */
function memoryWatch(settings: BrokerSettings): () => boolean {
  const most = settings.live(() => settings.get('limits.memory-bytes'))
  let isAbove = false
  let lookedAtMs = Number.NEGATIVE_INFINITY
  return () => {
    const limit = most()
    if (limit === null) return false
    const nowMs = systemClock.nowMs()
    if (nowMs - lookedAtMs >= MEMORY_LOOK_MS) {
      lookedAtMs = nowMs
      const { heapUsed, external } = process.memoryUsage()
      isAbove = heapUsed + external > limit
    }
    return isAbove
  }
}

const MEMORY_LOOK_MS = 250
