/** Bounds of the dialect that are not for operators, each with its reason. */

/** Of one request: clients bound theirs at 1 MB for each partition's batch. */
export const REQUEST_BYTES_MAX = 16 * 1024 * 1024

/** Of one request of a client that has not said who it is; a token has some kilobytes. */
export const SASL_REQUEST_BYTES_MAX = 65_536
/** A client that has not said by then who it is goes. */
export const AUTHENTICATION_MS = 30_000

/** Requests of a connection that are not answered yet; behind them the socket is not read. */
export const REQUESTS_AT_ONCE = 64
export const REQUEST_BYTES_AT_ONCE = 32 * 1024 * 1024

/** In one answer to Fetch, whatever the client asks for. */
export const FETCH_BYTES_MAX = 32 * 1024 * 1024
export const FETCH_WAIT_MS_MAX = 60_000
/** Of all clients of a broker, and their partitions together: some 50 MB. The longest unused go first. */
export const FETCH_SESSIONS_MAX = 10_000
export const FETCH_SESSION_PARTITIONS_MAX = 100_000

/** What clients' own examples assume of a topic that nobody made. */
export const DEFAULT_PARTITIONS = 4

/** Who makes a topic is answered when its partitions have owners, or after this. */
export const PLACING_MS = 5_000
/** Of one answer to DescribeTopicPartitions; the next page has the rest. */
export const PARTITIONS_OF_ANSWER_MAX = 2_000

export const SESSION_MS_MIN = 1_000
export const SESSION_MS_MAX = 1_800_000
/** A new group waits so long for more members, so that starting them together is one rebalance. */
export const FIRST_REBALANCE_MS = 300
export const MEMBERS_MAX = 1_000
/** Groups that a broker has in memory; those without members go first. */
export const GROUPS_MAX = 10_000
export const GROUP_NAME_BYTES_MAX = 1_024
export const OFFSET_METADATA_BYTES_MAX = 4_096
/** What producers may ask for: Kafka's default. */
export const TRANSACTION_MS_MAX = 900_000
export const TRANSACTIONAL_ID_BYTES_MAX = 1_024
/** Between two looks for offsets that are too old. */
export const OFFSETS_CHECK_MS = 600_000
/** Of a member of a group whose coordinator assigns partitions: from its last heartbeat to its end. */
export const CONSUMER_SESSION_MS = 45_000
/** What such members are told to wait between two heartbeats; a rebalance takes a few of them. */
export const CONSUMER_HEARTBEAT_MS = 2_000
/** What may be set for a share group: as share.lock-seconds. */
export const SHARE_LOCK_MS_MAX = 900_000
/** Members of share groups that read at a broker. */
export const SHARE_SESSIONS_MAX = 10_000
/** Records of a partition that a share group has looked at and that are not done; behind them it is given no others. */
export const SHARE_IN_FLIGHT_MAX = 2_000
