/** How every gRPC channel of a broker is set. */
import type { ClientOptions } from '@grpc/grpc-js'

/** Channel settings for every client of ours: fast reconnects, large frames, dead peers noticed. */
export const CHANNEL_OPTIONS: ClientOptions = {
  'grpc.max_receive_message_length': 128 * 1024 * 1024,
  'grpc.max_send_message_length': 128 * 1024 * 1024,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 3_000,
}
