// `npm test`: unit tests, the simulation of raft-ts and end-to-end tests on this Node, then the unit
// tests on Node 24. The last line is the sum, and the exit code is honest. CI=true forbids what else is a loud warning; to leave Node 24
// out, set ROBUST_SKIP_NODE24=1: its tests count as skipped.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bringNode24 } from './node24.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const NOTHING = { passed: 0, failed: 0, skipped: 0, failures: [] }

/** Runs one vitest project and counts what happened. A run that says nothing has failed. */
function runProject(project, { node, title, files = [] }) {
  process.stdout.write(`\n== ${title}\n`)
  const report = join(ROOT, '.cache/test-results', `${title.replaceAll(/\W+/g, '-')}.json`)
  mkdirSync(dirname(report), { recursive: true })
  rmSync(report, { force: true })
  const args = [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', '--project', project, ...files]
  args.push('--reporter=default', '--reporter=json', `--outputFile.json=${report}`)
  const { status, signal } = spawnSync(node, args, { cwd: ROOT, stdio: 'inherit' })
  const counts = countTests(report)
  const explained = counts.failed > 0 || (status === 0 && counts.passed > 0)
  if (explained) return counts
  const outcome = signal === null ? `exit code ${status}` : `signal ${signal}`
  process.stderr.write(`${title}: ${counts.passed} tests passed, yet ${outcome}\n`)
  return { ...counts, failed: counts.failed + 1 }
}

function countTests(report) {
  let results
  try {
    results = JSON.parse(readFileSync(report, 'utf8'))
  } catch {
    return NOTHING
  }
  // A file that fails before its first test has no failed test in it.
  const failedFiles = results.testResults.filter(
    (file) =>
      file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'),
  )
  return {
    failures: results.testResults.flatMap(failuresIn),
    passed: results.numPassedTests,
    failed: results.numFailedTests + failedFiles.length,
    skipped: results.numPendingTests + results.numTodoTests,
  }
}

/** Said again at the end: what failed must not be looked for in an hour of output. */
function failuresIn({ name, status, message, assertionResults }) {
  const failed = assertionResults.filter((test) => test.status === 'failed')
  if (failed.length === 0) return status === 'failed' ? [`${name}: ${message}`] : []
  return failed.map(
    (test) => `${name}: ${test.fullName}\n    ${test.failureMessages.join('\n    ')}`,
  )
}

/** What another Node could change: bytes, streams, timers, crypto and native code. The rest waits for disks. */
const ON_NODE_24 = [
  ...['broker/src/core/', 'broker/src/cluster/', 'broker/src/security/', 'raft/'],
  ...['broker/src/protocols/mqtt/', 'broker/src/protocols/kafka/', 'broker/src/protocols/shared/'],
  'storage-adapters/src/leveldb/',
]

function runOnNode24(unit) {
  const wouldRun = unit.passed + unit.failed + unit.skipped
  if (process.env.ROBUST_SKIP_NODE24 === '1') {
    process.stdout.write('\n== unit on Node 24: skipped (ROBUST_SKIP_NODE24=1)\n')
    return { ...NOTHING, skipped: wouldRun }
  }
  let node
  try {
    node = bringNode24(ROOT)
  } catch (error) {
    process.stderr.write(`\n!! unit on Node 24: NOT RUN, ${error.message}\n`)
    const ci = process.env.CI === 'true'
    return ci ? { ...NOTHING, failed: 1 } : { ...NOTHING, skipped: wouldRun }
  }
  return runProject('unit', { node, title: 'unit on Node 24', files: ON_NODE_24 })
}

const here = `Node ${process.versions.node}`
const unit = runProject('unit', { node: process.execPath, title: `unit on ${here}` })
const simulation = runProject('simulation', {
  node: process.execPath,
  title: `simulation on ${here}`,
})
const endToEnd = runProject('end-to-end', {
  node: process.execPath,
  title: `end-to-end on ${here}`,
})
// The rest of them is `npm run test:chaos`.
const containers = runProject('chaos', {
  node: process.execPath,
  title: `containers on ${here}`,
  files: ['test/containers/scenario.test.ts'],
})
const parts = [unit, simulation, endToEnd, containers, runOnNode24(unit)]
for (const failure of parts.flatMap(({ failures }) => failures)) {
  process.stdout.write(`\nFAILED ${failure}\n`)
}
const sum = (name) => parts.reduce((total, part) => total + part[name], 0)
process.stdout.write(
  `\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped\n`,
)
process.exitCode = sum('failed') === 0 ? 0 : 1
