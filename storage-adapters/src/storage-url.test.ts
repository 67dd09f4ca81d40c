import { expect, test } from 'vitest'
import { isSharedStorage, withoutPasswords } from './storage-url.ts'

test('withoutPasswords hides them and leaves the rest', () => {
  expect(withoutPasswords('redis://u:secret@a:1/2?wait=1')).toBe('redis://u:***@a:1/2?wait=1')
  expect(withoutPasswords('rediss+sentinel://:secret@a/m')).toBe('rediss+sentinel://:***@a/m')
  expect(withoutPasswords('redis://a?sentinel-password=x&wait=1')).toBe(
    'redis://a?sentinel-password=***&wait=1',
  )
  expect(withoutPasswords('leveldb:/data')).toBe('leveldb:/data')
})

test('isSharedStorage tells services from folders', () => {
  const shared = ['robust://a:1', 'redis://a', 'rediss+cluster://a:1']
  expect(shared.every(isSharedStorage)).toBe(true)
  expect(['leveldb:/a', 'memory:', '', 'redis'].some(isSharedStorage)).toBe(false)
})
