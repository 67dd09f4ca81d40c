/** MQTT 5: every publisher waits for each acknowledgement; one durable session hears all of them. */
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { checkDeliveries } from '../checkers/deliveries.ts'
import type { Finding } from '../checkers/verdict.ts'
import type { HostPort } from '../control.ts'
import type { Delivery } from '../history.ts'
import {
  allServed,
  Sender,
  type StartWorkload,
  untilQuiet,
  type Workload,
  type WorkloadOptions,
  within,
} from './workload.ts'

const SESSION_SECONDS = 3_600
const STOP_MS = 30_000
const END_MS = 3_000

export const mqttQos1: StartWorkload = (options) => start(options, 1)
export const mqttQos2: StartWorkload = (options) => start(options, 2)

async function start({ endpoints, run, clients }: WorkloadOptions, qos: 1 | 2): Promise<Workload> {
  const root = `chaos/${run}/q${qos}`
  const deliveries: Delivery[] = []
  const reader = connect(endpoints.mqtt, 0, `${run}-q${qos}-reader`)
  reader.on('message', (topic, payload) => {
    const value = payload.toString()
    deliveries.push({ client: 'reader', value, atMs: performance.now(), stream: topic })
  })
  await reader.subscribeAsync(`${root}/#`, { qos })
  const names = Array.from({ length: clients }, (_, at) => `mqtt-q${qos}-${at + 1}`)
  const publishers = names.map((name, at) => connect(endpoints.mqtt, at, `${run}-${name}`))
  const senders = publishers.map(
    (publisher, at) =>
      new Sender(`${run}-${names[at]}`, async (value) => {
        await publisher.publishAsync(`${root}/${names[at]}`, value, { qos })
        return 'ok'
      }),
  )
  await allServed(senders)
  const ids = names.map((name) => `${run}-${name}`)
  return {
    clients: ids,
    get sends() {
      return senders.flatMap(({ sends }) => sends)
    },
    finish: async () => {
      const stopped = await Promise.all(senders.map((sender) => sender.stop(STOP_MS)))
      const stuck = ids.filter((_, at) => stopped[at] === false)
      const sends = senders.flatMap((sender) => sender.sends)
      const wanted = sends.filter(({ outcome }) => outcome === 'ok')
      const isComplete = (): boolean => {
        const seen = new Set(deliveries.map(({ value }) => value))
        return wanted.every(({ value }) => seen.has(value))
      }
      await untilQuiet(isComplete, () => deliveries.length)
      await Promise.all([reader, ...publishers].map(end))
      // What still waits was sent, whatever became of it.
      const pending = senders.flatMap((sender, at) =>
        stopped[at] === true ? [] : [`${ids[at]}-${sender.sends.length}`],
      )
      const known = [...sends, ...pending.map((value) => unknownSend(value))]
      const verdict = checkDeliveries(known, deliveries, { exactlyOnce: qos === 2, ordered: true })
      const waits = stuck.map((what): Finding => ({ kind: 'stuck', what }))
      return { ...verdict, findings: [...verdict.findings, ...waits] }
    },
    // The sessions ended with their clients.
    remove: () => Promise.resolve(),
  }
}

/** With its session, unless what it still waits for keeps it. */
async function end(client: MqttClient): Promise<void> {
  const properties = { sessionExpiryInterval: 0 }
  if (await within(client.endAsync(false, { properties }), END_MS)) return
  await client.endAsync(true)
}

function unknownSend(value: string) {
  const client = value.slice(0, value.lastIndexOf('-'))
  return { client, value, startedMs: 0, endedMs: 0, outcome: 'unknown' } as const
}

/** Begins at one broker, and goes on to the next when it loses it. */
function connect(brokers: readonly HostPort[], first: number, clientId: string): MqttClient {
  const at = first % brokers.length
  const servers = [...brokers.slice(at), ...brokers.slice(0, at)]
  const options: IClientOptions = {
    ...{ servers: servers.map(({ host, port }) => ({ host, port, protocol: 'mqtt' })) },
    ...{ clientId, protocolVersion: 5, clean: false, keepalive: 2 },
    ...{ reconnectPeriod: 100, connectTimeout: 1_000 },
    // Without it a client that a draining broker has refused once does not try any other.
    reconnectOnConnackError: true,
    properties: { sessionExpiryInterval: SESSION_SECONDS },
  }
  const client = mqtt.connect(options)
  client.on('error', () => undefined)
  return client
}
