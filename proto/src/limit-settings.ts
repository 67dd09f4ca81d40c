/** Every limit that operators set: one table, spread into that of all settings. */
import { integer, type SettingSchema } from './setting-schema.ts'

export const LIMIT_SETTINGS = {
  'limits.client-bytes-per-second': integer('broker', [1, 1_000_000_000, null], {
    unit: 'bytes/s',
    description: 'that one client sends; it is read slower; unset: no limit',
  }),
  'limits.client-messages-per-second': integer('broker', [1, 10_000_000, null], {
    unit: 'messages/s',
    description: 'that one client publishes; it is read slower; unset: no limit',
  }),
  'limits.client-unsent-bytes': integer('broker', [65_536, 1024 ** 3, 8 * 1024 ** 2], {
    unit: 'bytes',
    description: 'that wait for the socket of a client; above it QoS 0 messages to it are dropped',
  }),
  'limits.client-waiting-bytes': integer('broker', [65_536, 16 * 1024 ** 3, 64 * 1024 ** 2], {
    unit: 'bytes',
    description:
      'of QoS 1 and 2 messages that wait for the window of a client without a lasting session; above it ' +
      'the client is disconnected',
  }),
  'limits.connections-max': integer('broker', [1, 10_000_000, null], {
    unit: 'connections',
    description: 'of one broker, all protocols together; more are refused; unset: no limit',
  }),
  'limits.connections-per-second': integer('broker', [1, 1_000_000, null], {
    unit: 'connections/s',
    description: 'that one broker lets in; more are refused; unset: no limit',
  }),
  'limits.excess': {
    type: 'choice',
    choices: ['slow', 'disconnect'],
    default: 'slow',
    role: 'broker',
    description:
      'what becomes of a client that sends more than a rate allows: it is read slower, or disconnected',
  },
  'limits.listener-bytes-per-second': integer('broker', [1, 1_000_000_000, null], {
    unit: 'bytes/s',
    description: 'that come by one listener of a broker, such as mqtts; unset: no limit',
  }),
  'limits.listener-connections-per-second': integer('broker', [1, 10_000_000, null], {
    unit: 'connections/s',
    description: 'that are let in by one listener of a broker; more are refused; unset: no limit',
  }),
  'limits.listener-messages-per-second': integer('broker', [1, 10_000_000, null], {
    unit: 'messages/s',
    description: 'that come by one listener of a broker; unset: no limit',
  }),
  'limits.memory-bytes': integer('broker', [64 * 1024 ** 2, 1024 ** 4, null], {
    unit: 'bytes',
    description:
      'of the heap and the buffers of a broker process; above it nobody is let in, publishers are read slower, and QoS 0 messages ' +
      'to clients that are behind are dropped; unset: no limit',
  }),
  'limits.packet-bytes': integer('broker', [1_024, 256 * 1024 ** 2, null], {
    unit: 'bytes',
    description: 'largest packet, for connections made from then on; unset: --packet-bytes-max',
  }),
  'limits.user-bytes-per-second': integer('broker', [1, 1_000_000_000, null], {
    unit: 'bytes/s',
    description: 'that all clients of a user send to one broker; unset: no limit',
  }),
  'limits.user-connections-max': integer('broker', [1, 10_000_000, null], {
    unit: 'connections',
    description: 'of a user to one broker; more are refused; unset: no limit',
  }),
  'limits.user-connections-per-second': integer('broker', [1, 10_000_000, null], {
    unit: 'connections/s',
    description: 'of a user that one broker lets in; more are refused; unset: no limit',
  }),
  'limits.user-messages-per-second': integer('broker', [1, 10_000_000, null], {
    unit: 'messages/s',
    description: 'that all clients of a user publish to one broker; unset: no limit',
  }),
} as const satisfies Record<string, SettingSchema>
