/** Storage: the port, its adapters, the service that shares one, and Kafka record batches. */
export type { Capabilities } from './capabilities.ts'
export { parseStorageConfig, type StorageNodeConfig, UsageError } from './config.ts'
export { StorageError, type StorageErrorCode } from './errors.ts'
export { compareKeys, prefixEnd } from './key-order.ts'
export { type LevelDbStorageOptions, openLevelDbStorage } from './leveldb/leveldb-adapter.ts'
export { nameBytesMax } from './limits.ts'
export { storageMain } from './main.ts'
export { createMemoryStorage, type MemoryStorageOptions } from './memory/memory-adapter.ts'
export { openStorageForReading } from './open-for-reading.ts'
export { type OpenStorageOptions, openStorage } from './open-storage.ts'
export {
  type CompactedBatchOptions,
  decodeRecordBatch,
  type EncodeOptions,
  encodeCompactedBatch,
  encodeRecordBatch,
  type NewRecord,
  type RecordHeader,
  type StoredRecord,
} from './record-batch/codec.ts'
export { crc32c } from './record-batch/crc32c.ts'
export { openRecordBatch } from './record-batch/open-batch.ts'
export {
  attributes,
  baseOffset,
  baseSequence,
  baseTimestamp,
  batchAttribute,
  batchBytes,
  batchHeaderBytes,
  batchLength,
  checkBatch,
  crc,
  lastOffsetDelta,
  leaderEpoch,
  magic,
  maxTimestamp,
  nextOffset,
  producerEpoch,
  producerId,
  RecordBatchError,
  type RecordBatchFault,
  recordCount,
  setAppendTime,
  setBaseOffset,
  setLeaderEpoch,
} from './record-batch/record-batch.ts'
export { purgeRedis } from './redis/purge.ts'
export { openRedisStorage, type RedisStorageOptions } from './redis/redis-adapter.ts'
export { parseRedisUrl, type RedisTarget } from './redis/redis-url.ts'
export { connectRemoteStorage, type RemoteStorageOptions } from './remote/remote-adapter.ts'
export {
  type StorageNode,
  type StorageNodeOptions,
  startStorageNode,
} from './service/storage-node.ts'
export {
  createStorageService,
  type StorageService,
  type StorageServiceOptions,
} from './service/storage-service.ts'
export type {
  AdoptRequest,
  CommitRequest,
  KeyValue,
  LogInfo,
  OpenRequest,
  OpenResult,
  Operation,
  ReadRequest,
  ReadResult,
  ScanRequest,
  ShardCheck,
  ShardStats,
  StorageAdapter,
} from './storage-adapter.ts'
export { isSharedStorage, withoutPasswords } from './storage-url.ts'
export { checkByReads } from './transfer/check-by-reads.ts'
export { decodeFrames, encodeFrames, type Frame } from './transfer/export-file.ts'
export {
  exportFrames,
  type ImportOptions,
  importFrames,
  nothingTransferred,
  type Transferred,
} from './transfer/transfer.ts'
