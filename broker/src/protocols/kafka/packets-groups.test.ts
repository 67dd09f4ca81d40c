// Against another implementation: what @platformatic/kafka encodes of groups, in the newest versions that it knows, is
// read here, and written again the same.

import * as platformatic from '@platformatic/kafka'
import { describe, expect, test } from 'vitest'
import { ByteReader } from '../shared/byte-reader.ts'
import { isFlexible } from './codec/api.ts'
import { encode } from './codec/wire-types.ts'
import { APIS, decodeBody, encodeResponse } from './packets.ts'

interface Theirs {
  createRequest(...args: unknown[]): { readonly buffer: Buffer }
  parseResponse(correlationId: number, key: number, version: number, reader: unknown): unknown
}

const all = platformatic as unknown as Readonly<Record<string, Theirs>>
const Reader = (platformatic as unknown as { Reader: { from(bytes: Buffer): unknown } }).Reader

const ID = '00000000-0000-0000-0000-00000000002a'
const HEX = ID.replaceAll('-', '')
const member = { memberId: 'm', groupInstanceId: 'one' }
const bytes = Buffer.from([1, 2])

const requests: readonly (readonly [name: string, args: readonly unknown[], wanted: object])[] = [
  [
    'JoinGroup 9',
    ['g', 6_000, 9_000, 'm', 'one', 'consumer', [{ name: 'range', metadata: bytes }], 'why'],
    { ...member, reason: 'why', protocols: [{ name: 'range', metadata: bytes }] },
  ],
  [
    'SyncGroup 5',
    ['g', 4, 'm', 'one', 'consumer', 'range', [{ memberId: 'm', assignment: bytes }]],
    { ...member, generationId: 4, protocolName: 'range', assignments: [{ assignment: bytes }] },
  ],
  ['Heartbeat 4', ['g', 4, 'm', 'one'], { ...member, groupId: 'g', generationId: 4 }],
  [
    'LeaveGroup 5',
    ['g', [{ ...member, reason: 'bye' }]],
    { members: [{ ...member, reason: 'bye' }] },
  ],
  [
    'OffsetCommit 9',
    [
      ...['g', 4, 'm', 'one'],
      [
        {
          name: 'orders',
          partitions: [
            {
              ...{ partitionIndex: 3, committedOffset: 5_000_000_000n, committedLeaderEpoch: 7 },
              committedMetadata: 'so far',
            },
          ],
        },
      ],
    ],
    {
      topics: [
        { name: 'orders', partitions: [{ index: 3, offset: 5_000_000_000, metadata: 'so far' }] },
      ],
    },
  ],
  [
    'OffsetFetch 9',
    [
      [
        {
          ...{ groupId: 'g', memberId: 'm', memberEpoch: 2 },
          topics: [{ name: 'orders', partitionIndexes: [3] }],
        },
      ],
      true,
    ],
    { groups: [{ memberId: 'm', memberEpoch: 2, topics: [{ partitions: [3] }] }] },
  ],
  ['FindCoordinator 6', [0, ['g', 'h']], { keyType: 0, keys: ['g', 'h'] }],
  ['DescribeGroups 5', [['g'], true], { groups: ['g'], includeAuthorizedOperations: true }],
  [
    'ListGroups 5',
    [['STABLE'], ['consumer']],
    { statesFilter: ['STABLE'], typesFilter: ['consumer'] },
  ],
  ['DeleteGroups 2', [['g']], { groups: ['g'] }],
  [
    'ConsumerGroupHeartbeat 1',
    [
      'g',
      'm',
      2,
      'one',
      null,
      -1,
      ['orders'],
      'o.*',
      'uniform',
      [{ topicId: ID, partitions: [3] }],
    ],
    {
      ...{ memberEpoch: 2, instanceId: 'one', rackId: null, subscribedTopicRegex: 'o.*' },
      topicPartitions: [{ topicId: HEX, partitions: [3] }],
    },
  ],
  ['ConsumerGroupDescribe 0', [['g'], true], { groupIds: ['g'] }],
]

function spoken(named: string) {
  const [name = '', version = ''] = named.split(' ')
  const api = APIS.find((one) => one.name === name)
  const theirs = all[`${name.charAt(0).toLowerCase()}${name.slice(1)}V${version}`]
  if (api === undefined || theirs === undefined) throw new Error(`no ${named}`)
  return { api, theirs, version: Number(version) }
}

test.each(requests)('%s as @platformatic/kafka asks it', (named, args, wanted) => {
  const { api, theirs, version } = spoken(named)
  const { buffer } = theirs.createRequest(...args)
  const reader = new ByteReader(buffer)
  const body = decodeBody(api, version, reader)
  expect(body).toMatchObject(wanted)
  expect(reader.remaining).toBe(0)
  const again = encode(api.request, body, { version, flexible: isFlexible(api, version) })
  expect(again.equals(buffer)).toBe(true)
})

const responses: readonly (readonly [name: string, body: object, wanted: object])[] = [
  [
    'JoinGroup 9',
    {
      ...{ throttleTimeMs: 0, errorCode: 0, generationId: 4, protocolType: 'consumer' },
      ...{ protocolName: 'range', leader: 'm', skipAssignment: true, memberId: 'm' },
      members: [{ ...member, metadata: bytes }],
    },
    { generationId: 4, skipAssignment: true, members: [{ memberId: 'm', metadata: bytes }] },
  ],
  [
    'ConsumerGroupHeartbeat 1',
    {
      ...{ throttleTimeMs: 0, errorCode: 0, errorMessage: null, memberId: 'm', memberEpoch: 2 },
      heartbeatIntervalMs: 2_000,
      assignment: { topicPartitions: [{ topicId: HEX, partitions: [3] }] },
    },
    { memberEpoch: 2, assignment: { topicPartitions: [{ topicId: ID, partitions: [3] }] } },
  ],
  [
    'ListGroups 5',
    {
      ...{ throttleTimeMs: 0, errorCode: 0 },
      groups: [
        { groupId: 'g', protocolType: 'consumer', groupState: 'Stable', groupType: 'Consumer' },
      ],
    },
    { groups: [{ groupId: 'g', groupState: 'Stable', groupType: 'Consumer' }] },
  ],
]

describe('answers', () => {
  test.each(responses)('%s as @platformatic/kafka reads it', (named, body, wanted) => {
    const { api, theirs, version } = spoken(named)
    const frame = encodeResponse({ api, version, correlationId: 7 }, body)
    // Behind the length, the correlation id and the tags of the header.
    const parsed = theirs.parseResponse(7, api.key, version, Reader.from(frame.subarray(9)))
    expect(parsed).toMatchObject(wanted)
  })
})
