/** The ordered keys of a shard: get, scan, deletes, and names that try to break out. */
import { describe, expect, test } from 'vitest'
import { prefixEnd } from '../key-order.ts'
import { nameBytesMax } from '../limits.ts'
import type { Operation } from '../storage-adapter.ts'
import type { Subject } from './describe-storage-adapter.ts'
import {
  append,
  batchAt,
  expectBytes,
  expectCode,
  keysOf,
  openWriter,
  owner,
  put,
  readAll,
  shard,
  textOf,
} from './fixtures.ts'

/** In UTF-8 byte order. JavaScript's own order would put the last one before those of U+E000 on. */
const hostileNames = [
  '',
  '\u0000',
  '\u0000\u0000',
  '\u0000\u0003key',
  '\u0001',
  '\n',
  ' ',
  '!',
  '%00',
  '*',
  '..',
  '../../etc/passwd',
  '/',
  '//',
  '//a//',
  '/a',
  ':',
  '\\',
  '__proto__',
  'a',
  'a\u0000',
  'a\u0000b',
  'a/',
  'a/b',
  'aa',
  'constructor',
  '{7}:log',
  '~',
  '\u007f',
  '\u00ff',
  '\u00e9',
  'e\u0301',
  'ÿÿÿÿ',
  '\u2028',
  '\ue000',
  '\ufffd',
  '\uffff',
  '😀',
  '\u{10ffff}',
].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

export function describeKeys(subject: Subject): void {
  describe('keys', () => {
    test('put, get and delete of a key', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      expect(await adapter.get(shard, 'a')).toBeUndefined()
      await writer.commit(put('a', 'one'), put('empty', ''))
      expect(textOf(await adapter.get(shard, 'a'))).toBe('one')
      expect(textOf(await adapter.get(shard, 'empty'))).toBe('')
      await writer.commit(put('a', 'two'))
      expect(textOf(await adapter.get(shard, 'a'))).toBe('two')
      await writer.commit({ kind: 'delete', key: 'a' }, { kind: 'delete', key: 'unknown' })
      expect(await adapter.get(shard, 'a')).toBeUndefined()
      expect(await adapter.get(shard + 1, 'empty')).toBeUndefined()
    })

    test('operations of one commit take effect in their order', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(
        put('a', '1'),
        { kind: 'delete', key: 'a' },
        put('b', '1'),
        { kind: 'delete-range', from: 'b', to: 'c' },
        put('b', '2'),
        put('c', '1'),
        put('c', '2'),
      )
      expect(await keysOf(adapter)).toEqual(['b', 'c'])
      expect(textOf(await adapter.get(shard, 'b'))).toBe('2')
      expect(textOf(await adapter.get(shard, 'c'))).toBe('2')
    })

    test('scan takes the range, the limit and the direction', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(...['a', 'b', 'c', 'd', 'e'].map((key) => put(key)))
      expect(await keysOf(adapter, { from: 'b', to: 'd' })).toEqual(['b', 'c'])
      expect(await keysOf(adapter, { from: 'b' })).toEqual(['b', 'c', 'd', 'e'])
      expect(await keysOf(adapter, { limit: 2 })).toEqual(['a', 'b'])
      expect(await keysOf(adapter, { limit: 0 })).toEqual([])
      expect(await keysOf(adapter, { reverse: true, limit: 2 })).toEqual(['e', 'd'])
      expect(await keysOf(adapter, { from: 'b', to: 'd', reverse: true })).toEqual(['c', 'b'])
      expect(await keysOf(adapter, { from: 'b', to: 'd', reverse: true, limit: 1 })).toEqual(['c'])
      expect(await keysOf(adapter, { from: 'aa', to: 'bb' })).toEqual(['b'])
      expect(await keysOf(adapter, { from: 'd', to: 'b' })).toEqual([])
      expect(await keysOf(adapter, { from: 'c', to: 'c' })).toEqual([])
      const [first] = await adapter.scan({ shard, from: 'c', to: '', limit: 1 })
      expect(textOf(first?.value)).toBe('c')
    })

    test('scan of 5,000 keys gives all of them in order, both ways', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const keys = Array.from({ length: 5000 }, (_, at) => `k/${(at * 7919) % 5000}`)
      for (let at = 0; at < keys.length; at += 500) {
        await writer.commit(...keys.slice(at, at + 500).map((key) => put(key)))
      }
      keys.sort()
      expect(await keysOf(adapter)).toEqual(keys)
      expect(await keysOf(adapter, { reverse: true })).toEqual(keys.toReversed())
      expect(await keysOf(adapter, { from: 'k/2', to: 'k/3' })).toEqual(
        keys.filter((key) => key >= 'k/2' && key < 'k/3'),
      )
      await writer.commit({ kind: 'delete-range', from: 'k/1', to: 'k/4' })
      expect(await keysOf(adapter)).toEqual(keys.filter((key) => key < 'k/1' || key >= 'k/4'))
    })

    test('delete-range takes [from, to), sees commits in flight, and leaves logs alone', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const removal: Operation = { kind: 'delete-range', from: 'b', to: 'd' }
      await Promise.all([
        writer.commit(...['a', 'b', 'c', 'd'].map((key) => put(key)), append('b', 0, 'x')),
        writer.commit(put('ba'), removal, put('cc')),
        writer.commit(put('e')),
      ])
      expect(await keysOf(adapter)).toEqual(['a', 'cc', 'd', 'e'])
      await writer.commit({ kind: 'delete-range', from: 'd', to: '' })
      expect(await keysOf(adapter)).toEqual(['a', 'cc'])
      await writer.commit({ kind: 'delete-range', from: 'c', to: 'b' })
      await writer.commit({ kind: 'delete-range', from: '', to: '' })
      expect(await keysOf(adapter)).toEqual([])
      expectBytes(await readAll(adapter, 'b'), [batchAt(0, 'x')])
    })

    test('stats counts keys, logs and bytes', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(put('a', '12345'), put('b', '1'), append('log', 0, 'x'))
      await writer.commit(put('a', '123'), { kind: 'delete', key: 'b' })
      const bytes = 3 + batchAt(0, 'x').length
      expect(await adapter.stats(shard)).toEqual({
        epoch: 1,
        commitNumber: 2,
        logs: 1,
        keys: 1,
        bytes,
        incarnation: (await adapter.open({ shard, epoch: 1, owner })).incarnation,
      })
    })

    test('shards lists what was ever opened, dropped ones too', async () => {
      const { adapter } = subject
      expect(await adapter.shards()).toEqual([])
      for (const number of [300, 2, 70_000, 9]) await openWriter(adapter, { shard: number })
      await adapter.drop(9, 2)
      expect(await adapter.shards()).toEqual([2, 9, 300, 70_000])
    })

    test('a key of the greatest length is scanned over', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const longest = '\u007f'.repeat(nameBytesMax)
      const others = Array.from({ length: 63 }, (_, at) => `k${String(at).padStart(2, '0')}`)
      await writer.commit(...[...others, longest, '\u0080'].map((key) => put(key, '')))
      expect(await keysOf(adapter)).toEqual([...others, longest, '\u0080'])
    })
  })

  describe('hostile names', () => {
    test('as keys they are kept apart and in UTF-8 byte order', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(...hostileNames.toReversed().map((name) => put(name, `value of ${name}`)))
      expect(await keysOf(adapter)).toEqual(hostileNames)
      expect(await keysOf(adapter, { reverse: true })).toEqual(hostileNames.toReversed())
      for (const [at, name] of hostileNames.entries()) {
        expect(textOf(await adapter.get(shard, name))).toBe(`value of ${name}`)
        expect(await keysOf(adapter, { from: name, limit: 1 })).toEqual([name])
        if (at > 0) expect(await keysOf(adapter, { to: name })).toEqual(hostileNames.slice(0, at))
      }
      expect(await adapter.logs(shard)).toEqual([])
      expect(await keysOf(adapter, { shard: shard + 1 })).toEqual([])
    })

    test('as logs they are kept apart, trimmed and dropped alone', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(...hostileNames.map((name) => append(name, 0, `of ${name}`)))
      expect((await adapter.logs(shard)).map(({ log }) => log)).toEqual(hostileNames)
      for (const name of hostileNames) {
        expectBytes(await readAll(adapter, name), [batchAt(0, `of ${name}`)])
      }
      await writer.commit(
        { kind: 'drop-log', log: '' },
        { kind: 'trim', log: 'a', beforeOffset: 1 },
      )
      const left = (await adapter.logs(shard)).filter(({ bytes }) => bytes > 0)
      expect(left.map(({ log }) => log)).toEqual(
        hostileNames.filter((name) => name !== '' && name !== 'a'),
      )
      expect(await keysOf(adapter)).toEqual([])
    })

    test('prefixEnd bounds exactly the keys with the prefix', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(...hostileNames.map((name) => put(name)))
      for (const prefix of ['', 'a', '/', 'a/', '\u0000', '\ud7ff', '\u{10ffff}', '\u00e9']) {
        const expected = hostileNames.filter((name) => name.startsWith(prefix))
        expect(await keysOf(adapter, { from: prefix, to: prefixEnd(prefix) })).toEqual(expected)
      }
    })

    test('long names are kept up to the limit and TOO_LARGE beyond it', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const long = 'é'.repeat(nameBytesMax / 2)
      await writer.commit(put(long, 'v'), append(long, 0, 'x'))
      expect(textOf(await adapter.get(shard, long))).toBe('v')
      expectBytes(await readAll(adapter, long), [batchAt(0, 'x')])
      await expectCode(writer.commit(put(`${long}a`)), 'TOO_LARGE')
      await expectCode(adapter.get(shard, `${long}a`), 'TOO_LARGE')
    })

    test('names that are no text, and numbers that are none, are INVALID', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      for (const name of ['\ud800', 'a\udc00b', '\udc00\ud800']) {
        await expectCode(writer.commit(put(name)), 'INVALID')
        await expectCode(writer.commit(append(name, 0, 'x')), 'INVALID')
        await expectCode(adapter.get(shard, name), 'INVALID')
        await expectCode(adapter.scan({ shard, from: name, to: '', limit: 1 }), 'INVALID')
      }
      for (const wrong of [-1, 1.5, Number.NaN, 2 ** 32]) {
        await expectCode(adapter.open({ shard: wrong, epoch: 1, owner: 'x' }), 'INVALID')
        await expectCode(adapter.get(wrong, 'a'), 'INVALID')
      }
      for (const epoch of [-1, 0, 1.5, Number.NaN, 2 ** 53]) {
        await expectCode(adapter.open({ shard, epoch, owner: 'x' }), 'INVALID')
        await expectCode(adapter.drop(shard, epoch), 'INVALID')
      }
      await expectCode(adapter.read({ shard, log: '', fromOffset: -1, bytesMax: 1 }), 'INVALID')
      await expectCode(adapter.scan({ shard, from: '', to: '', limit: -1 }), 'INVALID')
    })
  })
}
