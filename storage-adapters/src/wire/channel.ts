/** What both ends of the storage protocol agree on, each with its reason. */

export const serviceName = 'robust.storage.v1'

/** Of `storage.proto`; a node with another one is not talked to. */
export const protocolVersion = 3

/** Of the one sort of frame that each side sends. */
export const frameKind = 16

/** A frame, several times over: names may be long and many, and a guess of their size is a guess. */
export const frameBytesMax = 8 * 1024 * 1024

/** Items collected in one turn travel together until a frame has this many bytes; what is larger, in parts. */
export const frameBytesTarget = 1024 * 1024

/** What an item takes beside its payload. */
export const itemOverheadBytes = 64
