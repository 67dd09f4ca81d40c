/** Bounds that are not for operators, each with its reason. */

/** Routes kept per address. At about 300 B each this is some 10 MB; past it the cache starts afresh. */
export const ROUTES_CACHED_MAX = 32_768

/** Messages of a session that its owner keeps in memory behind the last one sent; the rest is read from storage. */
export const INBOX_CACHED_MAX = 1_000

/** Bytes asked of storage when a session catches up from its inbox: one frame between processes. */
export const INBOX_READ_BYTES = 256 * 1024

/** Acknowledged records before an inbox is trimmed: one delete for many records. */
export const INBOX_TRIM_RECORDS = 256

/** Acknowledgements may wait this long for a commit to share. A crash before it redelivers, never loses. */
export const CURSOR_FLUSH_MS = 20

/** Operations in one commit; more wait for the next one, so that a burst does not become one huge write. */
export const COMMIT_OPERATIONS_MAX = 10_000

/** Bytes in one commit, well below every adapter's limit. */
export const COMMIT_BYTES_MAX = 8 * 1024 * 1024

/**
 * Tokens of exactly-once messages remembered for each session to recognise a retry, and records kept for it
 * after they are acknowledged: what one publisher may have under way, and as many from others.
 */
export const TOKENS_REMEMBERED_MAX = 2_048

/** The largest packet id span of a session (16 bits in every dialect that has packet ids). */
export const INFLIGHT_SPAN_MAX = 65_535

/** Bytes of a session's messages on their way to its client, and one message more: the broker with the socket has them in memory. */
export const INFLIGHT_BYTES_MAX = 16 * 1024 * 1024

/** How long a request to a shard waits for the shard to have an owner, ms. */
export const SHARD_WAIT_MS = 15_000

/** Time between two tries of a request to a shard, ms; it doubles up to the second one. */
export const SHARD_RETRY_MS = 100
export const SHARD_RETRY_MS_MAX = 2_000

/** Bytes of messages in one answer or one push between brokers, and one message more. */
export const REPLY_BYTES = 2 * 1024 * 1024

/**
 * A broker may acknowledge this long after the Placement Center could have removed it, so that a change of the
 * Placement Center's leader holds nobody up; the others wait as long before they tell a subscriber that every
 * broker knows, ms.
 */
export const ACKNOWLEDGE_GRACE_MS = 2_000

/** Retained messages that are found and sent at once: nobody else waits for longer than that takes. */
export const RETAINED_PAGE_BYTES = 64 * 1024

/** Addresses that are looked at, and messages that are read at once, before others have their turn. */
export const RETAINED_ADDRESSES_AT_ONCE = 2_000
export const RETAINED_READS_AT_ONCE = 128
