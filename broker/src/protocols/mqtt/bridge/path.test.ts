import { expect, test } from 'vitest'
import { messageTo } from '../../../testing/core-cluster.ts'
import { encodeProperties } from '../codec/properties.ts'
import { leaving, pathOf } from './path.ts'

test('leaving adds the cluster to the path and keeps everything else', () => {
  const properties = encodeProperties({ contentType: 'x', userProperties: [['own', '1']] })
  const message = messageTo('a/b', 'text', { dialect: 'mqtt', properties, retain: true })
  const first = leaving(message, 'one')
  const second = first && leaving(first, 'two')
  expect(second).toEqual({
    ...message,
    properties: encodeProperties({
      contentType: 'x',
      userProperties: [
        ['own', '1'],
        ['bridge-path', 'one,two'],
      ],
    }),
  })
  expect(pathOf(second?.properties ?? new Uint8Array(0))).toEqual(['one', 'two'])
})

test('leaving lets no message out where it has been, nor one that has been everywhere', () => {
  let message = messageTo('a', 'text', { dialect: 'other', properties: Buffer.of(1) })
  for (let at = 0; at < 8; at++) {
    const next = leaving(message, `c${at}`)
    if (next === undefined) throw new Error(`stopped after ${at}`)
    expect(leaving(next, `c${at}`)).toBe(undefined)
    message = next
  }
  expect(leaving(message, 'c8')).toBe(undefined)
})
