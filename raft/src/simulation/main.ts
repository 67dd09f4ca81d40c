/**
 * `npm run simulate`: runs seeds, says what was found. Exit code 1 when a seed failed.
 *
 *   --seeds N        how many, from --first on (default 1000)
 *   --first S        the first seed (default 1)
 *   --seed S         this one only, telling everything that happens
 *   --mode M         safety, liveness, or both (default)
 */
import { parseArgs } from 'node:util'
import { SimulationFailure, type SimulationMode, simulate } from './simulate.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    mode: { type: 'string', default: 'both' },
  },
})

function numberOf(name: string, text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  console.error(`--${name} must be a whole number, not ${text}`)
  process.exit(2)
}

function modesOf(text: string): readonly SimulationMode[] {
  if (text === 'both') return ['safety', 'liveness']
  if (text === 'safety' || text === 'liveness') return [text]
  console.error(`--mode is safety, liveness or both, not ${text}`)
  process.exit(2)
}

const onlySeed = values.seed === undefined ? undefined : numberOf('seed', values.seed)
const first = onlySeed ?? numberOf('first', values.first)
const count = onlySeed === undefined ? numberOf('seeds', values.seeds) : 1
const modes = modesOf(values.mode)
const onEvent = onlySeed === undefined ? undefined : (text: string) => console.log(text)
const totals: Record<string, number> = {}
let failures = 0

function add(counts: object): void {
  for (const [name, value] of Object.entries(counts)) {
    if (typeof value === 'number') totals[name] = (totals[name] ?? 0) + value
  }
}

const startMs = performance.now()
for (const mode of modes) {
  for (let seed = first; seed < first + count; seed += 1) {
    try {
      const { ticks, commits, termsLed, world, work } = simulate(seed, mode, onEvent)
      add({ runs: 1, ticks, commits, termsLed, ...world, ...work })
    } catch (error) {
      failures += 1
      if (!(error instanceof SimulationFailure)) throw error
      console.error(`\nFAILED ${error.message}`)
      console.error(`  plan:   ${JSON.stringify(error.plan)}`)
      for (const host of error.hosts) console.error(`  ${host}`)
      console.error(`  repeat: npm run simulate -- --seed ${seed} --mode ${mode}`)
    }
  }
}
const seconds = ((performance.now() - startMs) / 1_000).toFixed(1)
console.log(
  `\n${Object.entries(totals)
    .map(([name, total]) => `${name} ${total}`)
    .join(', ')}`,
)
console.log(
  `${count} seeds from ${first}, ${modes.join(' and ')}: ${failures} failed, ${seconds} s`,
)
process.exitCode = failures === 0 ? 0 : 1
