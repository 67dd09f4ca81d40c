/** The workloads by their names in scenario files; clients are loaded only for those that run. */
import type { StartWorkload } from './workload.ts'

export const WORKLOADS: Readonly<Record<string, () => Promise<StartWorkload>>> = {
  'mqtt-qos1': async () => (await import('./mqtt.ts')).mqttQos1,
  'mqtt-qos2': async () => (await import('./mqtt.ts')).mqttQos2,
  kafka: async () => (await import('./kafka.ts')).kafka,
  'kafka-transactions': async () => (await import('./kafka-transactions.ts')).kafkaTransactions,
  metadata: async () => (await import('./metadata.ts')).metadata,
  sqs: async () => (await import('./sqs.ts')).sqsStandard,
  'sqs-fifo': async () => (await import('./sqs.ts')).sqsFifo,
}
