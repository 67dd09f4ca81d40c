// A word count by Kafka Streams, exactly once, while a broker is killed: each word is counted as often as it was sent.
import java.nio.file.Files;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

final class WordCount {
  private static final String[] WORDS = {"all", "streams", "lead", "to", "kafka"};
  private static final int LINES = 400;
  private static final String IN = "java-lines", OUT = "java-words";

  private WordCount() {}

  static void run() throws Exception {
    try (Admin admin = Admin.create(KafkaScenarios.settings());
        KafkaProducer<String, String> producer = KafkaScenarios.producer("delivery.timeout.ms", 60_000)) {
      KafkaScenarios.create(admin, IN, 3);
      KafkaScenarios.create(admin, OUT, 3);
      try (KafkaStreams streams = streams()) {
        streams.start();
        write(producer, 0, LINES / 2);
        Map<String, Long> half = counts(LINES / 2);
        KafkaScenarios.expect(half.equals(wanted(LINES / 2)), half);
        System.out.println("await-kill");
        System.out.flush();
        Thread going = new Thread(() -> write(producer, LINES / 2, LINES));
        while (System.in.read() != '\n') continue;
        going.start();
        Map<String, Long> all = counts(LINES);
        going.join();
        KafkaScenarios.expect(all.equals(wanted(LINES)), all + " instead of " + wanted(LINES));
      }
    }
  }

  private static KafkaStreams streams() throws Exception {
    Properties settings = new Properties();
    settings.putAll(KafkaScenarios.settings());
    settings.put("application.id", "java-word-count");
    settings.put("processing.guarantee", "exactly_once_v2");
    settings.put("commit.interval.ms", 100);
    settings.put("state.dir", Files.createTempDirectory("robust-streams").toString());
    settings.put("replication.factor", 1);
    settings.put("consumer.session.timeout.ms", 6_000);
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(IN, org.apache.kafka.streams.kstream.Consumed.with(Serdes.String(), Serdes.String()))
        .flatMapValues((line) -> Arrays.asList(line.split(" ")))
        .groupBy((key, word) -> word, org.apache.kafka.streams.kstream.Grouped.with(Serdes.String(), Serdes.String()))
        .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts"))
            .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
        .toStream()
        .to(OUT, Produced.with(Serdes.String(), Serdes.Long()));
    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    streams.setUncaughtExceptionHandler((error) -> StreamThreadExceptionResponse.REPLACE_THREAD);
    return streams;
  }

  private static void write(KafkaProducer<String, String> producer, int from, int to) {
    for (int at = from; at < to; at++) producer.send(new ProducerRecord<>(IN, "" + at, line(at)));
    producer.flush();
  }

  /** The line of this number has the first words of the list, from one to all of them. */
  private static String line(int number) {
    return String.join(" ", Arrays.copyOf(WORDS, 1 + number % WORDS.length));
  }

  private static Map<String, Long> wanted(int lines) {
    Map<String, Long> all = new TreeMap<>();
    for (int at = 0; at < lines; at++) {
      for (String word : line(at).split(" ")) all.merge(word, 1L, Long::sum);
    }
    return all;
  }

  /** The last count of each word when they are right, have gone too far, or the time is over. */
  private static Map<String, Long> counts(int lines) {
    Map<String, Object> settings = KafkaScenarios.settings("isolation.level", "read_committed",
        "group.id", "java-words-" + lines, "auto.offset.reset", "earliest");
    Map<String, Long> last = new TreeMap<>();
    try (KafkaConsumer<String, Long> reader =
        new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
      reader.subscribe(List.of(OUT));
      long end = System.nanoTime() + 60_000_000_000L;
      long enough = wanted(lines).get(WORDS[0]);
      while (!last.equals(wanted(lines)) && System.nanoTime() < end) {
        for (ConsumerRecord<String, Long> record : reader.poll(Duration.ofMillis(200))) {
          Long before = last.put(record.key(), record.value());
          KafkaScenarios.expect(before == null || before < record.value(), record.key() + " went back");
        }
        if (last.getOrDefault(WORDS[0], 0L) > enough) break;
      }
    }
    return last;
  }
}
