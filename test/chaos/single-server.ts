/** `robust server start`, one process with all roles over an embedded LevelDB, as the chaos takes a cluster. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Ran, randomOffset, runRobust } from '../support/cluster.ts'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')

export interface SingleServer {
  mqttPort(node: number): number
  robust(...args: string[]): Promise<Ran>
  purge(): Promise<void>
}

const done: Ran = { code: 0, stdout: '', stderr: '' }

export function startSingleServer(): SingleServer {
  const home = mkdtempSync(join(tmpdir(), 'robust-single-'))
  const offset = randomOffset()
  const args = ['server', 'start', '--data', join(home, 'data'), '--port-offset', String(offset)]
  let child = start()

  function start(): ChildProcess {
    return spawn(process.execPath, [ROBUST, ...args], { stdio: 'ignore' })
  }

  async function order(what: string | undefined): Promise<Ran> {
    if (what === 'pause') child.kill('SIGSTOP')
    else if (what === 'resume') child.kill('SIGCONT')
    else if (what === 'restart') child = start()
    else await kill(child)
    return done
  }

  return {
    mqttPort: () => 1883 + offset,
    robust: (...words) => {
      if (words[0] === 'cluster') return order(words[1])
      return runRobust(home, [...words, '--placement', `127.0.0.1:${1228 + offset}`])
    },
    purge: async () => {
      await kill(child)
      rmSync(home, { recursive: true, force: true })
    },
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}
