// What paho for Java (MQTT 5) does against a cluster of three. One line on stdout for each scenario; see ../suite.ts.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.LinkedHashMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.eclipse.paho.mqttv5.client.IMqttToken;
import org.eclipse.paho.mqttv5.client.MqttAsyncClient;
import org.eclipse.paho.mqttv5.client.MqttCallback;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.eclipse.paho.mqttv5.client.MqttDisconnectResponse;
import org.eclipse.paho.mqttv5.client.persist.MemoryPersistence;
import org.eclipse.paho.mqttv5.common.MqttException;
import org.eclipse.paho.mqttv5.common.MqttMessage;
import org.eclipse.paho.mqttv5.common.packet.MqttProperties;

public final class Scenarios {
  private static final String PREFIX = "paho-java";
  private static final long WAIT_MS = 30_000;
  private static String[] ports;

  private record Received(String topic, String text, int qos, boolean retained) {}

  private interface Scenario {
    void run() throws Exception;
  }

  /** Connected once; what comes is in a queue. */
  private static final class Client implements MqttCallback {
    final BlockingQueue<Received> messages = new LinkedBlockingQueue<>();
    final CountDownLatch gone = new CountDownLatch(1);
    final MqttAsyncClient client;
    final boolean sessionPresent;

    Client(int broker) throws MqttException {
      this(broker, "", 0, true, null);
    }

    Client(int broker, String name, long expiry, boolean clean, String will) throws MqttException {
      String uri = "tcp://127.0.0.1:" + ports[broker - 1];
      client = new MqttAsyncClient(uri, name, new MemoryPersistence());
      client.setCallback(this);
      MqttConnectionOptions options = new MqttConnectionOptions();
      options.setCleanStart(clean);
      options.setSessionExpiryInterval(expiry);
      options.setKeepAliveInterval(30);
      if (will != null) options.setWill(will, new MqttMessage("gone".getBytes(), 1, false, new MqttProperties()));
      IMqttToken token = client.connect(options);
      token.waitForCompletion(WAIT_MS);
      sessionPresent = token.getSessionPresent();
    }

    void subscribe(String topic, int qos) throws MqttException {
      client.subscribe(topic, qos).waitForCompletion(WAIT_MS);
    }

    void publish(String topic, String text, int qos, boolean retain) throws MqttException {
      client.publish(topic, text.getBytes(), qos, retain).waitForCompletion(WAIT_MS);
    }

    List<Received> take(int count, long waitMs) throws InterruptedException {
      List<Received> taken = new ArrayList<>();
      long end = System.nanoTime() + waitMs * 1_000_000;
      while (taken.size() < count) {
        Received next = messages.poll(Math.max(0, end - System.nanoTime()), TimeUnit.NANOSECONDS);
        if (next == null) break;
        taken.add(next);
      }
      return taken;
    }

    void end() throws MqttException {
      client.disconnect().waitForCompletion(WAIT_MS);
      client.close();
    }

    @Override
    public void messageArrived(String topic, MqttMessage message) {
      messages.add(new Received(topic, new String(message.getPayload()), message.getQos(), message.isRetained()));
    }

    @Override
    public void disconnected(MqttDisconnectResponse response) {
      gone.countDown();
    }

    @Override
    public void mqttErrorOccurred(MqttException error) {}

    @Override
    public void deliveryComplete(IMqttToken token) {}

    @Override
    public void connectComplete(boolean again, String uri) {}

    @Override
    public void authPacketArrived(int code, MqttProperties properties) {}
  }

  private static void expect(boolean holds, Object what) {
    if (!holds) throw new AssertionError(what);
  }

  private static List<String> texts(List<Received> messages) {
    return messages.stream().map(Received::text).toList();
  }

  private static void qos() throws Exception {
    String topic = PREFIX + "/qos";
    Client subscriber = new Client(2);
    subscriber.subscribe(topic + "/#", 2);
    Client publisher = new Client(1);
    for (int qos = 0; qos < 3; qos++) publisher.publish(topic + "/" + qos, "" + qos, qos, false);
    List<Received> messages = subscriber.take(3, WAIT_MS);
    for (Received message : messages) expect(message.text.equals("" + message.qos), messages);
    expect(new TreeSet<>(texts(messages)).equals(new TreeSet<>(List.of("0", "1", "2"))), messages);
    expect(subscriber.take(1, 300).isEmpty(), "a message came twice");
    publisher.end();
    subscriber.end();
  }

  private static void retained() throws Exception {
    String topic = PREFIX + "/retained";
    Client publisher = new Client(1);
    publisher.publish(topic, "kept", 1, true);
    Client late = new Client(3);
    late.subscribe(topic, 1);
    List<Received> messages = late.take(1, WAIT_MS);
    expect(texts(messages).equals(List.of("kept")) && messages.get(0).retained, messages);
    publisher.publish(topic, "", 1, true);
    Client later = new Client(2);
    later.subscribe(topic, 1);
    expect(later.take(1, 300).isEmpty(), "it is still there");
    for (Client client : List.of(publisher, late, later)) client.end();
  }

  private static void will() throws Exception {
    String topic = PREFIX + "/will";
    Client watcher = new Client(2);
    watcher.subscribe(topic, 1);
    Client dying = new Client(1, "", 0, true, topic);
    // No DISCONNECT, as when the network breaks.
    dying.client.disconnectForcibly(0, 0, false);
    dying.client.close(true);
    expect(texts(watcher.take(1, WAIT_MS)).equals(List.of("gone")), "no will");
    watcher.end();
  }

  private static void shared() throws Exception {
    List<Client> members = List.of(new Client(1), new Client(2));
    for (Client member : members) member.subscribe("$share/workers/" + PREFIX + "/jobs/#", 1);
    Client publisher = new Client(3);
    for (int at = 0; at < 20; at++) publisher.publish(PREFIX + "/jobs/" + at, "" + at, 1, false);
    TreeSet<Integer> got = new TreeSet<>();
    for (Client member : members) {
      List<Received> part = member.take(10, WAIT_MS);
      expect(part.size() == 10, part);
      for (String text : texts(part)) got.add(Integer.parseInt(text));
    }
    expect(got.size() == 20, got);
    for (Client member : members) member.end();
    publisher.end();
  }

  private static void takeover() throws Exception {
    String name = PREFIX + "-twice";
    Client first = new Client(1, name, 60, true, null);
    first.subscribe(PREFIX + "/twice", 1);
    Client second = new Client(3, name, 60, false, null);
    expect(first.gone.await(WAIT_MS, TimeUnit.MILLISECONDS), "the first connection is still there");
    expect(second.sessionPresent, "no session");
    Client publisher = new Client(2);
    publisher.publish(PREFIX + "/twice", "here", 1, false);
    expect(texts(second.take(1, WAIT_MS)).equals(List.of("here")), "nothing came");
    second.end();
    publisher.end();
  }

  private static void durable() throws Exception {
    String name = PREFIX + "-durable";
    String topic = PREFIX + "/durable";
    Client first = new Client(2, name, 600, true, null);
    first.subscribe(topic, 1);
    first.end();
    Client publisher = new Client(1);
    for (int at = 0; at < 50; at++) publisher.publish(topic, "" + at, 1, false);
    System.out.println("await-kill");
    new BufferedReader(new InputStreamReader(System.in)).readLine();
    for (int at = 50; at < 100; at++) publisher.publish(topic, "" + at, 1, false);
    Client again = new Client(3, name, 600, false, null);
    expect(again.sessionPresent, "the session is gone");
    TreeSet<Integer> got = new TreeSet<>();
    for (String text : texts(again.take(100, WAIT_MS))) got.add(Integer.parseInt(text));
    expect(got.size() == 100, got.size() + " messages");
    again.end();
    publisher.end();
  }

  public static void main(String[] arguments) {
    ports = Arrays.copyOf(arguments, 3);
    Map<String, Scenario> scenarios = new LinkedHashMap<>();
    scenarios.put("qos", Scenarios::qos);
    scenarios.put("retained", Scenarios::retained);
    scenarios.put("will", Scenarios::will);
    scenarios.put("shared", Scenarios::shared);
    scenarios.put("takeover", Scenarios::takeover);
    scenarios.put("durable", Scenarios::durable);
    scenarios.forEach((name, scenario) -> {
      try {
        scenario.run();
        System.out.println("ok " + name);
      } catch (Throwable error) {
        System.out.println("not ok " + name + ": " + error);
      }
    });
    System.exit(0);
  }
}
