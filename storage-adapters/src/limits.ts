/** Bounds of the storage port, each with its reason. */

/** Largest commit of the embedded adapters: bounds memory, and the group that one sync carries. */
export const commitBytesMax = 64 * 1024 * 1024

/** Longest key or log name in UTF-8 bytes: an MQTT topic (65,535) with a tenant and a prefix fits. */
export const nameBytesMax = 128 * 1024

/** Added per operation to the size of a commit, so that many empty ones are bounded too. */
export const operationOverheadBytes = 32
