// Apache Kafka's own command-line tools, as they are, each called as its script would call it.
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.utils.Exit;

final class KafkaTools {
  private static final class Exited extends RuntimeException {
    final int code;

    Exited(int code, String message) {
      super(message);
      this.code = code;
    }
  }

  private interface Main {
    void main(String[] arguments) throws Exception;
  }

  private KafkaTools() {}

  static Map<String, KafkaScenarios.Scenario> scenarios() {
    Map<String, KafkaScenarios.Scenario> all = new LinkedHashMap<>();
    all.put("kafka-topics", KafkaTools::topics);
    all.put("kafka-configs", KafkaTools::configs);
    all.put("kafka-console", KafkaTools::console);
    all.put("kafka-consumer-groups", KafkaTools::groups);
    all.put("kafka-acls", KafkaTools::acls);
    all.put("kafka-transactions", KafkaTools::transactions);
    all.put("kafka-producer-perf-test", KafkaTools::performance);
    return all;
  }

  /** What it writes. Throws when it ends with another code than 0. */
  private static String run(Main tool, String input, String line) throws Exception {
    PrintStream out = System.out, errors = System.err;
    InputStream in = System.in;
    ByteArrayOutputStream written = new ByteArrayOutputStream();
    PrintStream both = new PrintStream(written, true);
    // Some tools catch what is thrown here and exit again: the first time counts.
    List<Exited> exits = new ArrayList<>();
    Exit.Procedure exit = (code, message) -> {
      exits.add(new Exited(code, message));
      throw exits.get(0);
    };
    Exit.setExitProcedure(exit);
    Exit.setHaltProcedure(exit);
    System.setIn(new ByteArrayInputStream(input.getBytes()));
    System.setOut(both);
    System.setErr(both);
    try {
      List<String> words = new ArrayList<>(List.of(line.split(" ")));
      words.addAll(List.of("--bootstrap-server", KafkaScenarios.brokers));
      tool.main(words.toArray(new String[0]));
    } catch (Exited exited) {
      String said = line + ": " + exited.code + " " + exited.getMessage() + written;
      KafkaScenarios.expect(exits.get(0).code == 0, said);
    } finally {
      System.setOut(out);
      System.setErr(errors);
      System.setIn(in);
    }
    return written.toString();
  }

  private static void says(String text, String... what) {
    for (String one : what) KafkaScenarios.expect(text.contains(one), "no '" + one + "' in: " + text);
  }

  private static void topics() throws Exception {
    Main tool = org.apache.kafka.tools.TopicCommand::main;
    says(run(tool, "", "--create --topic tools --partitions 3 --config retention.ms=600000"), "Created topic tools");
    says(run(tool, "", "--describe --topic tools"), "PartitionCount: 3", "retention.ms=600000", "Partition: 2");
    run(tool, "", "--alter --topic tools --partitions 5");
    says(run(tool, "", "--describe --topic tools"), "PartitionCount: 5");
    says(run(tool, "", "--list"), "tools");
    run(tool, "", "--create --topic tools-gone");
    run(tool, "", "--delete --topic tools-gone");
    KafkaScenarios.expect(!run(tool, "", "--list").contains("tools-gone"), "it is there");
  }

  private static void configs() throws Exception {
    Main tool = kafka.admin.ConfigCommand::main;
    run(tool, "", "--alter --entity-type topics --entity-name tools --add-config cleanup.policy=compact,max.message.bytes=2000");
    String topic = "--describe --entity-type topics --entity-name tools";
    says(run(tool, "", topic), "cleanup.policy=compact", "max.message.bytes=2000");
    run(tool, "", "--alter --entity-type topics --entity-name tools --delete-config cleanup.policy,max.message.bytes");
    KafkaScenarios.expect(!run(tool, "", topic).contains("compact"), "it is set");
    says(run(tool, "", topic + " --all"), "min.insync.replicas=1", "compression.type=producer");
    run(tool, "", "--alter --entity-type clients --entity-name tool --add-config producer_byte_rate=50000000");
    says(run(tool, "", "--describe --entity-type clients --entity-name tool"), "producer_byte_rate=5.0E7");
    run(tool, "", "--alter --entity-type clients --entity-name tool --delete-config producer_byte_rate");
    run(tool, "", "--alter --entity-type groups --entity-name tools-group --add-config share.auto.offset.reset=earliest");
    says(run(tool, "", "--describe --entity-type groups --entity-name tools-group"), "share.auto.offset.reset=earliest");
    run(tool, "", "--alter --entity-type groups --entity-name tools-group --delete-config share.auto.offset.reset");
  }

  private static void console() throws Exception {
    run(org.apache.kafka.tools.ConsoleProducer::main, "k1:one\nk2:two\nk3:three\n",
        "--topic tools --reader-property parse.key=true --reader-property key.separator=:");
    String read = run(org.apache.kafka.tools.consumer.ConsoleConsumer::main, "",
        "--topic tools --from-beginning --max-messages 3 --timeout-ms 20000 --group tools "
            + "--formatter-property print.key=true");
    says(read, "k1\tone", "k2\ttwo", "k3\tthree");
    says(run(org.apache.kafka.tools.GetOffsetShell::main, "", "--topic tools"), "tools:0:", "tools:4:");
  }

  private static void groups() throws Exception {
    Main tool = org.apache.kafka.tools.consumer.group.ConsumerGroupCommand::main;
    says(run(tool, "", "--list"), "tools");
    String described = run(tool, "", "--describe --group tools");
    says(described, "CURRENT-OFFSET", "LAG");
    says(run(tool, "", "--describe --group tools --state"), "Empty");
    run(tool, "", "--reset-offsets --group tools --topic tools --to-earliest --execute");
    said(run(tool, "", "--describe --group tools"));
    says(run(tool, "", "--delete --group tools"), "successful");
    KafkaScenarios.expect(!run(tool, "", "--list").lines().toList().contains("tools"), "it is there");
  }

  /** The lag of the group is 3 when its offsets are back at the beginning. */
  private static void said(String described) {
    int lag = described.lines().filter((line) -> line.startsWith("tools ")).map((line) -> line.split("\\s+")[5])
        .filter((text) -> text.matches("\\d+")).mapToInt(Integer::parseInt).sum();
    KafkaScenarios.expect(lag == 3, "lag " + lag + " in " + described);
  }

  private static void acls() throws Exception {
    Main tool = org.apache.kafka.tools.AclCommand::main;
    run(tool, "", "--add --allow-principal User:ann --operation Read --topic tools");
    says(run(tool, "", "--list --topic tools"), "User:ann", "operation=READ", "permissionType=ALLOW");
    run(tool, "", "--remove --force --allow-principal User:ann --operation Read --topic tools");
    KafkaScenarios.expect(!run(tool, "", "--list --topic tools").contains("User:ann"), "it is there");
  }

  private static void transactions() throws Exception {
    try (KafkaProducer<String, String> producer = KafkaScenarios.producer("transactional.id", "tools-id")) {
      producer.initTransactions();
      producer.beginTransaction();
      producer.send(new org.apache.kafka.clients.producer.ProducerRecord<>("tools", 1, "k", "v")).get();
      says(command("list"), "tools-id", "Ongoing");
      says(command("list --transactional-id-pattern tools-.*"), "tools-id");
      KafkaScenarios.expect(!command("list --transactional-id-pattern tools").contains("tools-id"), "it is listed");
      says(command("describe --transactional-id tools-id"), "tools-1");
      says(command("describe-producers --topic tools --partition 1"), "ProducerId");
      producer.abortTransaction();
    }
  }

  /** Its options are before the command. */
  private static String command(String line) throws Exception {
    Main ordered = (words) -> {
      List<String> all = new ArrayList<>(List.of("--bootstrap-server", KafkaScenarios.brokers));
      all.addAll(List.of(words).subList(0, words.length - 2));
      org.apache.kafka.tools.TransactionsCommand.main(all.toArray(new String[0]));
    };
    return run(ordered, "", line);
  }

  private static void performance() throws Exception {
    String made = run(org.apache.kafka.tools.ProducerPerformance::main, "",
        "--topic tools --num-records 20000 --record-size 200 --throughput -1");
    says(made, "20000 records sent");
  }
}
