#!/usr/bin/env node
// The `robust` command. It runs the compiled program, and compiles it first when that has not happened yet
// (an installation with scripts disabled builds nothing). It decides nothing else.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const main = new URL('../dist/main.js', import.meta.url)

if (!existsSync(main)) build()
await import(main.href)

function build() {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  process.stderr.write('robust: first run, compiling (once, about 20 s) ...\n')
  const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
  const compiler = join(typescript, 'bin', 'tsc')
  // Whatever it prints is about the build, and standard output is for data.
  const options = { cwd: root, stdio: ['ignore', 2, 2] }
  const { status } = spawnSync(process.execPath, [compiler, '-b'], options)
  if (status === 0 && existsSync(main)) return
  process.stderr.write('error[BUILD_FAILED] the program could not be compiled\n')
  process.stderr.write(`try: npm run build   (in ${root})\n`)
  process.exit(70)
}
