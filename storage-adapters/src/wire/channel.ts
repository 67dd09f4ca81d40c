/** Settings of the gRPC channel that both ends of the storage protocol share, each with its reason. */
/** Of `storage.proto`; a server with another one is not talked to. */
export const protocolVersion = 2

/** A frame, several times over: names may be long and many, and a guess of their size is a guess. */
const messageBytesMax = 8 * 1024 * 1024

export const channelOptions = {
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
  // HTTP/2's 64 KiB would make a large batch wait for a round trip per 64 KiB.
  'grpc-node.flow_control_window': 8 * 1024 * 1024,
  // A peer that is gone without a word (power loss, SIGSTOP) is found out within 15 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
} as const

/** Items collected in one turn travel together until a frame has this many bytes; what is larger, in parts. */
export const frameBytesTarget = 1024 * 1024

/** What an item takes beside its payload. */
export const itemOverheadBytes = 64
