/** What handlers of share groups are given, beside what all are. */
import type { SharePartitions } from '../../../core/shares/share-partitions.ts'
import type { StoredShareGroup } from './share-group.ts'
import type { ShareSessions } from './share-sessions.ts'

export interface ShareServices {
  readonly partitions: SharePartitions
  readonly sessions: ShareSessions
  /** How long a record is one member's. */
  readonly lockMs: () => number
  /** Of a new group; else it begins with what there is. */
  readonly beginsAtEnd: () => boolean
  /** As its coordinator has stored it; undefined: there is none, or it is of another kind. Rejects with BrokerError UNAVAILABLE. */
  readonly recordOf: (group: string) => Promise<StoredShareGroup | undefined>
}
