/** What operators ask of this broker, on the wire. */
import { type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js'
import type { admin } from '@robust/proto'
import { BrokerError } from '../core/errors.ts'
import type { PartitionStatus, TopicReader, TopicRecord } from '../core/topics/topic-reader.ts'

export interface AdminOptions {
  readonly self: string
  readonly topics: TopicReader
}

const RECORDS_DEFAULT = 100
const RECORDS_MAX = 10_000

export function createAdminService({ self, topics }: AdminOptions): admin.BrokerAdminServer {
  return {
    describeTopic: answering(async ({ tenant, name }: admin.DescribeTopicRequest) => {
      const partitions = await topics.describe(tenant, name)
      return { nodeId: self, partitions: partitions.map(toWirePartition) }
    }),
    readTopic: answering(async (request: admin.ReadTopicRequest) => {
      const recordsMax = Math.min(request.recordsMax || RECORDS_DEFAULT, RECORDS_MAX)
      const read = await topics.read(request, request.fromOffset, recordsMax)
      return { ...read, records: read.records.map(toWireRecord) }
    }),
  }
}

function answering<Request, Reply>(answer: (request: Request) => Promise<Reply>) {
  return (call: ServerUnaryCall<Request, Reply>, done: sendUnaryData<Reply>): void => {
    answer(call.request).then(
      (reply) => done(null, reply),
      (error: unknown) => {
        const isMissing = error instanceof BrokerError && error.code === 'NOT_FOUND'
        const code = isMissing ? status.NOT_FOUND : status.UNAVAILABLE
        done({ code, details: error instanceof Error ? error.message : String(error) })
      },
    )
  }
}

function toWirePartition({ report, ...partition }: PartitionStatus): admin.TopicPartition {
  return {
    ...partition,
    hasReport: report !== undefined,
    bytes: report?.bytes ?? 0,
    recordsPerSecond: report?.recordsPerSecond ?? 0,
    bytesPerSecond: report?.bytesPerSecond ?? 0,
  }
}

function toWireRecord({ offset, timestamp, key, value, address }: TopicRecord): admin.TopicRecord {
  return {
    ...{ offset, timestampMs: timestamp, address },
    ...(key !== null && { key }),
    ...(value !== null && { value }),
  }
}
