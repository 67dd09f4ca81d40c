// Settings of groups: what tools see of them, what is refused, and what members notice.

import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { batchOf } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import {
  ALTER_CONFIGS,
  DESCRIBE_CONFIGS,
  INCREMENTAL_ALTER_CONFIGS,
  LIST_CONFIG_RESOURCES,
} from './codec/admin-apis.ts'
import { CONSUMER_GROUP_DESCRIBE, CONSUMER_GROUP_HEARTBEAT } from './codec/consumer-group-apis.ts'
import { SHARE_FETCH, SHARE_GROUP_HEARTBEAT } from './codec/share-apis.ts'
import { ERROR } from './errors.ts'
import { CONSUMER_HEARTBEAT_MS, CONSUMER_SESSION_MS } from './limits.ts'

const GROUP = 32
const [SET, DELETE, APPEND] = [0, 1, 2]

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 1)
  client = await bench.connect()
})

async function configsOf(group: string) {
  const { results } = await client.ask(DESCRIBE_CONFIGS, 4, {
    resources: [{ resourceType: GROUP, resourceName: group, configNames: null }],
    ...{ includeSynonyms: true, includeDocumentation: true },
  })
  return results[0]?.configs ?? []
}

async function settingOf(group: string, name: string) {
  return (await configsOf(group)).find((config) => config.name === name)?.value
}

async function alter(name: string, value: string | null, more: object = {}) {
  const configs = [{ name, value, operation: value === null ? DELETE : SET, ...more }]
  const resources = [{ resourceType: GROUP, resourceName: 'g', configs }]
  const { results } = await client.ask(INCREMENTAL_ALTER_CONFIGS, 1, {
    ...{ resources, validateOnly: false },
  })
  return results[0]?.errorCode
}

describe('tools', () => {
  test('see what is usual, what was set, and where it comes from', async () => {
    expect(await settingOf('g', 'consumer.session.timeout.ms')).toBe(String(CONSUMER_SESSION_MS))
    expect(await alter('consumer.session.timeout.ms', '60000')).toBe(ERROR.NONE)
    const set = (await configsOf('g')).find(({ name }) => name === 'consumer.session.timeout.ms')
    expect(set).toMatchObject({ value: '60000', source: 8, readOnly: false })
    expect(set?.synonyms.map(({ value, source }) => [value, source])).toEqual([
      ['60000', 8],
      [String(CONSUMER_SESSION_MS), 5],
    ])
    expect(await settingOf('other', 'consumer.session.timeout.ms')).toBe(
      String(CONSUMER_SESSION_MS),
    )
    expect(await alter('consumer.session.timeout.ms', null)).toBe(ERROR.NONE)
    expect(await settingOf('g', 'consumer.session.timeout.ms')).toBe(String(CONSUMER_SESSION_MS))
  })

  test('find the groups of which something was set', async () => {
    await alter('share.auto.offset.reset', 'latest')
    const { errorCode, configResources } = await client.ask(LIST_CONFIG_RESOURCES, 1, {
      resourceTypes: [GROUP],
    })
    expect({ errorCode, configResources }).toEqual({
      ...{ errorCode: ERROR.NONE, configResources: [{ name: 'g', type: GROUP }] },
    })
  })

  test('set all of them anew', async () => {
    await alter('share.auto.offset.reset', 'latest')
    const { results } = await client.ask(ALTER_CONFIGS, 2, {
      resources: [
        {
          ...{ resourceType: GROUP, resourceName: 'g' },
          configs: [{ name: 'share.record.lock.duration.ms', value: '5000' }],
        },
      ],
      validateOnly: false,
    })
    expect(results[0]?.errorCode).toBe(ERROR.NONE)
    expect(await settingOf('g', 'share.record.lock.duration.ms')).toBe('5000')
    expect(await settingOf('g', 'share.auto.offset.reset')).toBe('earliest')
  })

  test.each([
    ['no.such.setting', '1'],
    ['share.auto.offset.reset', 'somewhere'],
    ['consumer.session.timeout.ms', 'soon'],
    ['consumer.session.timeout.ms', '10'],
    ['share.record.lock.duration.ms', '999999999'],
    // Not below the session.
    ['consumer.heartbeat.interval.ms', String(CONSUMER_SESSION_MS)],
  ])('are refused %s=%s, and nothing changes', async (name, value) => {
    const before = await configsOf('g')
    expect(await alter(name, value)).toBe(ERROR.INVALID_CONFIG)
    expect(await configsOf('g')).toEqual(before)
  })

  test('are refused what is for lists, a group without a name, and the same setting twice', async () => {
    expect(await alter('share.auto.offset.reset', 'latest', { operation: APPEND })).toBe(
      ERROR.INVALID_CONFIG,
    )
    const one = { name: 'share.auto.offset.reset', operation: SET, value: 'latest' }
    const asked = (resourceName: string, configs: (typeof one)[]) =>
      client.ask(INCREMENTAL_ALTER_CONFIGS, 1, {
        resources: [{ resourceType: GROUP, resourceName, configs }],
        validateOnly: false,
      })
    expect((await asked('', [one])).results[0]?.errorCode).toBe(ERROR.INVALID_CONFIG)
    expect((await asked('g', [one, one])).results[0]?.errorCode).toBe(ERROR.INVALID_CONFIG)
  })

  test('that only ask whether it could be change nothing', async () => {
    const configs = [{ name: 'share.auto.offset.reset', operation: SET, value: 'latest' }]
    const resources = [{ resourceType: GROUP, resourceName: 'g', configs }]
    const { results } = await client.ask(INCREMENTAL_ALTER_CONFIGS, 1, {
      ...{ resources, validateOnly: true },
    })
    expect(results[0]?.errorCode).toBe(ERROR.NONE)
    expect(await settingOf('g', 'share.auto.offset.reset')).toBe('earliest')
  })
})

describe('members', () => {
  async function join(memberId: string) {
    return await client.ask(CONSUMER_GROUP_HEARTBEAT, 1, {
      ...{ groupId: 'g', memberId, memberEpoch: 0, instanceId: null, rackId: null },
      ...{ rebalanceTimeoutMs: 60_000, subscribedTopicNames: ['orders'] },
      ...{ subscribedTopicRegex: null, serverAssignor: null, topicPartitions: [] },
    })
  }

  async function members(): Promise<number | undefined> {
    const { groups } = await client.ask(CONSUMER_GROUP_DESCRIBE, 1, {
      ...{ groupIds: ['g'], includeAuthorizedOperations: false },
    })
    return groups[0]?.members.length
  }

  test('heartbeat as the group says, and go when its time is over', async () => {
    expect((await join('m')).heartbeatIntervalMs).toBe(CONSUMER_HEARTBEAT_MS)
    await alter('consumer.heartbeat.interval.ms', '500')
    await alter('consumer.session.timeout.ms', '1500')
    expect((await join('n')).heartbeatIntervalMs).toBe(500)
    expect(await members()).toBe(2)
    await bench.logs.clock.advance(1_500)
    await settle()
    // The other one had its last heartbeat before.
    expect(await members()).toBe(1)
  })

  test('of share groups are told how long a record is theirs, and it is so', async () => {
    const { topics } = bench.services
    const topic = topics.get('orders')
    const served = topic && (await topics.serve(topic, 0))
    await served?.append(batchOf(['before']))
    await alter('share.auto.offset.reset', 'latest')
    await alter('share.record.lock.duration.ms', '2000')
    await alter('share.heartbeat.interval.ms', '700')
    const beat = await client.ask(SHARE_GROUP_HEARTBEAT, 1, {
      ...{ groupId: 'g', memberId: 'm', memberEpoch: 0, rackId: null },
      subscribedTopicNames: ['orders'],
    })
    expect(beat.heartbeatIntervalMs).toBe(700)
    const fetch = (shareSessionEpoch: number) =>
      client.ask(SHARE_FETCH, 2, {
        ...{ groupId: 'g', memberId: 'm', shareSessionEpoch, maxWaitMs: 0, minBytes: 1 },
        ...{ maxBytes: 1_000_000, maxRecords: 500, batchSize: 500, shareAcquireMode: 0 },
        ...{ isRenewAck: false, forgottenTopicsData: [] },
        topics: [
          {
            topicId: bench.topicId('orders'),
            partitions: [{ index: 0, acknowledgementBatches: [] }],
          },
        ],
      })
    const acquired = async (epoch: number) => {
      const { acquisitionLockTimeoutMs, topics: answered } = await fetch(epoch)
      expect(acquisitionLockTimeoutMs).toBe(2_000)
      return answered[0]?.partitions[0]?.acquiredRecords ?? []
    }
    // It begins at the end.
    expect(await acquired(0)).toEqual([])
    await served?.append(batchOf(['after']))
    expect(await acquired(1)).toMatchObject([{ firstOffset: 1, deliveryCount: 1 }])
    expect(await acquired(2)).toEqual([])
    await bench.logs.clock.advance(2_000)
    await settle()
    expect(await acquired(3)).toMatchObject([{ firstOffset: 1, deliveryCount: 2 }])
  })
})
