// `npm run test:clients`: client libraries of other languages against a cluster of three, on each storage. Every
// test/clients/*.suite.ts is a suite (see test/clients/suite.ts). The last line is the sum. What a suite needs and
// cannot be had is named loudly and counts as skipped; with CI=true it counts as failed.

import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startCluster } from '../test/support/cluster.ts'
import { provideTools, thisMachine } from '../test/support/debian-tools.ts'
import { startRedis } from '../test/support/redis-servers.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const SUITES = join(ROOT, 'test/clients')
const STORAGES = ['memory', 'leveldb', 'redis']
/** Of what the suites compile; made anew in each run. */
const BUILT = join(ROOT, '.cache/clients')
const REDIS = { command: 'redis-server', packages: ['redis-server'], service: 'redis-server' }
const VICTIM = 'broker-2'
const PROGRAM_MS = 120_000

const machine = thisMachine('clients')
const counts = { passed: 0, failed: 0, skipped: 0 }
/** Said again at the end: what failed must not be looked for in what all programs print. */
const failures = []

function say(line) {
  process.stdout.write(`${line}\n`)
}

function fail(what) {
  failures.push(what)
  say(`NOT OK ${what}`)
}

async function loadSuites() {
  const files = readdirSync(SUITES).filter((file) => file.endsWith('.suite.ts'))
  const wanted = process.argv[2] ?? ''
  const suites = []
  for (const file of files.filter((name) => name.includes(wanted))) {
    const { suite } = await import(pathToFileURL(join(SUITES, file)).href)
    suites.push(suite)
  }
  return suites
}

function scenariosOf(suite, storage) {
  return [...suite.scenarios, ...(storage === 'leveldb' ? (suite.onLevelDb ?? []) : [])]
}

/** Those that can be run; the others are told of. */
function provide(suites) {
  return suites.filter((suite) => {
    const missing = suite.provide(machine)
    if (missing === undefined) return true
    say(`!! ${suite.name}: NOT RUN, missing: ${missing}`)
    const tests = STORAGES.flatMap((storage) => scenariosOf(suite, storage)).length
    if (process.env.CI === 'true') counts.failed += tests
    else counts.skipped += tests
    return false
  })
}

async function startOn(storage) {
  if (storage === 'memory')
    return { cluster: await startCluster('--nodes', '3', '--storage', 'memory:') }
  if (storage === 'leveldb') return { cluster: await startCluster('--nodes', '3') }
  const redis = await startRedis()
  const url = `redis://${redis.address}/0`
  return { cluster: await startCluster('--nodes', '3', '--storage', url), redis }
}

/** Resolves when the program has ended; `waits` is called when it wants the broker killed. */
function run(suite, { cluster, storage, waits }) {
  const scenarios = scenariosOf(suite, storage)
  const [command, ...args] = suite.command({
    mqttPorts: [1, 2, 3].map((node) => cluster.mqttPort(node)),
    kafkaPorts: [1, 2, 3].map((node) => cluster.kafkaPort(node)),
    ...{ scenarios, folder: BUILT },
  })
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), PROGRAM_MS)
  const open = new Set(scenarios)
  const title = (name) => `${suite.name}, ${storage}: ${name}`
  child.stdin.on('error', () => undefined)
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [, not, name, reason = ''] = /^(not )?ok ([^:]+)(?:: (.*))?$/.exec(line) ?? []
    if (line === 'await-kill') waits(() => child.stdin.write('killed\n'))
    else if (name === undefined || !open.delete(name)) say(`   ${suite.name}: ${line}`)
    else if (not === undefined) {
      counts.passed++
      say(`ok ${title(name)}`)
    } else {
      counts.failed++
      fail(`${title(name)}: ${reason}`)
    }
  })
  return new Promise((resolve) => {
    child.on('error', (error) => say(`!! ${suite.name}: ${error.message}`))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      for (const name of open) fail(`${title(name)}: ended with ${signal ?? code} before`)
      counts.failed += open.size
      resolve()
    })
  })
}

/** All programs at once; the broker dies when each of them has come that far, or has ended. */
async function runOn(storage, suites) {
  say(`\n== ${storage}`)
  const { cluster, redis } = await startOn(storage)
  try {
    const waiting = new Map()
    let running = suites.length
    const killWhenAllWait = async () => {
      if (waiting.size === 0 || waiting.size < running) return
      const all = [...waiting.values()]
      running = Number.POSITIVE_INFINITY
      await cluster.robust('cluster', 'kill', VICTIM)
      for (const goOn of all) goOn()
    }
    const programs = suites.map((suite) =>
      run(suite, {
        ...{ cluster, storage },
        waits: (goOn) => {
          waiting.set(suite, goOn)
          void killWhenAllWait()
        },
      }).then(() => {
        if (!waiting.has(suite)) running--
        return killWhenAllWait()
      }),
    )
    await Promise.all(programs)
  } finally {
    await cluster.purge()
    await redis?.remove()
  }
}

const suites = provide(await loadSuites())
provideTools(machine, [REDIS])
rmSync(BUILT, { recursive: true, force: true })
mkdirSync(BUILT, { recursive: true })
for (const storage of suites.length > 0 ? STORAGES : []) await runOn(storage, suites)
for (const failure of failures) say(`\nFAILED ${failure}`)
say(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed === 0 && counts.passed + counts.skipped > 0 ? 0 : 1
