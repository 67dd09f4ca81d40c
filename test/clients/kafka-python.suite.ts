import { join } from 'node:path'
import { PYTHON, providePython } from './python-packages.ts'
import type { ClientSuite } from './suite.ts'

export const suite: ClientSuite = {
  name: 'kafka-python',
  scenarios: ['produce and consume', 'broker killed'],
  onLevelDb: ['compressed', 'admin'],
  provide: (machine) =>
    providePython(machine, { packages: ['kafka-python==3.0.12', 'lz4==4.4.5'], module: 'kafka' }),
  command: ({ kafkaPorts, scenarios }) => [
    PYTHON,
    join(import.meta.dirname, 'kafka-python/scenarios.py'),
    kafkaPorts.map((port) => `127.0.0.1:${port}`).join(','),
    ...scenarios,
  ],
}
