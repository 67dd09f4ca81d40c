/** Settings of MQTT: one table, spread into that of all settings. */
import { integer, type SettingSchema } from './setting-schema.ts'

export const MQTT_SETTINGS = {
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
  'mqtt.session-expiry-max-seconds': integer('broker', [1, 0xffff_fffe, null], {
    unit: 's',
    description: 'after its connection no session is kept for longer; unset: as clients ask',
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
} as const satisfies Record<string, SettingSchema>
