// The peer "fauxqs": an SQS service in memory. usage: node fauxqs-server.mjs PORT

import { startFauxqs } from 'fauxqs'

await startFauxqs({ port: Number(process.argv[2]), host: '127.0.0.1', logger: false })
process.on('SIGTERM', () => process.exit(0))
