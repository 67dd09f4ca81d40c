// What Apache Kafka's clients for Java do against a cluster of three. One line on stdout for each scenario; see ../suite.ts.
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class KafkaScenarios {
  static final Duration WAIT = Duration.ofSeconds(40);
  private static final Duration POLL = Duration.ofMillis(200);
  static String brokers;

  interface Scenario {
    void run() throws Exception;
  }

  static void expect(boolean holds, Object what) {
    if (!holds) throw new AssertionError(what);
  }

  static Map<String, Object> settings(Object... more) {
    Map<String, Object> all = new HashMap<>();
    all.put("bootstrap.servers", brokers);
    for (int at = 0; at < more.length; at += 2) all.put((String) more[at], more[at + 1]);
    return all;
  }

  static KafkaProducer<String, String> producer(Object... more) {
    return new KafkaProducer<>(settings(more), new StringSerializer(), new StringSerializer());
  }

  static KafkaConsumer<String, String> consumer(String group, Object... more) {
    Map<String, Object> all = settings(more);
    all.put("group.id", group);
    all.putIfAbsent("auto.offset.reset", "earliest");
    all.put("enable.auto.commit", false);
    return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
  }

  static void create(Admin admin, String topic, int partitions) throws Exception {
    admin.createTopics(List.of(new NewTopic(topic, partitions, (short) -1))).all().get();
  }

  static void send(KafkaProducer<String, String> producer, String topic, int from, int to) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    for (int at = from; at < to; at++) sent.add(producer.send(new ProducerRecord<>(topic, "k" + at % 7, "" + at)));
    producer.flush();
    for (Future<RecordMetadata> one : sent) one.get();
  }

  static List<String> numbers(int from, int to) {
    return IntStream.range(from, to).mapToObj(Integer::toString).sorted().toList();
  }

  /** The values that all of them have read together, sorted, when there are as many or the time is over. */
  private static List<String> read(int count, Collection<KafkaConsumer<String, String>> consumers) {
    List<String> values = new ArrayList<>();
    long end = System.nanoTime() + WAIT.toNanos();
    while (values.size() < count && System.nanoTime() < end) {
      for (KafkaConsumer<String, String> one : consumers) {
        for (ConsumerRecord<String, String> record : one.poll(POLL)) values.add(record.value());
      }
    }
    return values.stream().sorted().toList();
  }

  /** Until each has some of the partitions and all are given out. */
  private static void share(int partitions, List<KafkaConsumer<String, String>> consumers) {
    long end = System.nanoTime() + WAIT.toNanos();
    while (System.nanoTime() < end) {
      for (KafkaConsumer<String, String> one : consumers) one.poll(Duration.ofMillis(50));
      int given = consumers.stream().mapToInt((one) -> one.assignment().size()).sum();
      if (given == partitions && consumers.stream().noneMatch((one) -> one.assignment().isEmpty())) return;
    }
    throw new AssertionError("the partitions were not shared");
  }

  private static void group(String name, String protocol) throws Exception {
    try (Admin admin = Admin.create(settings());
        KafkaProducer<String, String> producer = producer("compression.type", "lz4");
        KafkaConsumer<String, String> first = consumer(name, "group.protocol", protocol);
        KafkaConsumer<String, String> second = consumer(name, "group.protocol", protocol)) {
      create(admin, name, 6);
      List<KafkaConsumer<String, String>> both = List.of(first, second);
      for (KafkaConsumer<String, String> one : both) one.subscribe(List.of(name));
      share(6, both);
      send(producer, name, 0, 500);
      expect(read(500, both).equals(numbers(0, 500)), "not each record once");
      for (KafkaConsumer<String, String> one : both) one.commitSync();
      first.close();
      share(6, List.of(second));
      send(producer, name, 500, 600);
      List<String> rest = read(100, List.of(second));
      expect(rest.equals(numbers(500, 600)), "not what was sent afterwards: " + rest);
      second.commitSync();
      long committed =
          admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().values().stream()
              .mapToLong(OffsetAndMetadata::offset)
              .sum();
      expect(committed == 600, committed + " committed");
    }
  }

  private static void transactions() throws Exception {
    String from = "java-transfers-in", to = "java-transfers-out";
    try (Admin admin = Admin.create(settings());
        KafkaProducer<String, String> plain = producer();
        KafkaProducer<String, String> mover = producer("transactional.id", "java-mover");
        KafkaConsumer<String, String> source = consumer("java-mover", "isolation.level", "read_committed");
        KafkaConsumer<String, String> sink = consumer("java-sink", "isolation.level", "read_committed")) {
      create(admin, from, 1);
      create(admin, to, 3);
      send(plain, from, 0, 100);
      mover.initTransactions();
      source.subscribe(List.of(from));
      sink.subscribe(List.of(to));
      List<String> taken = read(100, List.of(source));
      mover.beginTransaction();
      for (String value : taken) mover.send(new ProducerRecord<>(to, value, "aborted"));
      mover.flush();
      mover.abortTransaction();
      mover.beginTransaction();
      for (String value : taken) mover.send(new ProducerRecord<>(to, value, value));
      TopicPartition partition = new TopicPartition(from, 0);
      mover.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(100)), source.groupMetadata());
      mover.commitTransaction();
      expect(read(100, List.of(sink)).equals(numbers(0, 100)), "not what was committed");
      expect(source.committed(Set.of(partition)).get(partition).offset() == 100, "the offset does not count");
      try (KafkaProducer<String, String> next = producer("transactional.id", "java-mover")) {
        next.initTransactions();
        mover.beginTransaction();
        mover.send(new ProducerRecord<>(to, "zombie", "zombie"));
        mover.commitTransaction();
        throw new AssertionError("the producer before was not fenced");
      } catch (ProducerFencedException | InvalidProducerEpochException expected) {
        // By the coordinator's word or the partition's owner's, whoever is asked first.
      }
    }
  }

  private static void shareGroup() throws Exception {
    String topic = "java-share";
    Map<String, Object> explicit = settings("group.id", topic, "share.acknowledgement.mode", "explicit");
    try (Admin admin = Admin.create(settings());
        KafkaProducer<String, String> producer = producer();
        KafkaShareConsumer<String, String> member =
            new KafkaShareConsumer<>(explicit, new StringDeserializer(), new StringDeserializer())) {
      create(admin, topic, 1);
      member.subscribe(List.of(topic));
      TreeSet<Integer> accepted = new TreeSet<>();
      TreeSet<Integer> released = new TreeSet<>();
      long end = System.nanoTime() + WAIT.toNanos();
      int sent = 0;
      // A new group begins where the partition ends, so what is sent before the member is there is not its.
      while (accepted.size() < 60 && System.nanoTime() < end) {
        send(producer, topic, sent, sent + 20);
        sent += 20;
        for (ConsumerRecord<String, String> record : member.poll(Duration.ofMillis(500))) {
          int value = Integer.parseInt(record.value());
          boolean accepts = value % 5 != 0 || !released.add(value);
          if (accepts && !accepted.add(value)) throw new AssertionError(value + " came again");
          member.acknowledge(record, accepts ? AcknowledgeType.ACCEPT : AcknowledgeType.RELEASE);
        }
        for (var failed : member.commitSync().values()) expect(failed.isEmpty(), failed);
      }
      expect(accepted.size() >= 60 && !released.isEmpty(), accepted.size() + " accepted");
      TreeSet<Integer> again = new TreeSet<>(released);
      again.retainAll(accepted);
      expect(!again.isEmpty(), "nothing of what was released came again");
    }
  }

  private static void admin() throws Exception {
    String topic = "java-admin";
    try (Admin admin = Admin.create(settings());
        KafkaProducer<String, String> producer = producer()) {
      expect(admin.describeCluster().nodes().get().size() == 3, "not three brokers");
      create(admin, topic, 2);
      admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
      expect(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 3, "not 3");
      ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
      ConfigEntry entry = new ConfigEntry("retention.ms", "123456");
      AlterConfigOp set = new AlterConfigOp(entry, AlterConfigOp.OpType.SET);
      admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
      Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
      expect(config.get("retention.ms").value().equals("123456"), config.get("retention.ms"));
      TopicPartition partition = new TopicPartition(topic, 0);
      for (int at = 0; at < 10; at++) producer.send(new ProducerRecord<>(topic, 0, null, "" + at)).get();
      admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get();
      long earliest = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset();
      expect(earliest == 4, "begins at " + earliest);
      try (KafkaConsumer<String, String> reader = consumer(topic)) {
        reader.subscribe(List.of(topic));
        expect(read(6, List.of(reader)).equals(numbers(4, 10)), "not the six that are left");
        reader.commitSync();
        expect(admin.listGroups().all().get().stream().anyMatch((one) -> one.groupId().equals(topic)), "no group");
      }
      admin.deleteConsumerGroups(List.of(topic)).all().get();
      admin.deleteTopics(List.of(topic)).all().get();
      expect(!admin.listTopics().names().get().contains(topic), "the topic is there");
    }
  }

  public static void main(String[] arguments) {
    brokers = arguments[0];
    Map<String, Scenario> scenarios = new LinkedHashMap<>();
    scenarios.put("produce and consume", () -> group("java-classic", "classic"));
    scenarios.put("transactions", KafkaScenarios::transactions);
    scenarios.put("consumer group of KIP-848", () -> group("java-consumer", "consumer"));
    scenarios.put("share group", KafkaScenarios::shareGroup);
    scenarios.put("admin", KafkaScenarios::admin);
    scenarios.put("streams exactly once", WordCount::run);
    scenarios.putAll(KafkaTools.scenarios());
    PrintStream out = System.out;
    // The one that waits for the broker to be killed is last.
    List<String> names = new ArrayList<>(List.of(arguments).subList(1, arguments.length));
    if (names.remove("streams exactly once")) names.add("streams exactly once");
    for (String name : names) {
      try {
        scenarios.get(name).run();
        out.println("ok " + name);
      } catch (Throwable error) {
        out.println("not ok " + name + ": " + error.toString().replace('\n', ' '));
      }
    }
    out.flush();
    Runtime.getRuntime().halt(0);
  }
}
