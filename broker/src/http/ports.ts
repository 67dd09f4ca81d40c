/** What the HTTP server asks of the broker and, through it, of the cluster. */
import type { admin, control, JoinedPage } from '@robust/proto'
import type { Message } from '../core/message.ts'

export interface Page {
  readonly filter: string
  readonly after: string
  readonly limit: number
}

export interface Readiness {
  readonly ready: boolean
  readonly checks: readonly {
    readonly name: string
    readonly ok: boolean
    readonly detail: string
  }[]
}

export interface BrokerSummary {
  readonly node: string
  readonly state: 'active' | 'draining'
  readonly epoch: number
  readonly version: string
  readonly grpcAddress: string
  readonly shards: number
  readonly endpoints: readonly {
    readonly protocol: string
    readonly host: string
    readonly port: number
  }[]
}

export interface ClusterSummary {
  readonly clusterId: string
  readonly answeredBy: string
  readonly health: 'healthy' | 'degraded' | 'critical'
  readonly reasons: readonly string[]
  readonly metadataIndex: number
  readonly placement: {
    readonly connected: boolean
    readonly silenceMs: number
    readonly term: number
  }
  readonly shards: {
    readonly total: number
    readonly open: number
    readonly granted: number
    readonly free: number
  }
  readonly brokers: readonly BrokerSummary[]
}

/** Of the whole cluster. Calls reject with BrokerError. */
export interface ClusterPort {
  summary(): ClusterSummary
  inspect(node: string): Promise<control.InspectReply>
  clients(page: Page): Promise<JoinedPage<admin.Client>>
  sessions(page: Page): Promise<JoinedPage<admin.SessionState>>
  subscriptions(page: Page): Promise<JoinedPage<admin.ClientSubscription>>
  retained(page: Page): Promise<JoinedPage<admin.RetainedMessage>>
  bridges(page: Page): Promise<JoinedPage<admin.BridgeState>>
  kick(clientId: string): Promise<boolean>
  endSession(clientId: string): Promise<boolean>
  retainedAt(address: string): Promise<Message | undefined>
  forgetRetained(address: string): Promise<boolean>
}
