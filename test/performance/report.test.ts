import { expect, test } from 'vitest'
import { formatTable, type Measurement, median, summarize } from './report.ts'
import { SCENARIOS } from './scenarios.ts'

const qos0 = SCENARIOS.find(({ name }) => name === 'qos0')!

function measured(broker: Measurement['broker'], delivered: number, loadCpu = 0.5): Measurement {
  return { scenario: qos0, broker, round: 1, result: { delivered, brokerCpu: 0.5, loadCpu } }
}

test('median of an even and an odd number of values', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5])
})

test("summarize divides our median by the peer's", () => {
  const rounds = [100, 900, 800].map((value) => measured('ours', value, 0.95))
  const [figure] = summarize([...rounds, measured('mosquitto', 100)])
  expect(figure).toMatchObject({
    median: { ours: 800, mosquitto: 100 },
    ratio: { mosquitto: 8 },
    loadBound: ['ours'],
  })
  expect(formatTable([figure!], ['ours', 'mosquitto', 'aedes'])).toMatch(/800\*\s+100\s+-\s+8\.00x/)
})
