import { expect, test } from 'vitest'
import { bridgeOf, sessionOf } from './definition.ts'

test.each([
  ['mqtt://host', 'host', 1883, false],
  ['mqtts://host', 'host', 8883, true],
  ['mqtt://10.0.0.1:1884', '10.0.0.1', 1884, false],
  ['mqtts://[::1]:8884', '::1', 8884, true],
])('bridgeOf finds host and port of %s', (url, host, port, isSecure) => {
  const bridge = bridgeOf('b', 7, JSON.stringify({ url }))
  expect([bridge.host, bridge.port, bridge.tls !== undefined]).toEqual([host, port, isSecure])
  expect(bridge).toMatchObject({ protocol: 5, clientId: 'robust-bridge-b', in: [], out: [] })
  expect(sessionOf(bridge)).toBe('$bridge/b')
})
