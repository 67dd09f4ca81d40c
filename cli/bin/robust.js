#!/usr/bin/env node
// The `robust` command. It runs the program as it was built, and builds it first when that has not happened yet (an
// installation with scripts disabled builds nothing). It decides nothing else.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import module, { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const compiled = join(root, 'cli/dist/main.js')
/** The same in few files. */
const bundled = join(root, 'cli/bundle/main.js')
const WORKSPACES = ['proto', 'raft', 'storage-adapters', 'placement', 'broker', 'chaos', 'cli']

if (!existsSync(compiled) && !existsSync(bundled)) build()
// Node 22 and newer keep what they have compiled.
module.enableCompileCache?.()
await import(isFresh() ? bundled : compiled)

/** Whoever has compiled one workspace alone wants to see what that does. */
function isFresh() {
  const bundledMs = timeOf(bundled)
  return (
    bundledMs !== undefined &&
    WORKSPACES.every((name) => (timeOf(join(root, name, 'dist/.tsbuildinfo')) ?? 0) <= bundledMs)
  )
}

function timeOf(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs
}

function build() {
  process.stderr.write('robust: first run, compiling (once, about 20 s) ...\n')
  const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
  const steps = [[join(typescript, 'bin', 'tsc'), '-b'], [join(root, 'scripts/bundle.mjs')]]
  // Whatever it prints is about the build, and standard output is for data.
  const options = { cwd: root, stdio: ['ignore', 2, 2] }
  for (const step of steps) spawnSync(process.execPath, step, options)
  if (existsSync(compiled)) return
  process.stderr.write('error[BUILD_FAILED] the program could not be compiled\n')
  process.stderr.write(`try: npm run build   (in ${root})\n`)
  process.exit(70)
}
