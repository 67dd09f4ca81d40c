# What kafka-python does against a cluster of three. One line on stdout for each scenario; see ../suite.ts.
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

logging.disable(logging.CRITICAL)

BROKERS = sys.argv[1].split(",")
WAIT_S = 40


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def create(topic, partitions):
    client = KafkaAdminClient(bootstrap_servers=BROKERS)
    client.create_topics([NewTopic(topic, partitions, -1)])
    client.close()


def send(producer, topic, values):
    sent = [producer.send(topic, str(value).encode(), key=b"k%d" % (value % 7)) for value in values]
    producer.flush(WAIT_S)
    for one in sent:
        one.get(WAIT_S)


def reader(topic):
    return KafkaConsumer(
        topic,
        bootstrap_servers=BROKERS,
        group_id=topic,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=1000,
    )


def read(count, consumers):
    values = []
    end = time.monotonic() + WAIT_S
    while len(values) < count and time.monotonic() < end:
        for consumer in consumers:
            for records in consumer.poll(100).values():
                values += [int(record.value) for record in records]
    return sorted(values)


def share(partitions, consumers):
    """Until each has some of the partitions and all are given out. Each joins in a thread of its own: one that waits for
    the others must not keep them from coming."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        with ThreadPoolExecutor(len(consumers)) as threads:
            list(threads.map(lambda consumer: consumer.poll(1000), consumers))
        parts = [len(consumer.assignment()) for consumer in consumers]
        if sum(parts) == partitions and 0 not in parts:
            return
    raise AssertionError("the partitions were not shared")


def produce_and_consume():
    topic = "python-group"
    create(topic, 4)
    both = [reader(topic), reader(topic)]
    share(4, both)
    producer = KafkaProducer(bootstrap_servers=BROKERS, enable_idempotence=True, acks="all")
    send(producer, topic, range(300))
    expect(read(300, both) == list(range(300)), "not each record once")
    for consumer in both:
        consumer.commit()
    positions = [consumer.committed(partition) for consumer in both for partition in consumer.assignment()]
    expect(sum(position or 0 for position in positions) == 300, positions)
    for consumer in both:
        consumer.close()
    producer.close()


def compressed():
    topic = "python-compressed"
    create(topic, 1)
    for at, kind in enumerate(("gzip", "lz4")):
        producer = KafkaProducer(bootstrap_servers=BROKERS, compression_type=kind)
        send(producer, topic, range(at * 100, at * 100 + 100))
        producer.close()
    consumer = reader(topic)
    expect(read(200, [consumer]) == list(range(200)), "not what was sent")
    consumer.close()


def administration():
    topic = "python-admin"
    create(topic, 2)
    client = KafkaAdminClient(bootstrap_servers=BROKERS)
    client.create_partitions({topic: 3})
    (described,) = client.describe_topics([topic])
    expect(len(described["partitions"]) == 3, described)
    producer = KafkaProducer(bootstrap_servers=BROKERS)
    for value in range(10):
        producer.send(topic, str(value).encode(), partition=0).get(WAIT_S)
    producer.close()
    client.delete_records({TopicPartition(topic, 0): 4})
    consumer = reader(topic)
    expect(read(6, [consumer]) == list(range(4, 10)), "not the six that are left")
    consumer.commit()
    consumer.close()
    offsets = client.list_group_offsets(topic)[topic]
    expect(offsets[TopicPartition(topic, 0)].offset == 10, offsets)
    client.delete_groups([topic])
    client.delete_topics([topic])
    expect(topic not in client.list_topics(), "it is there")
    client.close()


def broker_killed():
    topic = "python-killed"
    create(topic, 6)
    consumer = reader(topic)
    producer = KafkaProducer(bootstrap_servers=BROKERS, enable_idempotence=True, acks="all")
    send(producer, topic, range(200))
    expect(read(200, [consumer]) == list(range(200)), "not the first half")
    consumer.commit()
    print("await-kill", flush=True)
    sys.stdin.readline()
    send(producer, topic, range(200, 400))
    got = read(200, [consumer])
    expect(got == list(range(200, 400)), f"{len(got)} of the second half")
    consumer.close()
    producer.close()


SCENARIOS = {
    "produce and consume": produce_and_consume,
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
