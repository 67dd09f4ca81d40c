/**
 * A suite drives a cluster of three with a client library of another language. Its program is given the brokers'
 * ports (and what more the suite wants it to know) and says on stdout, a line each: `ok SCENARIO`, or `not ok SCENARIO: reason`. When it has come to where
 * broker 2 is to be killed it says `await-kill` and goes on with the next line of its standard input. One file per
 * suite, `NAME.suite.ts`, which exports `suite`.
 */
import { fileURLToPath } from 'node:url'
import type { Machine } from '../support/debian-tools.ts'

export interface ClientSuite {
  readonly name: string
  /** Each must be told of, on each storage. */
  readonly scenarios: readonly string[]
  /** More of them, which are run on LevelDB only: what storage has little to do with. */
  readonly onLevelDb?: readonly string[]
  /** Installs what is missing if it may. Answers what is missing nevertheless. */
  provide(machine: Machine): string | undefined
  /** A program and its arguments. `folder` is the suite's own, for what it compiles. */
  command(cluster: {
    readonly mqttPorts: readonly number[]
    readonly kafkaPorts: readonly number[]
    /** To be run, in this order. */
    readonly scenarios: readonly string[]
    readonly folder: string
  }): readonly string[]
}

/** Installs Debian packages; answers what is missing while `has` says no. */
export function debian(
  machine: Machine,
  packages: readonly string[],
  has: () => boolean,
): string | undefined {
  if (has()) return undefined
  const advice = `apt-get install ${packages.join(' ')}`
  if (!machine.mayInstall) return advice
  try {
    machine.say(`installing ${packages.join(', ')}`)
    machine.run('apt-get', ['update'])
    machine.run('apt-get', ['install', '-y', '--no-install-recommends', ...packages])
  } catch (error) {
    machine.say(error instanceof Error ? error.message : String(error))
  }
  return has() ? undefined : advice
}

/** Of what is fetched once and stays between runs. */
export const FETCHED = fileURLToPath(new URL('../../.cache/fetched-clients', import.meta.url))

/** Whether a command ends well. */
export function works(machine: Machine, command: string, ...args: string[]): boolean {
  try {
    machine.run(command, args)
    return true
  } catch {
    return false
  }
}
