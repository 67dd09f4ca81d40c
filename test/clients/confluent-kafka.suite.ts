import { join } from 'node:path'
import { PYTHON, providePython } from './python-packages.ts'
import type { ClientSuite } from './suite.ts'

export const suite: ClientSuite = {
  name: 'confluent-kafka',
  scenarios: ['classic group', 'transactions', 'broker killed'],
  onLevelDb: ['consumer group of KIP-848', 'compressed', 'admin'],
  provide: (machine) =>
    providePython(machine, { packages: ['confluent-kafka==2.16.1'], module: 'confluent_kafka' }),
  command: ({ kafkaPorts, scenarios }) => [
    PYTHON,
    join(import.meta.dirname, 'confluent-kafka/scenarios.py'),
    kafkaPorts.map((port) => `127.0.0.1:${port}`).join(','),
    ...scenarios,
  ],
}
