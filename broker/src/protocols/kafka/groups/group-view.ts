/** A group as operators see it. */
import { assignmentOf, type TopicPartitions } from './subscription.ts'

/** Of the classic protocol. */
export interface GroupView {
  readonly state: string
  readonly protocolType: string
  readonly protocolName: string
  readonly members: readonly {
    readonly memberId: string
    readonly groupInstanceId: string | null
    readonly clientId: string
    readonly clientHost: string
    readonly metadata: Buffer
    readonly assignment: Buffer
  }[]
}

/** The same of every kind of group. */
export interface GroupSummary {
  readonly state: string
  readonly protocol: string
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string
    readonly clientId: string
    readonly clientHost: string
    readonly partitions: readonly TopicPartitions[]
  }[]
}

export function summaryOf({ state, protocolName: protocol, members }: GroupView): GroupSummary {
  return {
    ...{ state, protocol },
    members: members.map(({ groupInstanceId, assignment, ...member }) => ({
      ...member,
      instanceId: groupInstanceId ?? '',
      partitions: assignmentOf(assignment) ?? [],
    })),
  }
}
