import './dbg-fake-placement.ts'
import { createLog, startBroker, parseBrokerConfig } from './src/index.ts'
import { createMemoryStorage } from '@robust/storage-adapters'
const port = process.argv[2]!
await new Promise((r) => setTimeout(r, 300))
await startBroker({ config: parseBrokerConfig(['--placement', '127.0.0.1:1228', '--storage', 'memory:', '--mqtt-port', port, '--grpc-port', '0', '--node-id', 'b1']), log: (n) => createLog(n, 'info'), storage: createMemoryStorage(), onFatal: console.error })
