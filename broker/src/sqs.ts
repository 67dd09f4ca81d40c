/** SQS, composed: what its server is given, from the flags and the broker's parts. */
import { randomUUID } from 'node:crypto'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { BrokerConfig } from './config.ts'
import type { Messaging } from './core/messaging.ts'
import type { AdmissionPort } from './protocols/shared/admission.ts'
import type { ProtocolLog } from './protocols/shared/protocol-server.ts'
import { type SqsEntrances, SqsServer } from './protocols/sqs/server.ts'
import type { ComposedQueues } from './queues.ts'
import { AccessKeys } from './security/access-keys.ts'
import type { Authenticator } from './security/authenticator.ts'

export interface SqsParts {
  readonly config: BrokerConfig
  readonly metadata: MetadataCache
  readonly admission: AdmissionPort
  readonly messaging: Messaging
  readonly queues: ComposedQueues
  readonly security: Authenticator
  readonly log: ProtocolLog
}

export function composeSqs(parts: SqsParts): SqsServer {
  const { config, metadata, admission, messaging, queues, security, log } = parts
  const { host, tls, proxied } = config
  return new SqsServer({
    entrances: { host, ports: sqsPorts(config), tls, proxied },
    queues: queues.client,
    authenticator: security,
    accessKeys: new AccessKeys(metadata.resources),
    publish: (message) => messaging.publishAndWait(message),
    nextId: () => randomUUID(),
    clock: systemClock,
    admission,
    log,
  })
}

export function sqsPorts({ sqsPort, sqsTlsPort }: BrokerConfig): SqsEntrances['ports'] {
  return { sqs: sqsPort, sqss: sqsTlsPort }
}
