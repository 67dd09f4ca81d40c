import { expect, test } from 'vitest'
import { startStorageNode } from './storage-node.ts'

const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

test('startStorageNode offers probes and metrics where it is told to', async () => {
  const config = {
    host: '127.0.0.1',
    port: 0,
    url: 'memory:',
    acceptDataLoss: false,
    strict: false,
  }
  const options = { logger, onFatal: () => undefined }
  const node = await startStorageNode({ ...config, httpPort: 0 }, options)
  const url = `http://127.0.0.1:${node.httpPort}`
  try {
    expect((await fetch(`${url}/livez`)).status).toBe(200)
    const ready = await (await fetch(`${url}/readyz`)).json()
    expect(ready).toMatchObject({ ready: true, checks: [{ name: 'room', ok: true }] })
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toContain('storage_pressure_ratio{adapter="memory"} 0\n')
    expect(metrics).toMatch(/^storage_resident_memory_bytes\{adapter="memory"\} \d+$/m)
    const busy = startStorageNode({ ...config, httpPort: node.httpPort as number }, options)
    await expect(busy).rejects.toMatchObject({ code: 'EADDRINUSE' })
  } finally {
    await node.stop()
  }
  await expect(fetch(`${url}/livez`)).rejects.toThrow()
})

test('startStorageNode offers none where it is not', async () => {
  const config = {
    host: '127.0.0.1',
    port: 0,
    url: 'memory:',
    acceptDataLoss: false,
    strict: false,
  }
  const node = await startStorageNode(config, { logger, onFatal: () => undefined })
  expect(node.httpPort).toBe(undefined)
  await node.stop()
})
