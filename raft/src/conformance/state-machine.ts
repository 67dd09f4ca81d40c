/** What a StateMachine must do: the same commands give the same state and results, however they come. */
import { describe, expect, it } from 'vitest'
import type { CommittedCommand, StateMachine } from '../ports/state-machine.ts'
import { seededRandom } from '../testing/random.ts'

export interface StateMachineUnderTest {
  /** A new, empty one. */
  create(): StateMachine
  /** The command number `at`, some of which change the state; the same for the same number. */
  command(at: number): Uint8Array
}

const COUNT = 40

export function describeStateMachine(name: string, underTest: StateMachineUnderTest): void {
  describe(`${name} as a state machine`, () => {
    const commands: CommittedCommand[] = Array.from({ length: COUNT }, (_, at) => ({
      index: 2 * at + 3,
      term: 1 + Math.floor(at / 10),
      command: underTest.command(at),
    }))

    it('returns one result for each command', () => {
      expect(underTest.create().apply(commands)).toHaveLength(COUNT)
      expect(underTest.create().apply([])).toEqual([])
    })

    it('gives the same whether commands come one by one or together', async () => {
      const together = underTest.create()
      const results = together.apply(commands)
      for (const seed of [1, 2, 3]) {
        const random = seededRandom(seed)
        const sliced = underTest.create()
        const slicedResults: unknown[] = []
        for (let at = 0; at < COUNT; ) {
          const count = 1 + Math.floor(random() * 5)
          slicedResults.push(...sliced.apply(commands.slice(at, at + count)))
          at += count
        }
        expect(slicedResults).toEqual(results)
        expect(await contentOf(sliced)).toEqual(await contentOf(together))
        expect(sliced.hash?.()).toBe(together.hash?.())
      }
    })

    it('keeps what later commands do out of a snapshot, even when it is read later', async () => {
      const machine = underTest.create()
      machine.apply(commands.slice(0, 20))
      const expected = await contentOf(machine)
      const snapshot = machine.snapshot()
      machine.apply(commands.slice(20))
      expect(await readAll(snapshot)).toEqual(expected)
    })

    it('goes on from a snapshot as if it had applied everything itself', async () => {
      const original = underTest.create()
      original.apply(commands.slice(0, 20))
      const content = await contentOf(original)
      const expectedResults = original.apply(commands.slice(20))
      for (const before of [0, 7, 35]) {
        const restored = underTest.create()
        restored.apply(commands.slice(0, before))
        // All that it held is gone, also what the snapshot does not mention.
        restored.restore(content)
        expect(await contentOf(restored)).toEqual(content)
        expect(restored.apply(commands.slice(20))).toEqual(expectedResults)
        expect(await contentOf(restored)).toEqual(await contentOf(original))
        expect(restored.hash?.()).toBe(original.hash?.())
      }
    })

    it('starts from the snapshot of an empty one', async () => {
      const machine = underTest.create()
      machine.apply(commands)
      machine.restore(await contentOf(underTest.create()))
      expect(machine.apply(commands)).toEqual(underTest.create().apply(commands))
    })

    it('does not change the commands', () => {
      const copies = commands.map(({ command }) => new Uint8Array(command))
      underTest.create().apply(commands)
      for (const [at, copy] of copies.entries()) {
        expect(Buffer.compare(copy, commands[at]?.command ?? new Uint8Array())).toBe(0)
      }
    })

    it('changes nothing by preparing a restore, if it can, until that is carried out', async () => {
      const source = underTest.create()
      source.apply(commands)
      const content = await contentOf(source)
      const machine = underTest.create()
      if (machine.prepareRestore === undefined) return
      const preparing = machine.prepareRestore(content)
      // Commands go on meanwhile, and are of the state before.
      const other = underTest.create()
      expect(machine.apply(commands.slice(0, 5))).toEqual(other.apply(commands.slice(0, 5)))
      const carryOut = await preparing
      expect(await contentOf(machine)).toEqual(await contentOf(other))
      carryOut()
      expect(await contentOf(machine)).toEqual(content)
      expect(machine.hash?.()).toBe(source.hash?.())
    })

    it('changes its hash with its state, if it has one', () => {
      const machine = underTest.create()
      const hashes = new Set([machine.hash?.()])
      expect(machine.hash?.()).toBe([...hashes][0])
      for (const command of commands) {
        machine.apply([command])
        hashes.add(machine.hash?.())
      }
      expect(hashes.size > 1).toBe(machine.hash !== undefined)
    })
  })
}

function contentOf(machine: StateMachine): Promise<Buffer> {
  return readAll(machine.snapshot())
}

async function readAll(content: Uint8Array | AsyncIterable<Uint8Array>): Promise<Buffer> {
  if (content instanceof Uint8Array) return Buffer.from(content)
  const parts: Uint8Array[] = []
  for await (const chunk of content) parts.push(chunk)
  return Buffer.concat(parts)
}
