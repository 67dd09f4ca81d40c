import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { backupHead, backupTail, parseBackup } from './backup-file.ts'

const HEAD = { clusterId: 'c', nodeId: 'a', index: 7, generation: 1, timeMs: 1_000 }
const CONTENT = Uint8Array.from({ length: 300 }, (_, at) => at % 251)

function file(content = CONTENT): Buffer {
  const sha256 = createHash('sha256').update(content).digest('hex')
  return Buffer.concat([backupHead(HEAD), content, backupTail(sha256)])
}

describe('parseBackup', () => {
  it.each([0, 1, 300])('gives back what was written, %i bytes', (length) => {
    const content = CONTENT.subarray(0, length)
    const { head, content: read } = parseBackup(file(content))
    expect(head).toEqual(HEAD)
    expect(Buffer.from(read).equals(Buffer.from(content))).toBe(true)
  })

  it('refuses it cut off anywhere, and with any byte of its content changed', () => {
    const whole = file()
    for (let length = 0; length < whole.length; length++) {
      expect(() => parseBackup(whole.subarray(0, length))).toThrow(Error)
    }
    const start = backupHead(HEAD).length
    for (let at = start; at < whole.length; at += 17) {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(() => parseBackup(changed)).toThrow('damaged')
    }
  })

  it('refuses another file', () => {
    expect(() => parseBackup(Buffer.from('{"format":"x"}\nabc'))).toThrow('no backup')
    expect(() => parseBackup(Buffer.from('hello\n'))).toThrow('no backup')
  })
})
