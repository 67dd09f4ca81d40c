/** Bounds of MQTT connections that are not for operators, each with its reason. */

/** Exactly-once and at-least-once messages of one client that may be under way; told to MQTT 5 clients. */
export const RECEIVE_MAXIMUM = 1_024

/** Messages under way towards a 3.x client, which cannot name a number of its own. */
export const WINDOW_3X = 1_024

/** Messages under way towards an MQTT 5 client, however many it allows: packet ids are 16 bits. */
export const WINDOW_MAX = 16_384

/** Topic aliases that a publisher may set. */
export const TOPIC_ALIAS_MAXIMUM = 64

/** Topic aliases that a subscriber is told, however many it takes. */
export const OUTGOING_ALIASES_MAX = 256

/** Bytes that wait for the socket of a client that is not behind. */
export const PENDING_BYTES_USUAL = 64 * 1024

/** While the broker is short of memory, a client that has published is not read for so long, ms. */
export const MEMORY_WAIT_MS = 500

/** Bytes of messages of one client that are not acknowledged yet; with more it is not read. */
export const OWED_BYTES_MAX = 16 * 1024 * 1024

/** A socket that does not send CONNECT in this time is closed, ms. */
export const CONNECT_TIMEOUT_MS = 10_000

/** After the last packet of ours the client has this long to read it, ms. */
export const LINGER_MS = 2_000

/** The length of a client id that this broker makes up is far below it; storage keys contain it. */
export const CLIENT_ID_BYTES_MAX = 4_096

/** Largest WebSocket message: what the largest packet that can be allowed needs. Packets have a limit of their own. */
export const WEB_SOCKET_MESSAGE_BYTES_MAX = 64 * 1024 * 1024
