import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type ClientSuite, debian } from './suite.ts'

const HEADER = '/usr/include/MQTTClient.h'

export const suite: ClientSuite = {
  name: 'paho for C',
  scenarios: ['qos', 'retained', 'will', 'shared', 'takeover', 'durable'],
  provide: (machine) =>
    debian(
      machine,
      ['gcc', 'libc6-dev', 'libpaho-mqtt-dev'],
      () => existsSync(HEADER) && machine.has('cc'),
    ),
  command: ({ mqttPorts, folder }) => {
    const program = join(folder, 'paho-c')
    if (!existsSync(program)) {
      const source = join(import.meta.dirname, 'paho-c/scenarios.c')
      const flags = ['-O1', '-Wall', '-Wextra', '-Werror', '-o', program, source]
      execFileSync('cc', [...flags, '-lpaho-mqtt3c', '-lpthread'], { stdio: 'inherit' })
    }
    return [program, ...mqttPorts.map(String)]
  },
}
