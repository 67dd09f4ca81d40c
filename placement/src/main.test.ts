// The process from outside: exit codes and what it prints.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { freePorts } from './testing/loopback.ts'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
const cleanups: (() => void)[] = []

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'placement-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

interface Running {
  readonly process: ChildProcess
  readonly out: { text: string }
  readonly exit: Promise<{ code: number | null; stderr: string }>
}

function run(...args: string[]): Running {
  const script = `import(${JSON.stringify(MAIN)}).then((m) => m.placementMain(process.argv.slice(1)))`
  const child = spawn(
    process.execPath,
    ['--conditions=source', '--import', 'tsx', '-e', script, '--', ...args],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  cleanups.push(() => void child.kill('SIGKILL'))
  const out = { text: '' }
  let stderr = ''
  child.stdout.on('data', (data: Buffer) => {
    out.text += data.toString()
  })
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString()
  })
  const exit = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, stderr }))
  })
  return { process: child, out, exit }
}

async function untilLeading(node: Running): Promise<void> {
  await expect.poll(() => node.out.text, { timeout: 15_000 }).toContain('this member leads')
}

describe('placementMain', () => {
  it('exits 0 after SIGTERM, with JSON lines on stdout', async () => {
    const node = run('--data', temporaryDirectory(), '--listen', '127.0.0.1:0')
    await untilLeading(node)
    node.process.kill('SIGTERM')
    expect(await node.exit).toEqual({ code: 0, stderr: '' })
    const lines = node.out.text.trim().split('\n')
    const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
    expect(messages.at(-1)).toBe('stopped')
  })

  it('names a port in use in one line and exits 73', async () => {
    const [port = 0] = await freePorts(1)
    const holder = createServer().listen(port, '127.0.0.1')
    cleanups.push(() => void holder.close())
    const address = `127.0.0.1:${port}`
    const node = run('--data', temporaryDirectory(), '--listen', address)
    expect(await node.exit).toEqual({
      code: 73,
      stderr: `error[PORT_IN_USE] placement-1 cannot listen on ${address}\n`,
    })
  })

  it('exits 78 for the folder of another node, and 73 for one that is in use', async () => {
    const directory = temporaryDirectory()
    const args = ['--data', directory, '--listen', '127.0.0.1:0']
    const first = run(...args)
    await untilLeading(first)
    const [other, same] = await Promise.all([
      run(...args, '--node-id', 'placement-9').exit,
      run(...args).exit,
    ])
    expect(other.code).toBe(78)
    expect(other.stderr).toMatch(/^error\[WRONG_DATA_FOLDER\] .*placement-1.*placement-9.*\n$/)
    expect(same.code).toBe(73)
    expect(same.stderr).toMatch(/^error\[DATA_IN_USE\] .*\n$/)
  })

  it('exits 70 for a damaged log and says what to do', async () => {
    const directory = temporaryDirectory()
    const args = ['--data', directory, '--listen', '127.0.0.1:0']
    const first = run(...args)
    await untilLeading(first)
    first.process.kill('SIGKILL')
    await first.exit
    const log = join(directory, 'raft')
    for (const name of readdirSync(log).filter((file) => file.endsWith('.log'))) {
      const bytes = readFileSync(join(log, name))
      for (let at = 40; at < bytes.length; at += 40) bytes[at] = (bytes[at] ?? 0) ^ 0xff
      writeFileSync(join(log, name), bytes)
    }
    const { code, stderr } = await run(...args).exit
    expect(code).toBe(70)
    expect(stderr).toMatch(/^error\[LOG_DAMAGED\] placement-1: .*could vote twice.*\n$/)
  })

  it('exits 64 with the usage for a wrong flag', async () => {
    const { code, stderr } = await run('--listen', 'nowhere').exit
    expect(code).toBe(64)
    expect(stderr).toContain('--data is missing')
    expect(stderr).toContain('robust placement start')
  })
})
