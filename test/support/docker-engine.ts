/**
 * Docker for the tests that run the image: the engine is installed and started where it is missing, and the image is
 * built from this tree. vitest calls `setup` once, before the first file.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { resolve } from 'node:path'
import { provideTools, thisMachine } from './debian-tools.ts'

export const IMAGE = 'robust:test'
/** Of the same tree, under another name: what a rolling upgrade goes to. */
export const NEXT_IMAGE = 'robust:test-next'

const ROOT = resolve(import.meta.dirname, '../..')
const ENGINE_MS = 30_000
const LOG = '/tmp/robust-dockerd.log'

/** Undefined: Docker answers. Else why not. */
export function dockerObstacle(): string | undefined {
  try {
    docker('info', '--format', '{{.ServerVersion}}')
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Throws when it fails. */
export function docker(...args: string[]): string {
  return execFileSync('docker', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
}

export async function setup(): Promise<() => void> {
  const machine = thisMachine('containers')
  let engine: ChildProcess | undefined
  const stop = (): void => {
    engine?.kill()
  }
  const tools = [
    // The package may start its service; that is the engine then.
    { command: 'dockerd', packages: ['docker.io'] },
    { command: 'nft', packages: ['nftables'] },
  ]
  if (dockerObstacle() !== undefined) {
    if (machine.mayInstall) provideTools({ ...machine, ci: false }, tools)
    engine = await startEngine(machine.mayInstall)
  }
  const obstacle = dockerObstacle()
  if (obstacle !== undefined) {
    machine.say(`Docker does not answer: ${obstacle}`)
    stop()
    if (machine.ci) throw new Error('the tests of containers need Docker')
    return stop
  }
  buildImage(machine.say)
  return stop
}

/** The engine that was started here, to be stopped in the end; undefined: there is another, or none. */
async function startEngine(mayStart: boolean): Promise<ChildProcess | undefined> {
  if (!mayStart || !existsSync('/usr/sbin/dockerd')) return undefined
  const log = openSync(LOG, 'a')
  const engine = spawn('/usr/sbin/dockerd', [], { detached: true, stdio: ['ignore', log, log] })
  engine.unref()
  const end = performance.now() + ENGINE_MS
  while (dockerObstacle() !== undefined && performance.now() < end) {
    await new Promise((done) => setTimeout(done, 200))
  }
  return engine
}

function buildImage(say: (line: string) => void): void {
  say('building the image')
  const build = resolve(ROOT, 'compose/build-image.mjs')
  execFileSync(process.execPath, [build, '--base', 'host', '--tag', IMAGE], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
  })
  docker('tag', IMAGE, NEXT_IMAGE)
}
