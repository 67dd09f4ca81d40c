/** Topics that were just made: answered when this broker knows them, and somebody owns each of their partitions. */
import type { Topic } from '../../../core/topics/topic-logs.ts'
import type { Call } from '../call.ts'
import { PLACING_MS } from '../limits.ts'

const LOOK_MS = 20

/** As it is when it is placed, or when the time is up. Undefined: it is not known here. */
export async function placed(call: Call, name: string): Promise<Topic | undefined> {
  const { topics, clock } = call.services
  const untilMs = clock.nowMs() + PLACING_MS
  for (;;) {
    const topic = topics.get(name)
    const isPlaced = topic !== undefined && isOwned(call, topic)
    if (isPlaced || clock.nowMs() >= untilMs || call.gone.aborted) return topic
    await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve))
  }
}

function isOwned({ services }: Call, topic: Topic): boolean {
  for (let partition = 0; partition < topic.partitions; partition++) {
    if (services.topics.owner(topic, partition) === undefined) return false
  }
  return true
}
