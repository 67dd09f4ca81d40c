// The peer "aedes": its MQTT broker over TCP with its own defaults. usage: node aedes-server.mjs PORT

import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const broker = await Aedes.createBroker()
createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
