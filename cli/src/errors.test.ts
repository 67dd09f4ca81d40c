import { describe, expect, test } from 'vitest'
import { asCliError, CliError, formatError, formatErrorJson, interrupted } from './errors.ts'

const busy = new CliError('PORT_IN_USE', {
  message: 'broker-2 cannot listen on 127.0.0.1:1983 (mqtt)',
  cause: 'pid 4711 (mosquitto) holds it',
  hint: 'robust cluster up --port-offset 20000',
  exit: 73,
})

describe('formatError', () => {
  test('formatError says what, why and what to do, one line each', () => {
    expect(formatError(busy)).toBe(
      'error[PORT_IN_USE] broker-2 cannot listen on 127.0.0.1:1983 (mqtt)\n' +
        'cause: pid 4711 (mosquitto) holds it\n' +
        'try: robust cluster up --port-offset 20000\n',
    )
  })

  test('formatError shows the log of the failed node before the error', () => {
    const error = new CliError('NODE_FAILED', { message: 'it ended', exit: 70, log: ['a', 'b'] })
    expect(formatError(error)).toBe('a\nb\nerror[NODE_FAILED] it ended\n')
  })

  test('formatErrorJson has id, message, cause, hint and exit', () => {
    expect(JSON.parse(formatErrorJson(busy)).error).toEqual({
      id: 'PORT_IN_USE',
      message: 'broker-2 cannot listen on 127.0.0.1:1983 (mqtt)',
      cause: 'pid 4711 (mosquitto) holds it',
      hint: 'robust cluster up --port-offset 20000',
      exit: 73,
    })
  })
})

describe('asCliError', () => {
  test('asCliError keeps an error of ours and calls any other a fault of the program', () => {
    expect(asCliError(busy)).toBe(busy)
    expect(asCliError(new TypeError('x')).failure.exit).toBe(70)
    expect(asCliError('text').failure.cause).toBe('text')
  })

  test('interrupted has the exit code of the signal', () => {
    expect(interrupted('SIGINT').failure.exit).toBe(130)
    expect(interrupted('SIGTERM').failure.exit).toBe(143)
  })
})
