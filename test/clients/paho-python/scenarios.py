# What paho for Python does against a cluster of three. One line on stdout for each scenario; see ../suite.ts.
import queue
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOST = "127.0.0.1"
PORTS = [int(port) for port in sys.argv[1:4]]
PREFIX = "paho-python"
WAIT_S = 30


class Client:
    """Connected once; what comes is in a queue."""

    def __init__(self, broker, name="", version=mqtt.MQTTv5, expiry=0, clean=True, will=None):
        self.messages = queue.Queue()
        self.gone = threading.Event()
        self.connected = threading.Event()
        self.granted = threading.Event()
        self.session_present = None
        clean_session = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.client = mqtt.Client(client_id=name, protocol=version, **clean_session)
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self.gone.set()
        self.client.on_subscribe = lambda *_: self.granted.set()
        if will is not None:
            self.client.will_set(will, "gone", qos=1)
        more = {}
        if version == mqtt.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry
            more = {"clean_start": clean, "properties": properties}
        self.client.connect(HOST, PORTS[broker - 1], keepalive=30, **more)
        self.client.loop_start()
        expect(self.connected.wait(WAIT_S), "no CONNACK")

    def _on_connect(self, _client, _data, flags, code, *_):
        self.session_present = flags["session present"] == 1
        if code == 0:
            self.connected.set()

    def subscribe(self, topic, qos):
        self.granted.clear()
        self.client.subscribe(topic, qos)
        expect(self.granted.wait(WAIT_S), "no SUBACK")

    def publish(self, topic, text, qos=1, retain=False):
        info = self.client.publish(topic, text, qos=qos, retain=retain)
        info.wait_for_publish(WAIT_S)
        expect(info.is_published(), "not acknowledged")

    def take(self, count, wait=WAIT_S):
        end = time.monotonic() + wait
        taken = []
        while len(taken) < count and time.monotonic() < end:
            try:
                taken.append(self.messages.get(timeout=max(0.01, end - time.monotonic())))
            except queue.Empty:
                break
        return taken

    def drop(self):
        """Without a word, as a broken network does it."""
        self.client.loop_stop()
        self.client._sock_close()

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def texts(messages):
    return [message.payload.decode() for message in messages]


def qos_of(version, name):
    topic = f"{PREFIX}/{name}"
    subscriber = Client(2, version=version)
    subscriber.subscribe(topic + "/#", 2)
    publisher = Client(1, version=version)
    for qos in (0, 1, 2):
        publisher.publish(f"{topic}/{qos}", str(qos), qos)
    messages = subscriber.take(3)
    expect(sorted((m.topic[-1], m.qos) for m in messages) == [("0", 0), ("1", 1), ("2", 2)], texts(messages))
    expect(subscriber.take(1, 0.3) == [], "a message came twice")
    publisher.end()
    subscriber.end()


def retained():
    topic = PREFIX + "/retained"
    publisher = Client(1)
    publisher.publish(topic, "kept", retain=True)
    late = Client(3)
    late.subscribe(topic, 1)
    (message,) = late.take(1)
    expect(message.retain and message.payload == b"kept", "not the retained message")
    publisher.publish(topic, "", retain=True)
    later = Client(2)
    later.subscribe(topic, 1)
    expect(later.take(1, 0.3) == [], "it is still there")
    for client in (publisher, late, later):
        client.end()


def will():
    topic = PREFIX + "/will"
    watcher = Client(2)
    watcher.subscribe(topic, 1)
    Client(1, will=topic).drop()
    expect(texts(watcher.take(1)) == ["gone"], "no will")
    watcher.end()


def shared():
    members = [Client(1), Client(2)]
    for member in members:
        member.subscribe(f"$share/workers/{PREFIX}/jobs/#", 1)
    publisher = Client(3)
    for at in range(20):
        publisher.publish(f"{PREFIX}/jobs/{at}", str(at))
    got = [texts(member.take(10)) for member in members]
    expect(sorted(int(text) for part in got for text in part) == list(range(20)), str(got))
    for client in [*members, publisher]:
        client.end()


def takeover():
    name = PREFIX + "-twice"
    first = Client(1, name=name, expiry=60)
    first.subscribe(PREFIX + "/twice", 1)
    first.client.reconnect_delay_set(60, 60)
    second = Client(3, name=name, expiry=60, clean=False)
    expect(first.gone.wait(WAIT_S), "the first connection is still there")
    expect(second.session_present, "no session")
    publisher = Client(2)
    publisher.publish(PREFIX + "/twice", "here")
    expect(texts(second.take(1)) == ["here"], "nothing came")
    first.client.loop_stop()
    second.end()
    publisher.end()


def durable():
    name = PREFIX + "-durable"
    topic = PREFIX + "/durable"
    first = Client(2, name=name, expiry=600)
    first.subscribe(topic, 1)
    first.end()
    publisher = Client(1)
    for at in range(50):
        publisher.publish(topic, str(at))
    print("await-kill", flush=True)
    sys.stdin.readline()
    for at in range(50, 100):
        publisher.publish(topic, str(at))
    again = Client(3, name=name, expiry=600, clean=False)
    expect(again.session_present, "the session is gone")
    got = texts(again.take(100))
    expect(sorted(set(int(text) for text in got)) == list(range(100)), f"{len(got)} messages")
    again.end()
    publisher.end()


SCENARIOS = {
    "qos": lambda: qos_of(mqtt.MQTTv5, "qos"),
    "qos in 3.1.1": lambda: qos_of(mqtt.MQTTv311, "qos311"),
    "retained": retained,
    "will": will,
    "shared": shared,
    "takeover": takeover,
    "durable": durable,
}

for name, run in SCENARIOS.items():
    try:
        run()
        print("ok", name, flush=True)
    except Exception as error:
        print("not ok", name + ":", repr(error), flush=True)
