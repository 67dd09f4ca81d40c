/** Debian's mosquitto as a broker, with a folder that outlives its process. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PATH = `${process.env['PATH']}:/usr/sbin`

export class Mosquitto {
  readonly folder: string
  readonly port: number
  #child: ChildProcess | undefined
  #output = ''

  private constructor(folder: string, port: number) {
    this.folder = folder
    this.port = port
  }

  /** Not started. Everybody may do everything. */
  static async create(): Promise<Mosquitto> {
    const folder = mkdtempSync(join(tmpdir(), 'robust-mosquitto-'))
    const mosquitto = new Mosquitto(folder, await freePort())
    mosquitto.configure('allow_anonymous true')
    return mosquitto
  }

  /** `lines`: of its configuration, besides those of where it listens and what it keeps. */
  configure(...lines: string[]): void {
    const text = [
      `listener ${this.port} 127.0.0.1`,
      // As root it would become another user, who may not read the folder.
      ...(process.getuid?.() === 0 ? ['user root'] : []),
      'persistence true',
      `persistence_location ${this.folder}/`,
      'max_queued_messages 0',
      'max_inflight_messages 100',
      ...lines,
    ]
    writeFileSync(join(this.folder, 'mosquitto.conf'), `${text.join('\n')}\n`)
  }

  /** A file of users that `password_file` may name. */
  passwords(user: string, password: string): string {
    const file = join(this.folder, 'passwords')
    execFileSync('mosquitto_passwd', ['-b', '-c', file, user, password], { env: { PATH } })
    return file
  }

  async start(): Promise<void> {
    const file = join(this.folder, 'mosquitto.conf')
    const child = spawn('mosquitto', ['-c', file], { env: { PATH }, stdio: ['ignore', 1, 'pipe'] })
    this.#child = child
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString()
        if (this.#output.includes(' running')) resolve()
      })
      child.once('exit', () => reject(new Error(`mosquitto ended: ${this.#output}`)))
    })
  }

  /** Saves what it has. */
  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    this.#output = ''
    if (child === undefined || child.exitCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}
