import picocolors from 'picocolors'
import { describe, expect, test } from 'vitest'
import { createOutput, rate, table } from './output.ts'

describe('table', () => {
  test('table pads to the widest cell, numbers to the right, nothing at the end of a line', () => {
    const columns = [{ title: 'NODE' }, { title: 'PID', right: true }, { title: 'ENDPOINTS' }]
    const rows = [
      ['broker-1', '7', 'mqtt'],
      ['b', '12345', ''],
    ]
    expect(table(columns, rows)).toBe(
      'NODE        PID  ENDPOINTS\nbroker-1      7  mqtt\nb         12345',
    )
  })

  test('table does not count colours as width', () => {
    const { green } = picocolors.createColors(true)
    const text = table([{ title: 'STATE' }, { title: 'X' }], [[green('running'), '1']])
    expect(text.split('\n')[1]).toBe(`${green('running')}  1`)
    expect(text.split('\n')[0]).toBe('STATE    X')
  })
})

describe('rate', () => {
  test.each([
    [0, '0'],
    [0.04, '0'],
    [0.43, '0.4'],
    [87.4, '87'],
    [12_345, '12.3k'],
    [1_234_567, '1.2M'],
  ])('rate of %d is %s', (value, text) => {
    expect(rate(value)).toBe(text)
  })
})

describe('createOutput', () => {
  test('createOutput writes data to stdout, and progress to stderr only for people', () => {
    for (const progress of [true, false]) {
      const written = { stdout: '', stderr: '' }
      const output = createOutput({
        stdout: (text) => {
          written.stdout += text
        },
        stderr: (text) => {
          written.stderr += text
        },
        colours: false,
        progress,
      })
      output.print('data')
      output.progress('working')
      output.warn('careful')
      expect(written).toEqual({
        stdout: 'data\n',
        stderr: progress ? 'working\nwarning: careful\n' : 'warning: careful\n',
      })
    }
  })
})
