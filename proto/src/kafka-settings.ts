/** Settings of the Kafka dialect: one table, spread into that of all settings. */
import { integer, type SettingSchema } from './setting-schema.ts'

export const KAFKA_SETTINGS = {
  'kafka.reauthentication-seconds': integer('broker', [1, 2_592_000, null], {
    unit: 's',
    description:
      'after which a client must say again by SASL who it is, or its connection ends; unset: when ' +
      'its token ends, if it has one',
  }),
} as const satisfies Record<string, SettingSchema>
