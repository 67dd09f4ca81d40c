/** Bounds of the logs that are not for operators, each with its reason. */

/** Keys that one compaction remembers: some 30 MB. More are compacted in the next round. */
export const COMPACTION_KEYS_MAX = 200_000

/** Batches grow to this size when compaction merges them: what a reader gets in one piece. */
export const COMPACTED_BATCH_BYTES = 64 * 1024

/** Read, looked into or written in one piece: a commit of a client that comes just behind waits for one. */
export const COMPACTION_SLICE_BYTES = 32 * 1024

/** Newest batches of all logs that a broker keeps in memory, bytes. */
export const TAIL_CACHE_BYTES = 64 * 1024 * 1024

/** Bytes per second that tasks of all shards of a broker may read and write; less when clients notice. */
export const TASK_BYTES_PER_SECOND = 8 * 1024 * 1024

/** Time between two looks at the logs of a shard, ms. */
export const TASK_INTERVAL_MS = 5_000

/** Producers that were silent for so long are forgotten, ms: Kafka's default. */
export const PRODUCER_SILENCE_MS = 86_400_000
