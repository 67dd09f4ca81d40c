import { existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Machine } from '../support/debian-tools.ts'
import { type ClientSuite, debian, FETCHED, works } from './suite.ts'

/** Compiled on this machine against Debian's librdkafka: the package comes without binaries. */
const PACKAGE = 'node-rdkafka@3.6.1'
const FOLDER = join(FETCHED, 'node-rdkafka')
const MODULE = join(FOLDER, 'node_modules/node-rdkafka')
const SYSTEM = ['g++', 'make', 'python3', 'librdkafka-dev']

export const suite: ClientSuite = {
  name: 'node-rdkafka',
  scenarios: ['produce and consume', 'transactions', 'broker killed'],
  onLevelDb: ['compressed', 'streams', 'admin'],
  provide,
  command: ({ kafkaPorts, scenarios }) => [
    process.execPath,
    join(import.meta.dirname, 'node-rdkafka/scenarios.mjs'),
    MODULE,
    kafkaPorts.map((port) => `127.0.0.1:${port}`).join(','),
    ...scenarios,
  ],
}

function provide(machine: Machine): string | undefined {
  const has = (): boolean => works(machine, process.execPath, '-e', `require('${MODULE}')`)
  if (has()) return undefined
  const missing = debian(
    machine,
    SYSTEM,
    () =>
      existsSync('/usr/include/librdkafka/rdkafka.h') && machine.has('g++') && machine.has('make'),
  )
  if (missing !== undefined) return missing
  machine.say(`compiling ${PACKAGE}`)
  mkdirSync(FOLDER, { recursive: true })
  works(machine, 'npm', 'install', '--prefix', FOLDER, '--ignore-scripts', '--no-audit', PACKAGE)
  compile(machine)
  return has() ? undefined : `${PACKAGE}, compiled`
}

/** By the node-gyp that comes with npm, and the headers of this Node where they are installed. */
function compile(machine: Machine): void {
  const prefix = dirname(dirname(process.execPath))
  const tool = join(prefix, 'lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js')
  const headers = existsSync(join(prefix, 'include/node/node.h')) ? [`--nodedir=${prefix}`] : []
  works(
    machine,
    'env',
    ...[
      'BUILD_LIBRDKAFKA=0',
      'CXXFLAGS=-w',
      process.execPath,
      tool,
      'rebuild',
      '-C',
      MODULE,
      ...headers,
    ],
  )
}
