# What confluent-kafka (librdkafka) does against a cluster of three. One line on stdout for each scenario; see ../suite.ts.
import logging
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

BROKERS = sys.argv[1]
WAIT_S = 40
LOGGER = logging.getLogger("librdkafka")
LOGGER.addHandler(logging.NullHandler())
LOGGER.propagate = False


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def settings(**more):
    quiet = {"bootstrap.servers": BROKERS, "logger": LOGGER, "error_cb": lambda _error: None}
    return {**quiet, **{name.replace("_", "."): value for name, value in more.items()}}


ADMIN = AdminClient(settings())


def done(futures):
    return {what: future.result(WAIT_S) for what, future in futures.items()}


def create(topic, partitions):
    done(ADMIN.create_topics([NewTopic(topic, partitions)]))


def send(producer, topic, values):
    errors = []
    for value in values:
        producer.produce(topic, str(value), key=f"k{value % 7}", callback=lambda error, _message: errors.append(error))
    producer.flush(WAIT_S)
    expect(errors == [None] * len(values), [error for error in errors if error is not None])


def reader(group, protocol="classic"):
    more = {} if protocol == "consumer" else {"session_timeout_ms": 6000}
    return Consumer(
        settings(group_id=group, group_protocol=protocol, auto_offset_reset="earliest", enable_auto_commit=False, **more)
    )


def read(count, consumers, wait=WAIT_S):
    values = []
    end = time.monotonic() + wait
    while len(values) < count and time.monotonic() < end:
        for consumer in consumers:
            for message in consumer.consume(100, 0.1):
                if message.error() is None:
                    values.append(int(message.value()))
    return sorted(values)


def share(partitions, consumers):
    """Until each has some of the partitions and all are given out."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        for consumer in consumers:
            consumer.poll(0.05)
        parts = [len(consumer.assignment()) for consumer in consumers]
        if sum(parts) == partitions and 0 not in parts:
            return
    raise AssertionError("the partitions were not shared")


def group(protocol):
    name = "confluent-" + protocol
    create(name, 6)
    both = [reader(name, protocol), reader(name, protocol)]
    for consumer in both:
        consumer.subscribe([name])
    share(6, both)
    producer = Producer(settings(enable_idempotence=True))
    send(producer, name, range(500))
    expect(read(500, both) == list(range(500)), "not each record once")
    for consumer in both:
        consumer.commit(asynchronous=False)
    both[0].close()
    share(6, both[1:])
    send(producer, name, range(500, 600))
    expect(read(100, both[1:]) == list(range(500, 600)), "not what was sent afterwards")
    both[1].commit(asynchronous=False)
    (future,) = ADMIN.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)]).values()
    committed = sum(one.offset for one in future.result(WAIT_S).topic_partitions)
    expect(committed == 600, f"{committed} committed")
    both[1].close()
    (described,) = done(ADMIN.describe_consumer_groups([name])).values()
    expect(described.group_id == name and described.members == [], described.members)


def transactions():
    source, sink = "confluent-in", "confluent-out"
    create(source, 1)
    create(sink, 3)
    send(Producer(settings()), source, range(100))
    consumer = reader("confluent-mover")
    consumer.subscribe([source])
    taken = read(100, [consumer])
    producer = Producer(settings(transactional_id="confluent-mover"))
    producer.init_transactions(WAIT_S)
    producer.begin_transaction()
    for value in taken:
        producer.produce(sink, "-1", key=str(value))
    producer.flush(WAIT_S)
    producer.abort_transaction(WAIT_S)
    producer.begin_transaction()
    for value in taken:
        producer.produce(sink, str(value), key=str(value))
    producer.send_offsets_to_transaction(
        [TopicPartition(source, 0, 100)], consumer.consumer_group_metadata(), WAIT_S
    )
    producer.commit_transaction(WAIT_S)
    committed = reader("confluent-sink")
    committed.subscribe([sink])
    expect(read(100, [committed]) == list(range(100)), "not what was committed")
    (position,) = consumer.committed([TopicPartition(source, 0)], WAIT_S)
    expect(position.offset == 100, position)
    following = Producer(settings(transactional_id="confluent-mover"))
    following.init_transactions(WAIT_S)
    try:
        producer.begin_transaction()
        producer.produce(sink, "-2")
        producer.commit_transaction(WAIT_S)
        raise AssertionError("the producer before was not fenced")
    except KafkaException as error:
        expect(error.args[0].fatal(), error)
    for one in (consumer, committed):
        one.close()


def compressed():
    topic = "confluent-compressed"
    create(topic, 1)
    kinds = ("gzip", "snappy", "lz4", "zstd")
    for at, kind in enumerate(kinds):
        send(Producer(settings(compression_type=kind)), topic, range(at * 100, at * 100 + 100))
    consumer = reader(topic)
    consumer.subscribe([topic])
    expect(read(400, [consumer]) == list(range(400)), "not what was sent")
    consumer.close()


def administration():
    topic = "confluent-admin"
    client = ADMIN
    create(topic, 2)
    done(client.create_partitions([NewPartitions(topic, 3)]))
    expect(len(client.list_topics(topic, WAIT_S).topics[topic].partitions) == 3, "not 3 partitions")
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    entry = ConfigEntry("retention.ms", "123456", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    done(client.incremental_alter_configs([change]))
    (configs,) = done(client.describe_configs([resource])).values()
    expect(configs["retention.ms"].value == "123456", configs["retention.ms"])
    producer = Producer(settings())
    for value in range(10):
        producer.produce(topic, str(value), partition=0)
    producer.flush(WAIT_S)
    done(client.delete_records([TopicPartition(topic, 0, 4)]))
    (earliest,) = done(client.list_offsets({TopicPartition(topic, 0): OffsetSpec.earliest()})).values()
    expect(earliest.offset == 4, earliest.offset)
    consumer = reader(topic)
    consumer.subscribe([topic])
    expect(read(6, [consumer]) == list(range(4, 10)), "not the six that are left")
    consumer.commit(asynchronous=False)
    consumer.close()
    groups = [one.group_id for one in client.list_consumer_groups().result(WAIT_S).valid]
    expect(topic in groups, groups)
    done(client.delete_consumer_groups([topic]))
    expect(len(client.describe_cluster().result(WAIT_S).nodes) == 3, "not three brokers")
    done(client.delete_topics([topic]))
    expect(topic not in client.list_topics(timeout=WAIT_S).topics, "it is there")


def broker_killed():
    topic = "confluent-killed"
    create(topic, 6)
    consumer = reader(topic)
    consumer.subscribe([topic])
    producer = Producer(settings(enable_idempotence=True, delivery_timeout_ms=60000))
    send(producer, topic, range(200))
    expect(read(200, [consumer]) == list(range(200)), "not the first half")
    consumer.commit(asynchronous=False)
    print("await-kill", flush=True)
    sys.stdin.readline()
    send(producer, topic, range(200, 400))
    got = read(200, [consumer])
    expect(got == list(range(200, 400)), f"{len(got)} of the second half")
    consumer.close()


SCENARIOS = {
    "classic group": lambda: group("classic"),
    "consumer group of KIP-848": lambda: group("consumer"),
    "transactions": transactions,
    "compressed": compressed,
    "admin": administration,
    "broker killed": broker_killed,
}

# Who waits for the broker to be killed does so when all else is done.
for name in sorted(sys.argv[2:], key=lambda name: name == "broker killed"):
    try:
        SCENARIOS[name]()
        print("ok", name, flush=True)
    except Exception as error:
        print("not ok", name + ":", repr(error), flush=True)
