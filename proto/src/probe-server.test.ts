import { expect, test } from 'vitest'
import { serveProbes } from './probe-server.ts'

test('serveProbes tells liveness from readiness, and the metrics of the moment', async () => {
  let isReady = false
  let scrapes = 0
  const server = await serveProbes({
    ...{ host: '127.0.0.1', port: 0 },
    checks: () => [{ name: 'leader', ok: isReady, detail: 'none' }],
    metrics: () => `scrapes ${++scrapes}\n`,
  })
  const get = async (path: string, method = 'GET') => {
    const reply = await fetch(`http://127.0.0.1:${server.port}${path}`, { method })
    return [reply.status, await reply.text()]
  }
  try {
    expect(await get('/livez')).toEqual([200, 'ok\n'])
    const checks = [{ name: 'leader', ok: false, detail: 'none' }]
    expect(await get('/readyz')).toEqual([503, JSON.stringify({ ready: false, checks })])
    isReady = true
    expect((await get('/readyz?verbose'))[0]).toBe(200)
    expect(await get('/metrics')).toEqual([200, 'scrapes 1\n'])
    expect(await get('/metrics')).toEqual([200, 'scrapes 2\n'])
    expect((await get('/'))[0]).toBe(404)
    expect((await get('/metrics', 'DELETE'))[0]).toBe(405)
    const second = { host: '127.0.0.1', port: server.port, checks: () => [], metrics: () => '' }
    await expect(serveProbes(second)).rejects.toMatchObject({ code: 'EADDRINUSE' })
  } finally {
    await server.stop()
  }
})
