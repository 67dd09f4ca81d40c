/** Bounds of the dialect, as the service has them where it has any. */

/** Of a message with its attributes, and of a batch. */
export const MESSAGE_BYTES_MAX = 1_048_576
/** A message may be three times as long on the wire: percent-encoded, or as escapes of JSON. */
export const REQUEST_BYTES_MAX = 4 * 1_048_576
export const BATCH_ENTRIES_MAX = 10
export const MESSAGE_ATTRIBUTES_MAX = 10
export const TAGS_MAX = 50
export const PAGE_MAX = 1_000
export const PERMISSIONS_MAX = 20
export const VISIBILITY_SECONDS_MAX = 43_200
export const WAIT_SECONDS_MAX = 20
export const DELAY_SECONDS_MAX = 900
export const MOVES_PER_SECOND_MAX = 500
export const MOVE_TASKS_LISTED_MAX = 10
/** Between two purges of a queue. */
export const PURGE_EVERY_MS = 60_000
/** Time from a signature's date within which it is taken. */
export const SIGNATURE_SKEW_MS = 900_000
/** A presigned request may be good for so long. */
export const PRESIGNED_SECONDS_MAX = 604_800
