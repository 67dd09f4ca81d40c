import fc from 'fast-check'
import { Command } from 'ioredis'
import { expect, test } from 'vitest'
import { type Argument, encodeCommand } from './script-command.ts'

test('encodeCommand makes the bytes that the library makes', () => {
  const argument = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.integer(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  )
  fc.assert(
    fc.property(fc.array(argument), (args: Argument[]) => {
      const expected = new Command('evalsha', args.slice(), { replyEncoding: null }).toWritable({})
      expect(encodeCommand('evalsha', args)).toEqual(Buffer.from(expected))
    }),
  )
})
