import { type ChildProcess, spawn } from 'node:child_process'
import { afterEach, describe, expect, test } from 'vitest'
import { identify, processName, processState, sendSignal } from './process-table.ts'

let children: ChildProcess[] = []

afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  children = []
})

function sleeper() {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  children.push(child)
  return identify(child.pid ?? 0)!
}

describe('process table', () => {
  test('processState follows a process: running, paused, running, stopped', async () => {
    const identity = sleeper()
    await expect.poll(() => processName(identity.pid)).toBe('sleep')
    expect(processState(identity)).toBe('running')
    expect(sendSignal(identity, 'SIGSTOP')).toBe(true)
    await expect.poll(() => processState(identity)).toBe('paused')
    sendSignal(identity, 'SIGCONT')
    await expect.poll(() => processState(identity)).toBe('running')
    sendSignal(identity, 'SIGKILL')
    await expect.poll(() => processState(identity)).toBe('stopped')
    expect(sendSignal(identity, 'SIGTERM')).toBe(false)
  })

  test('sendSignal never reaches a process that has the pid but another start time', () => {
    const identity = sleeper()
    const earlier = { ...identity, startTime: '1@another-boot' }
    expect(processState(earlier)).toBe('stopped')
    expect(sendSignal(earlier, 'SIGKILL')).toBe(false)
    expect(processState(identity)).toBe('running')
  })

  test('identify knows no process of a pid that nobody has', () => {
    expect(identify(2 ** 30)).toBeUndefined()
    expect(processState(undefined)).toBe('stopped')
  })
})
