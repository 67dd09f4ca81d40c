/** What handlers of share groups are given, beside what all are. */
import type { SharePartitions } from '../../../core/shares/share-partitions.ts'
import type { StoredShareGroup } from './share-group.ts'
import type { ShareSessions } from './share-sessions.ts'

export interface ShareServices {
  readonly partitions: SharePartitions
  readonly sessions: ShareSessions
  /** As its coordinator has stored it; undefined: there is none, or it is of another kind. Rejects with BrokerError UNAVAILABLE. */
  readonly recordOf: (group: string) => Promise<StoredShareGroup | undefined>
}
