/** The broker's public face: as a process, and embedded. */
export { type Broker, type BrokerOptions, startBroker } from './broker.ts'
export { BROKER_USAGE, type BrokerConfig, parseBrokerConfig } from './config.ts'
export { shardOf } from './core/shard-hash.ts'
export { brokerMain } from './main.ts'
export { type BrokerLog, createLog } from './observability/log.ts'
export { hashPassword } from './security/password-hash.ts'
export { scramVerifiers } from './security/scram.ts'
