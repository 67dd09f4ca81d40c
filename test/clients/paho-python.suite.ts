import { join } from 'node:path'
import { type ClientSuite, debian, works } from './suite.ts'

/** Debian's, which has Debian's packages. */
const PYTHON = '/usr/bin/python3'

export const suite: ClientSuite = {
  name: 'paho for Python',
  scenarios: ['qos', 'qos in 3.1.1', 'retained', 'will', 'shared', 'takeover', 'durable'],
  provide: (machine) =>
    debian(machine, ['python3', 'python3-paho-mqtt'], () =>
      works(machine, PYTHON, '-c', 'import paho.mqtt.client'),
    ),
  command: ({ mqttPorts }) => [
    PYTHON,
    join(import.meta.dirname, 'paho-python/scenarios.py'),
    ...mqttPorts.map(String),
  ],
}
