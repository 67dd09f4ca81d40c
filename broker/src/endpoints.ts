/** Where this broker is reached: ports that are chosen before they are open, and what others are told. */
import { createServer } from 'node:net'
import type { BrokerConfig, HostPort } from './config.ts'
import { kafkaPorts } from './kafka.ts'
import { mqttPorts, VERSION } from './mqtt.ts'
import { sqsPorts } from './sqs.ts'

export function registrationOf(config: BrokerConfig, nodeId: string) {
  const host = config.advertiseHost
  const grpcPort = config.advertiseGrpcPort ?? config.grpcPort
  const { kafkaAdvertise: kafka, kafkaTlsAdvertise: kafkas } = config
  const advertised: Readonly<Record<string, HostPort | undefined>> = { kafka, kafkas }
  return {
    clusterId: '',
    nodeId,
    version: VERSION,
    grpcAddress: `${host}:${grpcPort}`,
    endpoints: [
      ...Object.entries(clientPorts(config)).flatMap(([protocol, port]) =>
        port === undefined ? [] : [{ protocol, host, port, ...advertised[protocol] }],
      ),
      { protocol: 'grpc', host, port: grpcPort },
      ...(config.httpPort === undefined ? [] : [{ protocol: 'http', host, port: config.httpPort }]),
    ],
  }
}

function clientPorts(config: BrokerConfig) {
  return { ...mqttPorts(config), ...sqsPorts(config), ...kafkaPorts(config) }
}

/** Others are told the ports before they are open, so a free one is chosen first. */
export async function withPorts(config: BrokerConfig): Promise<BrokerConfig> {
  const chosen = async <P extends number | undefined>(port: P): Promise<P> =>
    port === 0 ? ((await freePort(config.host)) as P) : port
  return {
    ...config,
    mqttPort: await chosen(config.mqttPort),
    mqttTlsPort: await chosen(config.mqttTlsPort),
    webSocketPort: await chosen(config.webSocketPort),
    webSocketTlsPort: await chosen(config.webSocketTlsPort),
    sqsPort: await chosen(config.sqsPort),
    sqsTlsPort: await chosen(config.sqsTlsPort),
    kafkaPort: await chosen(config.kafkaPort),
    kafkaTlsPort: await chosen(config.kafkaTlsPort),
    grpcPort: await chosen(config.grpcPort),
    httpPort: await chosen(config.httpPort),
  }
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, host, () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}
