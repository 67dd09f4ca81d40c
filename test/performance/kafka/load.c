// The load of the Kafka benchmark, over librdkafka, for any server of the protocol. Prints the figures as JSON.
//   load topic   BROKER TOPIC PARTITIONS           makes a topic
//   load produce BROKER TOPIC PARTITIONS BYTES SECONDS MAX   MAX: records of a batch at most
//   load consume BROKER TOPIC PARTITIONS SECONDS   from the beginning to the end, or until the time is over
//   load latency BROKER TOPIC RATE SECONDS         records of 100 B, one partition, from before produce to after consume
// Exits 1 with the reason on stderr when a record was refused or did not come.
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH 10000
#define WARM_UP_US 1500000
/** Records that go to one partition before the next has its turn: batches are as large with many partitions as with one. */
#define RUN 256

static char error[512];
static volatile int64_t delivered;
static volatile int64_t refused;

static int64_t now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void fail(const char *reason) {
  fprintf(stderr, "%s\n", reason);
  _exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
  if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(error);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
  (void)client, (void)opaque;
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) delivered++;
  else refused++;
}

static rd_kafka_t *client_of(rd_kafka_type_t type, rd_kafka_conf_t *conf, const char *broker) {
  set(conf, "bootstrap.servers", broker);
  rd_kafka_t *client = rd_kafka_new(type, conf, error, sizeof error);
  if (client == NULL) fail(error);
  return client;
}

static rd_kafka_t *producer_of(const char *broker, const char *max, const char *linger) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "queue.buffering.max.messages", "200000");
  set(conf, "queue.buffering.max.kbytes", "200000");
  set(conf, "linger.ms", linger);
  set(conf, "batch.num.messages", max);
  // With a record in each request not all that waits is on its way.
  if (strcmp(max, "1") == 0) set(conf, "max.in.flight", "64"), set(conf, "queue.buffering.max.messages", "5000");
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  return client_of(RD_KAFKA_PRODUCER, conf, broker);
}

static void make_topic(const char *broker, const char *name, int partitions) {
  rd_kafka_t *client = client_of(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), broker);
  rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, error, sizeof error);
  rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
  rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
  rd_kafka_AdminOptions_set_request_timeout(options, 60000, error, sizeof error);
  rd_kafka_CreateTopics(client, &topic, 1, options, queue);
  rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 60000);
  if (event == NULL || rd_kafka_event_error(event)) fail("the topic was not made");
  size_t count;
  const rd_kafka_topic_result_t **results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
  if (rd_kafka_topic_result_error(results[0])) fail(rd_kafka_topic_result_error_string(results[0]));
  printf("{}\n");
}

static void produce(char **words) {
  const char *name = words[1];
  int partitions = atoi(words[2]), bytes = atoi(words[3]), most = atoi(words[5]);
  int64_t seconds = atoi(words[4]), sent = 0, from = 0, begun = 0, ended = now_us() + WARM_UP_US;
  rd_kafka_t *client = producer_of(words[0], words[5], most == 1 ? "0" : "5");
  rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
  char *payload = malloc(bytes);
  for (int at = 0; at < bytes; at++) payload[at] = 'a' + at % 26;
  for (int counts = 0; counts < 2; counts++) {
    if (counts) from = delivered, begun = now_us(), ended = begun + seconds * 1000000;
    while (now_us() < ended) {
      for (int at = 0; at < RUN; at++) {
        int partition = sent / RUN % partitions;
        if (rd_kafka_produce(topic, partition, 0, payload, bytes, NULL, 0, NULL) == 0) sent++;
        else if (rd_kafka_last_error() == RD_KAFKA_RESP_ERR__QUEUE_FULL) rd_kafka_poll(client, 1);
        else fail(rd_kafka_err2str(rd_kafka_last_error()));
      }
      rd_kafka_poll(client, 0);
    }
  }
  int64_t counted = delivered - from, us = now_us() - begun;
  rd_kafka_flush(client, 60000);
  if (refused > 0 || delivered != sent) fail("records were refused");
  double rate = counted * 1e6 / us;
  printf("{\"perSecond\": %.0f, \"mbPerSecond\": %.2f, \"records\": %lld}\n", rate, rate * bytes / 1e6, (long long)sent);
}

static rd_kafka_t *consumer_of(const char *broker, const char *topic, int partitions, int64_t offset) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "group.id", "bench");
  set(conf, "enable.auto.commit", "false");
  set(conf, "enable.partition.eof", "true");
  set(conf, "auto.offset.reset", "error");
  set(conf, "queued.min.messages", "1000000");
  set(conf, "fetch.wait.max.ms", "100");
  rd_kafka_t *client = client_of(RD_KAFKA_CONSUMER, conf, broker);
  rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(partitions);
  for (int at = 0; at < partitions; at++) rd_kafka_topic_partition_list_add(all, topic, at)->offset = offset;
  rd_kafka_poll_set_consumer(client);
  if (rd_kafka_assign(client, all)) fail("not assigned");
  return client;
}

static void consume(char **words) {
  int partitions = atoi(words[2]), ends = 0;
  rd_kafka_t *client = consumer_of(words[0], words[1], partitions, RD_KAFKA_OFFSET_BEGINNING);
  rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
  static rd_kafka_message_t *messages[BATCH];
  int64_t records = 0, bytes = 0, begun = 0, last = 0, ended = now_us() + atoi(words[3]) * 1000000LL;
  while (ends < partitions && now_us() < ended) {
    ssize_t count = rd_kafka_consume_batch_queue(queue, 100, messages, BATCH);
    for (ssize_t at = 0; at < count; at++) {
      if (messages[at]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) ends++;
      else if (messages[at]->err) fail(rd_kafka_message_errstr(messages[at]));
      else records++, bytes += messages[at]->len;
      rd_kafka_message_destroy(messages[at]);
    }
    if (records > 0 && begun == 0) begun = now_us(), records = bytes = 0;
    if (count > 0) last = now_us();
  }
  if (bytes == 0) fail("nothing was read");
  double seconds = (last - begun) / 1e6;
  printf("{\"perSecond\": %.0f, \"mbPerSecond\": %.2f, \"records\": %lld}\n", records / seconds, bytes / 1e6 / seconds,
         (long long)records);
}

struct sender {
  rd_kafka_t *client;
  rd_kafka_topic_t *topic;
  int64_t rate, count;
};

static void *send_all(void *opaque) {
  struct sender *sender = opaque;
  int64_t begun = now_us();
  char payload[100] = {0};
  for (int64_t at = 0; at < sender->count; at++) {
    int64_t due = begun + at * 1000000 / sender->rate;
    while (now_us() < due) rd_kafka_poll(sender->client, 0), usleep(due - now_us() > 200 ? 100 : 0);
    int64_t now = now_us();
    memcpy(payload, &now, sizeof now);
    if (rd_kafka_produce(sender->topic, 0, RD_KAFKA_MSG_F_COPY, payload, sizeof payload, NULL, 0, NULL)) fail("full");
  }
  rd_kafka_flush(sender->client, 30000);
  return NULL;
}

static int ascending(const void *a, const void *b) {
  int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
  return (left > right) - (left < right);
}

static void latency(char **words) {
  int64_t rate = atoi(words[2]), count = rate * atoi(words[3]), got = 0;
  int64_t *all = malloc(count * sizeof *all);
  rd_kafka_t *consumer = consumer_of(words[0], words[1], 1, RD_KAFKA_OFFSET_BEGINNING);
  // The end of the empty partition: it is being read.
  rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 20000);
  if (message == NULL) fail("the partition is not read");
  rd_kafka_message_destroy(message);
  struct sender sender = {.client = producer_of(words[0], "10000", "0"), .rate = rate, .count = count};
  sender.topic = rd_kafka_topic_new(sender.client, words[1], NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, send_all, &sender);
  int64_t ended = now_us() + 30000000;
  while (got < count && now_us() < ended) {
    message = rd_kafka_consumer_poll(consumer, 100);
    if (message == NULL) continue;
    int64_t sent;
    if (message->err == 0) {
      memcpy(&sent, message->payload, sizeof sent);
      all[got++] = now_us() - sent;
    }
    rd_kafka_message_destroy(message);
  }
  pthread_join(thread, NULL);
  if (got < count) fail("records did not come");
  // The first second is the warm-up.
  int64_t counted = count - rate;
  qsort(all + rate, counted, sizeof *all, ascending);
  printf("{\"p50Us\": %lld, \"p99Us\": %lld}\n", (long long)all[rate + counted / 2],
         (long long)all[rate + counted * 99 / 100]);
}

int main(int count, char **words) {
  if (count == 5 && strcmp(words[1], "topic") == 0) make_topic(words[2], words[3], atoi(words[4]));
  else if (count == 8 && strcmp(words[1], "produce") == 0) produce(words + 2);
  else if (count == 6 && strcmp(words[1], "consume") == 0) consume(words + 2);
  else if (count == 6 && strcmp(words[1], "latency") == 0) latency(words + 2);
  else fail("usage: see the head of load.c");
  fflush(stdout);
  _exit(0);
}
