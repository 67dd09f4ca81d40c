import { expect, test } from 'vitest'
import { NumberedStream } from './stream.ts'

function streamOf(received: readonly number[], acknowledged: number) {
  const stream = new NumberedStream('s')
  for (const number of received) stream.received(number)
  stream.acknowledged(acknowledged)
  return { findings: stream.end(), figures: stream.figures }
}

test('a stream may repeat what it has brought, and bring what nobody was told of', () => {
  const { findings, figures } = streamOf([1, 2, 3, 2, 3, 4], 3)
  expect(findings).toEqual([])
  expect(figures).toEqual({ sent: 3, came: 4, again: 2 })
})

test('a stream with a gap has lost it, and so has one that ends too early', () => {
  expect(streamOf([1, 2, 5], 6).findings).toEqual(['lost s: 3 to 4', 'lost s: 6 to 6 at the end'])
})
