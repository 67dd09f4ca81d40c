import { describe, expect, it } from 'vitest'
import { type Machine, provideTools } from './debian-tools.ts'

const TOOLS = [{ command: 'tool', packages: ['tool-package'], service: 'toold' }]

interface FakeMachine extends Machine {
  readonly ran: string[]
  readonly said: string[]
}

function machineWith(options: {
  installed: boolean
  mayInstall?: boolean
  ci?: boolean
  failing?: string
}): FakeMachine {
  let installed = options.installed
  const ran: string[] = []
  const said: string[] = []
  return {
    ran,
    said,
    mayInstall: options.mayInstall ?? false,
    ci: options.ci ?? false,
    has: () => installed,
    say: (line) => said.push(line),
    run: (command, args) => {
      const line = [command, ...args].join(' ')
      ran.push(line)
      if (command === options.failing) throw new Error(`${command} failed`)
      if (line.includes('install')) installed = true
    },
  }
}

describe('provideTools', () => {
  it('touches nothing when all is there', () => {
    const machine = machineWith({ installed: true, mayInstall: true })
    expect(provideTools(machine, TOOLS)).toEqual([])
    expect(machine.ran).toEqual([])
  })

  it('installs what is missing and stops the service that came with it', () => {
    const machine = machineWith({ installed: false, mayInstall: true, failing: 'service' })
    expect(provideTools(machine, TOOLS)).toEqual([])
    expect(machine.ran).toEqual([
      'apt-get update',
      'apt-get install -y --no-install-recommends tool-package',
      'service toold stop',
    ])
  })

  it('says what is missing where it may not install', () => {
    const machine = machineWith({ installed: false })
    expect(provideTools(machine, TOOLS)).toEqual(['tool'])
    expect(machine.ran).toEqual([])
    expect(machine.said.join()).toContain('apt-get install tool-package')
  })

  it('fails in CI when the installation failed', () => {
    const machine = machineWith({
      installed: false,
      mayInstall: true,
      ci: true,
      failing: 'apt-get',
    })
    expect(() => provideTools(machine, TOOLS)).toThrow('MISSING: tool')
  })
})
