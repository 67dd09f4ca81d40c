/** Debian's kcat (librdkafka), installed where that is allowed. */
import { execFile, spawn } from 'node:child_process'
import type { TestCluster } from '../../support/cluster.ts'
import { thisMachine } from '../../support/debian-tools.ts'

const KCAT = '/usr/bin/kcat'

export type Kcat = (args: readonly string[], input?: string) => Promise<string>

/** Resolves to what runs it against the cluster and gives its output; rejects when it fails. */
export async function kcatOf(cluster: TestCluster): Promise<Kcat> {
  await install()
  return (args, input = '') =>
    new Promise((resolve, reject) => {
      const child = execFile(
        KCAT,
        ['-b', brokersOf(cluster), ...args],
        { timeout: 50_000 },
        (error, stdout, stderr) => {
          if (error === null) resolve(stdout)
          else reject(new Error(`${error.message}\n${stderr}`))
        },
      )
      child.stdin?.end(input)
    })
}

/** Reads on and on, line by line, until it is stopped. */
export async function kcatFollowing(cluster: TestCluster, flags: readonly string[]) {
  await install()
  const child = spawn(KCAT, ['-b', brokersOf(cluster), '-C', '-q', '-u', ...flags])
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk
  })
  return {
    get lines(): string[] {
      return text.split('\n').slice(0, -1)
    },
    stop: () => void child.kill(),
  }
}

function brokersOf(cluster: TestCluster): string {
  return [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`).join(',')
}

async function install(): Promise<void> {
  const hasKcat = await new Promise((resolve) => {
    spawn(KCAT, ['-V'])
      .once('error', () => resolve(false))
      .once('exit', () => resolve(true))
  })
  if (hasKcat) return
  const machine = thisMachine()
  if (!machine.mayInstall) throw new Error('MISSING: kcat. Install: apt-get install kcat')
  machine.say('installing kcat')
  machine.run('apt-get', ['update'])
  machine.run('apt-get', ['install', '-y', '--no-install-recommends', 'kcat'])
}
