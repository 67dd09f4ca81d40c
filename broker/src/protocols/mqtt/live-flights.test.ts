import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FlightState, LiveFlights } from './live-flights.ts'

describe('LiveFlights', () => {
  test('add never gives an id that is under way, whatever is removed in between', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 400 }), (steps) => {
        const flights = new LiveFlights()
        const model = new Set<number>()
        for (const step of steps) {
          if (step > 0) {
            const id = flights.add(FlightState.published)
            expect(model.has(id)).toBe(false)
            model.add(id)
          } else {
            const [first] = model
            if (first === undefined) continue
            model.delete(first)
            flights.remove(first)
            expect(flights.get(first)).toBe(FlightState.free)
          }
          expect(flights.size).toBe(model.size)
        }
        for (const id of model) expect(flights.get(id)).toBe(FlightState.published)
      }),
    )
  })

  test('add passes over an old id when the counter comes round [MQTT-2.2.1-3]', () => {
    const flights = new LiveFlights()
    const stuck = flights.add(FlightState.publishedExactlyOnce)
    for (let i = 0; i < 70_000; i++) flights.remove(flights.add(FlightState.published))
    expect(flights.get(stuck)).toBe(FlightState.publishedExactlyOnce)
    expect(flights.size).toBe(1)
  })

  test('remove of an id that is not under way changes nothing', () => {
    const flights = new LiveFlights()
    const id = flights.add(FlightState.published)
    flights.remove(id + 32)
    expect(flights.get(id)).toBe(FlightState.published)
  })
})
