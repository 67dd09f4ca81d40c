/** Channel and server settings: sizes, fast reconnects, dead peers noticed. */
import type { ClientOptions, ServerOptions } from '@grpc/grpc-js'

/** Above the largest Raft command and the largest frame, both a few MiB. */
const MESSAGE_BYTES_MAX = 32 * 1024 * 1024
/** Statistics that nobody reads, kept with every call. */
const NO_CHANNELZ = { 'grpc.enable_channelz': 0 }

export const CLIENT_OPTIONS: ClientOptions = {
  ...NO_CHANNELZ,
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.keepalive_time_ms': 2_000,
  'grpc.keepalive_timeout_ms': 2_000,
}

export const SERVER_OPTIONS: ServerOptions = {
  ...NO_CHANNELZ,
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
  'grpc.keepalive_time_ms': 2_000,
  'grpc.keepalive_timeout_ms': 2_000,
}
