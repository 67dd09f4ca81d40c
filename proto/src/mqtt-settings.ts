/** Settings of MQTT: one table, spread into that of all settings. */
import { integer, type SettingSchema } from './setting-schema.ts'

export const MQTT_SETTINGS = {
  'mqtt.client-events': {
    type: 'boolean',
    default: true,
    role: 'broker',
    description:
      'whether clients that come, go, are slow or flap are told of at $SYS/brokers/NODE/clients',
  },
  'mqtt.dead-letter-address': {
    type: 'text',
    bytesMax: 1_024,
    default: null,
    isTopic: true,
    role: 'broker',
    description:
      'begins the topic to which messages are published that a session does not get: expired, come ' +
      'when its inbox was full, or there when it ended; unset: they are dropped',
  },
  'mqtt.exclusive-subscriptions': {
    type: 'boolean',
    default: true,
    role: 'broker',
    description: 'whether $exclusive/TOPIC may be subscribed to, by one session at a time',
  },
  'mqtt.flapping-ban-seconds': integer('broker', [1, 86_400, 300], {
    unit: 's',
    description: 'that a flapping client is not let in by the broker that saw it',
  }),
  'mqtt.flapping-connects-max': integer('broker', [1, 100_000, null], {
    unit: 'connections',
    description:
      'of one client id to one broker in the window; with more it is flapping; unset: none is',
  }),
  'mqtt.flapping-window-seconds': integer('broker', [1, 3_600, 60], {
    unit: 's',
    description: 'in which the connections of a client id are counted',
  }),
  'mqtt.keep-alive-max-seconds': integer('broker', [1, 65_535, null], {
    unit: 's',
    description: 'MQTT 5 clients that ask for more, or for none, are told this; unset: as they ask',
  }),
  'mqtt.payload-format-check': {
    type: 'boolean',
    default: false,
    role: 'broker',
    description: 'whether payloads that a client calls UTF-8 are checked, and refused with 0x99',
  },
  'mqtt.response-information': {
    type: 'text',
    bytesMax: 1_024,
    default: null,
    role: 'broker',
    description:
      'told to MQTT 5 clients that ask where they may expect responses; the levels %c and %u are ' +
      'the client id and the user; unset: nothing is told',
  },
  'mqtt.retained-bytes-max': integer('broker', [1, 256 * 1024 ** 2, null], {
    unit: 'bytes',
    description:
      'payload of a retained message; a larger one is refused with 0x97; unset: as for others',
  }),
  'mqtt.retained-expiry-seconds': integer('broker', [1, 0xffff_fffe, null], {
    unit: 's',
    description:
      'after its publication no retained message is kept for longer; unset: as published',
  }),
  'mqtt.retained-messages-max': integer('broker', [1, 1_000_000_000, null], {
    unit: 'messages',
    description:
      'of the cluster, an equal part on each shard; more are delivered but not kept, and MQTT 5 ' +
      'publishers are told 0x97; unset: no limit',
  }),
  'mqtt.session-expiry-max-seconds': integer('broker', [1, 0xffff_fffe, null], {
    unit: 's',
    description: 'after its connection no session is kept for longer; unset: as clients ask',
  }),
  'mqtt.session-messages-max': integer('broker', [1, 1_000_000_000, null], {
    unit: 'messages',
    description:
      'in the inbox of a durable session, unacknowledged ones included; what comes above it is not kept ' +
      'for the session; unset: no limit',
  }),
  'mqtt.shared-dispatch': {
    type: 'choice',
    choices: [
      'round-robin',
      'random',
      'sticky',
      'least-in-flight',
      'hash-publisher',
      'hash-address',
    ],
    default: 'round-robin',
    role: 'broker',
    description: 'which member of a shared subscription gets the next message',
  },
  'mqtt.slow-after-ms': integer('broker', [0, 3_600_000, 10_000], {
    unit: 'ms',
    description: 'a client that is behind with what it is sent for longer is slow; 0: none is',
  }),
  'mqtt.sys-interval-seconds': integer('broker', [0, 86_400, 10], {
    unit: 's',
    description: 'between two times that a broker publishes its $SYS tree; 0: never',
  }),
} as const satisfies Record<string, SettingSchema>
