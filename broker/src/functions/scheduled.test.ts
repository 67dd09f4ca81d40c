import { createMemoryStorage } from '@robust/storage-adapters'
import { describe, expect, test } from 'vitest'
import { shardOf } from '../core/shard-hash.ts'
import { CoreCluster, messageTo, TestClient, wanting } from '../testing/core-cluster.ts'

describe('messages that are published at a time', () => {
  test('are published by whoever owns them then, each once, with their lives before them', async () => {
    const cluster = new CoreCluster(createMemoryStorage(), 4)
    for (const name of ['a', 'b']) cluster.join(name)
    await cluster.ownAll(() => 'a')
    const [a, b] = ['a', 'b'].map((name) => cluster.nodes.get(name)?.messaging)
    const client = new TestClient()
    const options = {
      session: 's',
      cleanStart: true,
      expirySeconds: 0,
      window: 10,
      will: undefined,
    }
    const session = await b?.attach(options, client)
    session?.start()
    await session?.subscribe([wanting('t/#')])
    const now = cluster.clock.wallMs()
    for (const [at, text] of ['late', 'soon'].entries()) {
      const life = { timestampMs: now, expiresAtMs: now + 2_000 }
      await a?.schedule(messageTo(`t/${text}`, text, life), now + 60_000 - at * 50_000)
    }
    await cluster.clock.advance(9_999)
    expect(client.live).toEqual([])
    await cluster.clock.advance(1)
    expect(client.live).toEqual(['soon'])
    const shard = shardOf('schedule', 't/late', 4)
    await cluster.own(shard, 'b')
    await cluster.clock.advance(49_999)
    expect(client.live).toEqual(['soon'])
    await cluster.clock.advance(2_000)
    expect(client.live).toEqual(['soon', 'late'])
    await cluster.own(shard, 'a')
    await cluster.clock.advance(10_000)
    expect(client.live).toEqual(['soon', 'late'])
  })
})
