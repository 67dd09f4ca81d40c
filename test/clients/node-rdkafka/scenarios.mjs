// What node-rdkafka (librdkafka in Node) does against a cluster of three. One line on stdout for each scenario; see
// ../suite.ts.
import { strict as assert } from 'node:assert'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const [, , MODULE, BROKERS, ...wanted] = process.argv
const Kafka = createRequire(import.meta.url)(MODULE)
const WAIT_MS = 40_000
const CODES = Kafka.CODES.ERRORS

function settings(more = {}) {
  return { 'metadata.broker.list': BROKERS, ...more }
}

/** Calls a method that ends with a callback. */
function called(object, method, ...args) {
  return new Promise((resolve, reject) => {
    object[method](...args, (error, value) => (error ? reject(error) : resolve(value)))
  })
}

const ADMIN = Kafka.AdminClient.create(settings())

function create(topic, partitions) {
  return called(ADMIN, 'createTopic', { topic, num_partitions: partitions, replication_factor: 1 })
}

async function connected(client) {
  client.on('event.error', () => undefined)
  await called(client, 'connect', {})
  return client
}

const producer = (more) => connected(new Kafka.HighLevelProducer(settings(more), {}))

/** Resolves to the offsets that were acknowledged. */
async function send(client, topic, values) {
  const sent = values.map((value) =>
    called(client, 'produce', topic, null, Buffer.from(String(value)), `k${value % 7}`, Date.now()),
  )
  return Promise.all(sent)
}

async function reader(group, topic) {
  const given = { 'group.id': group, 'enable.auto.commit': false, 'session.timeout.ms': 6_000 }
  const consumer = new Kafka.KafkaConsumer(settings(given), { 'auto.offset.reset': 'earliest' })
  await connected(consumer)
  consumer.setDefaultConsumeTimeout(200)
  consumer.subscribe([topic])
  return consumer
}

async function read(count, consumer) {
  const values = []
  const end = Date.now() + WAIT_MS
  while (values.length < count && Date.now() < end) {
    const messages = await called(consumer, 'consume', 100).catch(() => [])
    for (const { value } of messages) values.push(Number(value))
  }
  return values.sort((one, other) => one - other)
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, at) => from + at)
const close = (...clients) => Promise.all(clients.map((client) => called(client, 'disconnect')))

async function produceAndConsume() {
  const topic = 'rdkafka-plain'
  await create(topic, 6)
  const client = await producer({ 'enable.idempotence': true })
  const offsets = await send(client, topic, numbers(0, 500))
  assert.ok(offsets.every((offset) => offset >= 0))
  const headers = [{ kind: 'headed' }, { kind: 'twice' }]
  await called(client, 'produce', topic, 0, Buffer.from('500'), 'key', Date.now(), headers)
  const consumer = await reader(topic, topic)
  const seen = []
  consumer.on('data', (message) => seen.push(message))
  assert.deepEqual(await read(501, consumer), numbers(0, 501))
  const headed = seen.find(({ value }) => String(value) === '500')
  assert.deepEqual(
    headed.headers.map(({ kind }) => String(kind)),
    ['headed', 'twice'],
  )
  consumer.commitSync()
  const stored = await called(consumer, 'committed', null, WAIT_MS)
  assert.equal(
    stored.reduce((sum, { offset }) => sum + offset, 0),
    501,
  )
  const watermarks = await called(consumer, 'queryWatermarkOffsets', topic, 0, WAIT_MS)
  assert.equal(watermarks.lowOffset, 0)
  await close(client, consumer)
}

async function transactions() {
  const [source, sink] = ['rdkafka-in', 'rdkafka-out']
  await create(source, 1)
  await create(sink, 3)
  const plain = await producer()
  await send(plain, source, numbers(0, 100))
  const consumer = await reader('rdkafka-mover', source)
  const taken = await read(100, consumer)
  const mover = () =>
    connected(new Kafka.Producer(settings({ 'transactional.id': 'rdkafka-mover' })))
  const client = await mover()
  await called(client, 'initTransactions', WAIT_MS)
  await called(client, 'beginTransaction')
  for (const value of taken) client.produce(sink, null, Buffer.from('-1'), String(value))
  await called(client, 'flush', WAIT_MS)
  await called(client, 'abortTransaction', WAIT_MS)
  await called(client, 'beginTransaction')
  for (const value of taken) client.produce(sink, null, Buffer.from(String(value)), String(value))
  const position = [{ topic: source, partition: 0, offset: 100 }]
  await called(client, 'sendOffsetsToTransaction', position, consumer, WAIT_MS)
  await called(client, 'commitTransaction', WAIT_MS)
  const committed = await reader('rdkafka-sink', sink)
  assert.deepEqual(await read(100, committed), numbers(0, 100))
  const [stored] = await called(consumer, 'committed', null, WAIT_MS)
  assert.equal(stored.offset, 100)
  const following = await mover()
  await called(following, 'initTransactions', WAIT_MS)
  const fenced = await called(client, 'beginTransaction')
    .then(() => client.produce(sink, null, Buffer.from('-2')))
    .then(() => called(client, 'commitTransaction', WAIT_MS))
    .catch((error) => error)
  assert.ok(fenced?.isFatal, `the producer before was not fenced: ${fenced}`)
  await close(plain, consumer, committed, following)
}

async function compressed() {
  const topic = 'rdkafka-compressed'
  await create(topic, 1)
  for (const [at, codec] of ['gzip', 'snappy', 'lz4', 'zstd'].entries()) {
    const client = await producer({ 'compression.codec': codec })
    await send(client, topic, numbers(at * 100, at * 100 + 100))
    await close(client)
  }
  const consumer = await reader(topic, topic)
  assert.deepEqual(await read(400, consumer), numbers(0, 400))
  await close(consumer)
}

/** Node's own streams, the way this library is used most. */
async function streams() {
  const topic = 'rdkafka-streams'
  await create(topic, 3)
  const writable = Kafka.Producer.createWriteStream(settings(), {}, { topic })
  for (const value of numbers(0, 200)) {
    if (!writable.write(Buffer.from(String(value)))) {
      await new Promise((resolve) => writable.once('drain', resolve))
    }
  }
  await new Promise((resolve) => writable.end(resolve))
  const given = settings({ 'group.id': topic, 'enable.auto.commit': false })
  const readable = Kafka.KafkaConsumer.createReadStream(
    given,
    { 'auto.offset.reset': 'earliest' },
    { topics: [topic], streamAsBatch: false },
  )
  const values = []
  for await (const { value } of readable) {
    values.push(Number(value))
    if (values.length === 200) break
  }
  assert.deepEqual(
    values.sort((one, other) => one - other),
    numbers(0, 200),
  )
}

async function administration() {
  const topic = 'rdkafka-admin'
  await create(topic, 2)
  await called(ADMIN, 'createPartitions', topic, 3)
  await assert.rejects(create(topic, 2), { code: CODES.ERR_TOPIC_ALREADY_EXISTS })
  const client = await producer()
  const { topics, brokers } = await called(client, 'getMetadata', { topic, timeout: WAIT_MS })
  assert.equal(topics.find(({ name }) => name === topic).partitions.length, 3)
  assert.equal(brokers.length, 3)
  await called(ADMIN, 'deleteTopic', topic)
  await assert.rejects(called(ADMIN, 'deleteTopic', topic), {
    code: CODES.ERR_UNKNOWN_TOPIC_OR_PART,
  })
  await close(client)
}

async function brokerKilled() {
  const topic = 'rdkafka-killed'
  await create(topic, 6)
  const consumer = await reader(topic, topic)
  const client = await producer({ 'enable.idempotence': true, 'delivery.timeout.ms': 60_000 })
  await send(client, topic, numbers(0, 200))
  assert.deepEqual(await read(200, consumer), numbers(0, 200))
  consumer.commitSync()
  process.stdout.write('await-kill\n')
  await new Promise((resolve) => createInterface({ input: process.stdin }).once('line', resolve))
  await send(client, topic, numbers(200, 400))
  assert.deepEqual(await read(200, consumer), numbers(200, 400))
  await close(client, consumer)
}

const SCENARIOS = {
  'produce and consume': produceAndConsume,
  ...{ transactions, compressed, streams },
  admin: administration,
  'broker killed': brokerKilled,
}

// Who waits for the broker to be killed does so when all else is done.
const last = (name) => Number(name === 'broker killed')
for (const name of wanted.sort((one, other) => last(one) - last(other))) {
  try {
    await SCENARIOS[name]()
    process.stdout.write(`ok ${name}\n`)
  } catch (error) {
    const reason = (error instanceof Error ? error.stack : String(error)) ?? ''
    process.stdout.write(`not ok ${name}: ${reason.split('\n').slice(0, 3).join(' | ')}\n`)
  }
}
// Clients that were fenced, or failed, keep their threads.
process.exit()
