/*
 * The MQTT load of the benchmark: one thread, epoll, MQTT 3.1.1, clean sessions, no libraries.
 * It prints one line of JSON with what it measured and exits 0, or says on stderr what went wrong
 * and exits 1. scenarios.ts says what each mode is for; every message carries a sequence number and
 * its sending time, so a lost, doubled or reordered message is seen and counted.
 *
 * usage: load MODE key=value...   (keys: see struct settings)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, REST_BYTES = 512, EVENTS = 512, PIDS_MAX = 64 };

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static struct settings {
  int port;
  int publishers;    /* each has its own topic */
  int subscribers;   /* per publisher */
  int qos;           /* of publishing and of subscribing */
  int payload;       /* bytes, at least 20 */
  int window;        /* messages sent and not yet received by the slowest subscriber */
  int inflight;      /* QoS 1 and 2: messages sent and not yet acknowledged */
  int batch;         /* packets in one write */
  double rate;       /* messages a second over all publishers */
  int tick_us;       /* messages that fell due in this time are sent together; 0: each on its own */
  double warm;       /* seconds before counting starts */
  double seconds;    /* seconds that are counted */
  int connections;   /* memory and connect */
  int fan_in;        /* one subscriber of all publishers instead of some for each */
  int durable;       /* sessions of subscribers outlive their connections */
  int sub_port;      /* of the broker that subscribers use; 0: the same */
  uint64_t messages; /* offline: published while the subscriber is away; retained; subscriptions in all */
  int pids[PIDS_MAX]; /* the broker's processes */
  int pid_count;
} settings = {.publishers = 1, .subscribers = 1, .payload = 64, .window = 1000, .inflight = 20,
              .batch = 20, .rate = 1000, .tick_us = 1000, .warm = 0.5, .seconds = 2,
              .connections = 50};

struct connection {
  int fd;
  int blocked;        /* the socket took only a part of the last write */
  int publisher;      /* index of the publisher it is or listens to */
  int is_subscriber;
  uint64_t sent, acked, received;
  uint64_t *received_of; /* by publisher, with fan_in */
  uint64_t pings, pongs, pong_ns;
  uint16_t packet_id;
  char frame[REST_BYTES]; /* a publisher's packet, to be numbered and sent */
  int frame_length, payload_start;
  char *out;          /* what the socket did not take yet */
  size_t out_length, out_start;
  char rest[REST_BYTES]; /* the beginning of an incomplete packet */
  size_t rest_length;
};

static struct connection *connections;
static int connection_count;
static int poll_fd;
static char *read_buffer;
static uint64_t disorder;
static uint64_t received_total;
static uint32_t *latencies;
static size_t latency_count, latency_room;
static int keep_latencies;

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* --- what the broker's processes use ------------------------------------------------------- */

/* User and system time of all threads, in seconds. */
static double broker_cpu(void) {
  double ticks = 0;
  for (int index = 0; index < settings.pid_count; index++) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", settings.pids[index]);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    char *after_name = strrchr(text, ')');
    unsigned long user = 0, system = 0;
    if (after_name && sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                             &user, &system) == 2)
      ticks += (double)(user + system);
  }
  return ticks / (double)sysconf(_SC_CLK_TCK);
}

static void wait_ms(int milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  nanosleep(&time, NULL);
}

static double broker_rss_bytes(void) {
  double pages = 0;
  for (int index = 0; index < settings.pid_count; index++) {
    char path[64];
    long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", settings.pids[index]);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    if (fscanf(file, "%ld %ld", &size, &resident) == 2) pages += (double)resident;
    fclose(file);
  }
  return pages * (double)sysconf(_SC_PAGESIZE);
}

static double own_cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* --- packets ------------------------------------------------------------------------------- */

static size_t put_text(char *target, const char *text) {
  size_t length = strlen(text);
  target[0] = (char)(length >> 8);
  target[1] = (char)length;
  memcpy(target + 2, text, length);
  return length + 2;
}

static size_t put_connect(char *target, const char *client_id, int clean) {
  static const char head[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0};
  memcpy(target + 2, head, sizeof head);
  target[9] = (char)(clean ? 2 : 0);
  size_t length = sizeof head + put_text(target + 2 + sizeof head, client_id);
  target[0] = 0x10;
  target[1] = (char)length;
  return length + 2;
}

static size_t put_subscribe(char *target, const char *topic, int qos) {
  target[0] = (char)0x82;
  target[2] = 0;
  target[3] = 1;
  size_t length = 2 + put_text(target + 4, topic);
  target[2 + length++] = (char)qos;
  target[1] = (char)length;
  return length + 2;
}

/* The PUBLISH that this publisher sends again and again; remaining lengths of up to two bytes. */
static void prepare_publish(struct connection *publisher) {
  char topic[32], *at = publisher->frame;
  int topic_length = snprintf(topic, sizeof topic, "bench/%d", publisher->publisher);
  int remaining = 2 + topic_length + (settings.qos ? 2 : 0) + settings.payload;
  *at++ = (char)(0x30 | settings.qos << 1);
  if (remaining > 127) *at++ = (char)((remaining & 0x7f) | 0x80), *at++ = (char)(remaining >> 7);
  else *at++ = (char)remaining;
  at += put_text(at, topic);
  if (settings.qos) at += 2;
  publisher->payload_start = (int)(at - publisher->frame);
  memset(at, 'x', (size_t)settings.payload);
  publisher->frame_length = publisher->payload_start + settings.payload;
}

static size_t put_publish(char *target, struct connection *publisher, uint64_t time) {
  char *payload = target + publisher->payload_start;
  memcpy(target, publisher->frame, (size_t)publisher->frame_length);
  if (settings.qos) {
    if (++publisher->packet_id == 0) publisher->packet_id = 1;
    payload[-2] = (char)(publisher->packet_id >> 8);
    payload[-1] = (char)publisher->packet_id;
  }
  memcpy(payload, &publisher->sent, 8);
  memcpy(payload + 8, &time, 8);
  if (settings.fan_in) memcpy(payload + 16, &publisher->publisher, 4);
  publisher->sent++;
  return (size_t)publisher->frame_length;
}

/* --- sockets ------------------------------------------------------------------------------- */

static struct sockaddr_in broker_address(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/* Spreads connections over 127.0.1.x, so that closed ones cannot use up the ports of one address. */
static void bind_source(int fd, int number) {
  struct sockaddr_in source = {.sin_family = AF_INET};
  int yes = 1;
  source.sin_addr.s_addr = htonl(0x7f000100u + 1 + (uint32_t)(number % 200));
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
  bind(fd, (struct sockaddr *)&source, sizeof source);
}

static void read_exactly(int fd, char *target, size_t length) {
  while (length > 0) {
    ssize_t got = read(fd, target, length);
    if (got <= 0) fail("the broker closed or does not answer: %s", got ? strerror(errno) : "closed");
    target += got;
    length -= (size_t)got;
  }
}

static void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t put = write(fd, bytes, length);
    if (put < 0) fail("write: %s", strerror(errno));
    bytes += put;
    length -= (size_t)put;
  }
}

/* Opens a connection and subscribes, one step after the other: this part is not measured. */
static int open_connection(int number, const char *topic) {
  int port = topic && settings.sub_port ? settings.sub_port : settings.port;
  struct sockaddr_in address = broker_address(port);
  struct timeval patience = {.tv_sec = 10};
  char packet[128], answer[5], client_id[32];
  int yes = 1;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) fail("socket: %s", strerror(errno));
  bind_source(fd, number);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail("connect to port %d: %s", port, strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  snprintf(client_id, sizeof client_id, "bench-%d-%d", (int)getpid(), number);
  write_all(fd, packet, put_connect(packet, client_id, !(topic && settings.durable)));
  read_exactly(fd, answer, 4);
  if (answer[0] != 0x20 || answer[3] != 0) fail("CONNECT was refused with code %d", answer[3]);
  if (topic) {
    write_all(fd, packet, put_subscribe(packet, topic, settings.qos));
    read_exactly(fd, answer, 5);
    if ((unsigned char)answer[0] != 0x90 || (answer[4] & 0x80)) fail("SUBSCRIBE was refused");
  }
  return fd;
}

static void watch(struct connection *connection, int operation) {
  struct epoll_event event = {.events = EPOLLIN | (connection->blocked ? EPOLLOUT : 0),
                              .data.u32 = (uint32_t)(connection - connections)};
  if (epoll_ctl(poll_fd, operation, connection->fd, &event) < 0) fail("epoll: %s", strerror(errno));
}

static void send_out(struct connection *connection, const char *bytes, size_t length) {
  ssize_t put = 0;
  if (!connection->blocked) {
    put = write(connection->fd, bytes, length);
    if (put < 0 && errno != EAGAIN) fail("write: %s", strerror(errno));
    if (put < 0) put = 0;
    if ((size_t)put == length) return;
  }
  size_t kept = connection->out_length - connection->out_start;
  char *out = malloc(kept + length - (size_t)put);
  memcpy(out, connection->out + connection->out_start, kept);
  memcpy(out + kept, bytes + put, length - (size_t)put);
  free(connection->out);
  connection->out = out;
  connection->out_start = 0;
  connection->out_length = kept + length - (size_t)put;
  if (!connection->blocked) {
    connection->blocked = 1;
    watch(connection, EPOLL_CTL_MOD);
  }
}

static void flush_out(struct connection *connection) {
  ssize_t put = write(connection->fd, connection->out + connection->out_start,
                      connection->out_length - connection->out_start);
  if (put < 0 && errno != EAGAIN) fail("write: %s", strerror(errno));
  if (put > 0) connection->out_start += (size_t)put;
  if (connection->out_start < connection->out_length) return;
  connection->out_start = connection->out_length = 0;
  connection->blocked = 0;
  watch(connection, EPOLL_CTL_MOD);
}

/* --- receiving ----------------------------------------------------------------------------- */

static uint64_t received_before;
static int count_only; /* messages that carry no number */

static void take_message(struct connection *connection, const char *payload) {
  if (count_only) {
    received_total++;
    return;
  }
  uint64_t number, time;
  memcpy(&number, payload, 8);
  if (settings.fan_in) {
    uint32_t publisher;
    memcpy(&publisher, payload + 16, 4);
    if (publisher >= (uint32_t)settings.publishers) fail("a message of nobody");
    if (number != connection->received_of[publisher]++) disorder++;
  } else if (number != connection->received) disorder++;
  connection->received++;
  received_total++;
  if (!keep_latencies) return;
  memcpy(&time, payload + 8, 8);
  if (latency_count < latency_room) latencies[latency_count++] = (uint32_t)((now_ns() - time) / 100);
}

/* Handles the packets in [bytes, bytes + length) and returns how much of it was whole packets. */
static size_t take_packets(struct connection *connection, const char *bytes, size_t length) {
  static char acknowledgements[READ_BYTES];
  size_t at = 0, answer = 0;
  while (length - at >= 2) {
    size_t head = 2, remaining = (unsigned char)bytes[at + 1];
    if (remaining > 127) {
      if (length - at < 3) break;
      remaining = (remaining & 127) | (size_t)(unsigned char)bytes[at + 2] << 7;
      head = 3;
    }
    if (length - at < head + remaining) break;
    unsigned char type = (unsigned char)bytes[at] >> 4;
    if (type == 3) {
      const char *topic = bytes + at + head;
      const char *after = topic + 2 + ((unsigned char)topic[0] << 8 | (unsigned char)topic[1]);
      if (bytes[at] & 6) {
        acknowledgements[answer] = bytes[at] & 4 ? 0x50 : 0x40;
        acknowledgements[answer + 1] = 2;
        memcpy(acknowledgements + answer + 2, after, 2);
        answer += 4;
      }
      take_message(connection, bytes + at + head + remaining - settings.payload);
    } else if (type == 13) {
      connection->pongs++;
      connection->pong_ns = now_ns();
    } else if (type == 4 || type == 7) {
      connection->acked++;
    } else if (type == 5 || type == 6) {
      /* PUBREC is answered by PUBREL, PUBREL by PUBCOMP. */
      acknowledgements[answer] = type == 5 ? 0x62 : 0x70;
      acknowledgements[answer + 1] = 2;
      memcpy(acknowledgements + answer + 2, bytes + at + head, 2);
      answer += 4;
    }
    at += head + remaining;
  }
  if (answer) send_out(connection, acknowledgements, answer);
  return at;
}

static void receive(struct connection *connection) {
  memcpy(read_buffer, connection->rest, connection->rest_length);
  ssize_t got = read(connection->fd, read_buffer + connection->rest_length, READ_BYTES - REST_BYTES);
  if (got == 0) fail("the broker closed a connection");
  if (got < 0) {
    if (errno == EAGAIN) return;
    fail("read: %s", strerror(errno));
  }
  size_t length = connection->rest_length + (size_t)got;
  size_t used = take_packets(connection, read_buffer, length);
  connection->rest_length = length - used;
  if (connection->rest_length > REST_BYTES) fail("a packet larger than was sent");
  memcpy(connection->rest, read_buffer + used, connection->rest_length);
}

static void poll_once(int timeout_ms) {
  struct epoll_event events[EVENTS];
  int count = epoll_wait(poll_fd, events, EVENTS, timeout_ms);
  for (int index = 0; index < count; index++) {
    struct connection *connection = &connections[events[index].data.u32];
    if (events[index].events & EPOLLOUT) flush_out(connection);
    if (events[index].events & ~(uint32_t)EPOLLOUT) receive(connection);
  }
}

/* --- the flow of messages ------------------------------------------------------------------ */

/* Publishers come first, then the subscribers of publisher 0, of publisher 1 and so on. */
static void open_all(void) {
  connection_count = settings.fan_in ? settings.publishers + 1
                                     : settings.publishers * (1 + settings.subscribers);
  connections = calloc((size_t)connection_count, sizeof *connections);
  for (int index = connection_count - 1; index >= 0; index--) {
    struct connection *connection = &connections[index];
    char topic[32];
    connection->is_subscriber = index >= settings.publishers;
    connection->publisher = connection->is_subscriber
                                ? (index - settings.publishers) / settings.subscribers
                                : index;
    if (settings.fan_in) snprintf(topic, sizeof topic, "bench/+");
    else snprintf(topic, sizeof topic, "bench/%d", connection->publisher);
    if (settings.fan_in && connection->is_subscriber)
      connection->received_of = calloc((size_t)settings.publishers, sizeof(uint64_t));
    connection->fd = open_connection(index, connection->is_subscriber ? topic : NULL);
    prepare_publish(connection);
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    watch(connection, EPOLL_CTL_ADD);
  }
}

static uint64_t slowest_of(int publisher) {
  if (settings.fan_in) return connections[settings.publishers].received_of[publisher];
  struct connection *first = connections + settings.publishers + publisher * settings.subscribers;
  uint64_t slowest = first->received;
  for (int index = 1; index < settings.subscribers; index++)
    if (first[index].received < slowest) slowest = first[index].received;
  return slowest;
}

static void send_batch(struct connection *publisher, int count) {
  static char bytes[READ_BYTES];
  size_t length = 0;
  uint64_t time = now_ns();
  for (int index = 0; index < count; index++) length += put_publish(bytes + length, publisher, time);
  send_out(publisher, bytes, length);
}

/* As many messages as the window lets through, in whole batches (above QoS 0: what has been acknowledged). */
static void fill_window(struct connection *publisher) {
  while (!publisher->blocked) {
    uint64_t room = (uint64_t)settings.window - (publisher->sent - slowest_of(publisher->publisher));
    int count = settings.batch;
    if (settings.qos) {
      int free_slots = settings.inflight - (int)(publisher->sent - publisher->acked);
      if (free_slots < count) count = free_slots;
    }
    if (count <= 0 || room < (uint64_t)count) return;
    send_batch(publisher, count);
  }
}

static uint64_t schedule_start, scheduled;

/* The messages that are due by now, one from each publisher in turn. */
static void send_due(uint64_t now) {
  uint64_t due = (uint64_t)((double)(now - schedule_start) / 1e9 * settings.rate);
  while (scheduled < due) {
    send_batch(&connections[scheduled % (uint64_t)settings.publishers], 1);
    scheduled++;
  }
}

static uint64_t sent_total(void) {
  uint64_t sum = 0;
  for (int index = 0; index < settings.publishers; index++) sum += connections[index].sent;
  return sum;
}

/* Runs until `end`; with a rate by the clock, otherwise as fast as the window allows. */
static void run_until(uint64_t end, int paced) {
  for (;;) {
    uint64_t now = now_ns();
    if (now >= end) return;
    if (paced) {
      send_due(now);
      poll_once(settings.tick_us >= 1000 ? settings.tick_us / 1000 : 0);
    } else {
      for (int index = 0; index < settings.publishers; index++) fill_window(&connections[index]);
      poll_once(10);
    }
  }
}

/* Waits for what is still on its way; gives up when nothing has come for two seconds. */
static void drain(uint64_t expected) {
  uint64_t last = now_ns(), seen = received_total;
  while (received_total < expected && now_ns() - last < 2000000000u) {
    poll_once(10);
    if (received_total != seen) seen = received_total, last = now_ns();
  }
}

static int by_value(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return a < b ? -1 : a > b;
}

static double percentile(double share) {
  if (latency_count == 0) return 0;
  size_t index = (size_t)(share * (double)(latency_count - 1));
  return latencies[index] / 10.0;
}

static void measure_flow(int paced, int with_latency) {
  if (with_latency) {
    latency_room = (size_t)(settings.rate * (settings.seconds + 2) * settings.subscribers) + 1;
    latencies = malloc(latency_room * sizeof *latencies);
  }
  open_all();
  schedule_start = now_ns();
  run_until(schedule_start + (uint64_t)(settings.warm * 1e9), paced);
  uint64_t start = now_ns(), before = received_total, sent_before = sent_total();
  double cpu = broker_cpu(), own = own_cpu();
  keep_latencies = with_latency;
  run_until(start + (uint64_t)(settings.seconds * 1e9), paced);
  uint64_t end = now_ns(), after = received_total, sent_after = sent_total();
  cpu = broker_cpu() - cpu;
  own = own_cpu() - own;
  keep_latencies = 0;
  uint64_t expected = sent_total() * (uint64_t)(settings.fan_in ? 1 : settings.subscribers);
  drain(expected);
  double seconds = (double)(end - start) / 1e9;
  double delivered = (double)(after - before);
  qsort(latencies, latency_count, sizeof *latencies, by_value);
  printf("{\"seconds\":%.3f,\"published\":%.1f,\"delivered\":%.1f,\"expected\":%llu,\"received\":%llu,"
         "\"disorder\":%llu,\"brokerCpu\":%.4f,\"loadCpu\":%.4f,\"cpuMicrosPerMessage\":%.3f,"
         "\"p50Micros\":%.1f,\"p99Micros\":%.1f}\n",
         seconds, (double)(sent_after - sent_before) / seconds, delivered / seconds,
         (unsigned long long)expected, (unsigned long long)received_total,
         (unsigned long long)disorder, cpu / seconds, own / seconds,
         delivered > 0 ? cpu * 1e6 / delivered : 0, percentile(0.5), percentile(0.99));
}

/* --- connection rate ----------------------------------------------------------------------- */

static int begin_connection(int number) {
  struct sockaddr_in address = broker_address(settings.port);
  int yes = 1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) fail("socket: %s", strerror(errno));
  bind_source(fd, number);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
    fail("connect to port %d: %s", settings.port, strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

/* CONNECT, CONNACK, DISCONNECT, close; `connections` of them at any time. */
static void measure_connects(void) {
  connection_count = settings.connections;
  connections = calloc((size_t)connection_count, sizeof *connections);
  int number = 0;
  uint64_t done = 0, done_before = 0, begin = now_ns(), start = 0;
  uint64_t warm_end = begin + (uint64_t)(settings.warm * 1e9), end = UINT64_MAX;
  double cpu = 0, own = 0;
  for (int index = 0; index < connection_count; index++) {
    connections[index] = (struct connection){.fd = begin_connection(number++), .blocked = 1};
    watch(&connections[index], EPOLL_CTL_ADD);
  }
  for (;;) {
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    if (start == 0 && now >= warm_end) {
      start = now, done_before = done, cpu = broker_cpu(), own = own_cpu();
      end = start + (uint64_t)(settings.seconds * 1e9);
    }
    if (now >= end) break;
    int count = epoll_wait(poll_fd, events, EVENTS, 1000);
    if (count == 0) fail("no connection was answered for a second");
    for (int index = 0; index < count; index++) {
      struct connection *connection = &connections[events[index].data.u32];
      char packet[64], client_id[32];
      if (connection->blocked) {
        snprintf(client_id, sizeof client_id, "c-%d-%d", (int)getpid(), number);
        write_all(connection->fd, packet, put_connect(packet, client_id, 1));
        connection->blocked = 0;
        watch(connection, EPOLL_CTL_MOD);
        continue;
      }
      if (read(connection->fd, packet, 4) != 4 || packet[0] != 0x20 || packet[3] != 0)
        fail("a connection was refused: %s", strerror(errno));
      write_all(connection->fd, "\xe0\0", 2);
      close(connection->fd);
      done++;
      connection->fd = begin_connection(number++);
      connection->blocked = 1;
      watch(connection, EPOLL_CTL_ADD);
    }
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"seconds\":%.3f,\"connectsPerSecond\":%.1f,\"brokerCpu\":%.4f,\"loadCpu\":%.4f}\n", seconds,
         (double)(done - done_before) / seconds, (broker_cpu() - cpu) / seconds,
         (own_cpu() - own) / seconds);
}

/* --- an offline session ---------------------------------------------------------------------- */

/* So many messages for a session whose client is away, then what it takes to get them all. */
static void measure_offline(void) {
  settings.durable = 1;
  if (settings.qos == 0) fail("offline needs qos 1 or 2");
  open_all();
  struct connection *subscriber = &connections[settings.publishers];
  write_all(subscriber->fd, "\xe0\0", 2);
  close(subscriber->fd);
  uint64_t start = now_ns(), acked = 0, last = start, seen = 0;
  while (acked < settings.messages) {
    acked = 0;
    uint64_t sent = sent_total();
    for (int index = 0; index < settings.publishers; index++) {
      struct connection *publisher = &connections[index];
      while (!publisher->blocked && sent < settings.messages) {
        int count = settings.inflight - (int)(publisher->sent - publisher->acked);
        if ((uint64_t)count > settings.messages - sent) count = (int)(settings.messages - sent);
        if (count > settings.batch) count = settings.batch;
        if (count <= 0) break;
        send_batch(publisher, count);
        sent += (uint64_t)count;
      }
      acked += publisher->acked;
    }
    poll_once(10);
    if (acked != seen) seen = acked, last = now_ns();
    if (now_ns() - last > 30000000000u) fail("nothing was acknowledged for 30 s");
  }
  double queued = (double)(now_ns() - start) / 1e9, memory = broker_rss_bytes();
  /* The same client again, at once with its first messages: the CONNACK is read like any packet. */
  struct sockaddr_in address = broker_address(settings.port);
  char packet[128], client_id[32];
  start = now_ns();
  subscriber->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(subscriber->fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect again");
  snprintf(client_id, sizeof client_id, "bench-%d-%d", (int)getpid(), settings.publishers);
  write_all(subscriber->fd, packet, put_connect(packet, client_id, 0));
  fcntl(subscriber->fd, F_SETFL, O_NONBLOCK);
  watch(subscriber, EPOLL_CTL_ADD);
  drain(settings.messages);
  double delivered = (double)(now_ns() - start) / 1e9, most = broker_rss_bytes();
  printf("{\"seconds\":%.3f,\"expected\":%llu,\"received\":%llu,\"disorder\":%llu,"
         "\"queuedPerSecond\":%.1f,\"delivered\":%.1f,\"rssBytesQueued\":%.0f,\"rssBytesAfter\":%.0f}\n",
         delivered, (unsigned long long)settings.messages, (unsigned long long)received_total,
         (unsigned long long)disorder, (double)settings.messages / queued,
         (double)settings.messages / delivered, memory, most);
}

/* --- memory of idle connections ------------------------------------------------------------ */

static void measure_memory(void) {
  int *open = calloc((size_t)settings.connections, sizeof *open);
  char topic[64];
  for (int round = 0; round < 20; round++) {
    for (int index = 0; index < 200; index++) {
      snprintf(topic, sizeof topic, "warm/%d", index);
      open[index] = open_connection(index, topic);
    }
    for (int index = 0; index < 200; index++) close(open[index]);
  }
  wait_ms(500);
  double before = broker_rss_bytes();
  for (int index = 0; index < settings.connections; index++) {
    snprintf(topic, sizeof topic, "idle/%d/state", index);
    open[index] = open_connection(index, topic);
  }
  wait_ms(1000);
  double after = broker_rss_bytes();
  printf("{\"bytesPerConnection\":%.1f,\"rssBytesBefore\":%.0f,\"rssBytesAfter\":%.0f}\n",
         (after - before) / settings.connections, before, after);
}

/* --- many subscriptions ---------------------------------------------------------------------- */

enum { FILTERS_TOGETHER = 100, SITES = 1000, WANTED_OF = 50 };

/* One filter in ten has a wildcard. Every address `site/S/floor/1/dev/D/state` is matched by one filter. */
static int put_filter(char *target, uint64_t number, int as_address) {
  int site = (int)(number % SITES), device = (int)(number / SITES);
  char *format = "site/%d/floor/1/dev/%d/state";
  if (!as_address && number % 20 == 0) format = "site/%d/+/1/dev/%d/state";
  else if (!as_address && number % 10 == 0) format = "site/%d/floor/1/dev/%d/state/#";
  return snprintf(target, 64, format, site, device);
}

static void subscribe_many(int fd, uint64_t first, uint64_t count) {
  static char packet[FILTERS_TOGETHER * 72 + 16];
  static char answer[FILTERS_TOGETHER + 8];
  for (uint64_t done = 0; done < count; done += FILTERS_TOGETHER) {
    size_t length = 5;
    packet[0] = (char)0x82;
    packet[3] = 0;
    packet[4] = 1;
    for (int index = 0; index < FILTERS_TOGETHER; index++) {
      char filter[64];
      put_filter(filter, first + done + (uint64_t)index, 0);
      length += put_text(packet + length, filter);
      packet[length++] = 0;
    }
    size_t remaining = length - 3;
    packet[1] = (char)((remaining & 127) | 128);
    packet[2] = (char)(remaining >> 7);
    write_all(fd, packet, length);
    read_exactly(fd, answer, 4 + FILTERS_TOGETHER);
    if ((unsigned char)answer[0] != 0x90) fail("SUBSCRIBE was not answered");
  }
}

/* `connections` with `messages` subscriptions in all, then publishing to addresses that are new each time. */
static void measure_subscriptions(void) {
  uint64_t each = settings.messages / (uint64_t)settings.connections;
  connection_count = settings.connections + settings.publishers;
  connections = calloc((size_t)connection_count, sizeof *connections);
  int *open = calloc((size_t)settings.connections, sizeof *open);
  for (int index = 0; index < settings.connections; index++) open[index] = open_connection(index, NULL);
  wait_ms(500);
  double before = broker_rss_bytes();
  uint64_t begin = now_ns();
  for (int index = 0; index < settings.connections; index++)
    subscribe_many(open[index], (uint64_t)index * each, each);
  double subscribed = (double)(now_ns() - begin) / 1e9;
  wait_ms(1500);
  double after = broker_rss_bytes();
  for (int index = 0; index < connection_count; index++) {
    struct connection *connection = &connections[index];
    connection->is_subscriber = index < settings.connections;
    connection->fd = connection->is_subscriber ? open[index] : open_connection(index, NULL);
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    watch(connection, EPOLL_CTL_ADD);
  }
  count_only = 1;
  uint64_t sent = 0, total = each * (uint64_t)settings.connections, start = now_ns();
  uint64_t end = start + (uint64_t)(settings.seconds * 1e9);
  int counted = 0;
  double cpu = 0;
  while (now_ns() < end || !counted) {
    for (int index = settings.connections; index < connection_count; index++) {
      struct connection *publisher = &connections[index];
      static char bytes[READ_BYTES];
      size_t length = 0;
      if (publisher->blocked || sent - received_total * WANTED_OF > (uint64_t)settings.window) continue;
      for (int number = 0; number < settings.batch; number++) {
        char topic[64];
        /* A stride that shares no factor with the count: every address once before one comes again. */
        int topic_length = put_filter(topic, sent * 7919 % total, 1);
        /* Nobody wants the others, which only differ in their last letter: finding that out is what is measured. */
        if (sent % WANTED_OF) topic[topic_length - 1] = 'x';
        bytes[length] = 0x30;
        bytes[length + 1] = (char)(2 + topic_length + settings.payload);
        length += 2 + put_text(bytes + length + 2, topic);
        memset(bytes + length, 0, (size_t)settings.payload);
        length += (size_t)settings.payload;
        sent++;
      }
      send_out(publisher, bytes, length);
    }
    poll_once(10);
    if (!counted && now_ns() - start > (uint64_t)(settings.warm * 1e9)) {
      counted = 1, start = now_ns(), end = start + (uint64_t)(settings.seconds * 1e9);
      received_before = received_total, cpu = broker_cpu();
    }
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  uint64_t counted_messages = (received_total - received_before) * WANTED_OF;
  cpu = (broker_cpu() - cpu) / seconds;
  uint64_t wanted = (sent + WANTED_OF - 1) / WANTED_OF;
  drain(wanted);
  printf("{\"seconds\":%.3f,\"published\":%.1f,\"expected\":%llu,\"received\":%llu,\"brokerCpu\":%.4f,"
         "\"bytesPerSubscription\":%.1f,\"subscribesPerSecond\":%.1f}\n",
         seconds, (double)counted_messages / seconds, (unsigned long long)wanted,
         (unsigned long long)received_total, cpu, (after - before) / (double)total, (double)total / subscribed);
}

/* --- many retained messages ------------------------------------------------------------------- */

/* `messages` retained ones, then a subscription of all, while another client pings every millisecond. */
static void measure_retained(void) {
  settings.publishers = 1;
  settings.qos = 1;
  connection_count = 3;
  connections = calloc((size_t)connection_count, sizeof *connections);
  for (int index = 0; index < 3; index++) {
    connections[index].fd = open_connection(index, NULL);
    fcntl(connections[index].fd, F_SETFL, O_NONBLOCK);
    watch(&connections[index], EPOLL_CTL_ADD);
  }
  struct connection *publisher = &connections[0], *subscriber = &connections[1], *pinger = &connections[2];
  uint64_t sent = 0, begin = now_ns();
  while (publisher->acked < settings.messages) {
    while (!publisher->blocked && sent < settings.messages && sent - publisher->acked < 1000) {
      char packet[128], topic[64];
      int topic_length = put_filter(topic, sent, 1);
      packet[0] = 0x33;
      packet[1] = (char)(2 + topic_length + 2 + 20);
      size_t length = 2 + put_text(packet + 2, topic);
      uint16_t id = (uint16_t)(sent % 65535 + 1);
      packet[length++] = (char)(id >> 8);
      packet[length++] = (char)id;
      memset(packet + length, 'r', 20);
      send_out(publisher, packet, length + 20);
      sent++;
    }
    poll_once(10);
    if (now_ns() - begin > 110000000000u) fail("retaining takes too long");
  }
  settings.payload = 20;
  count_only = 1;
  uint64_t start = now_ns(), first = 0, worst = 0, pinged = 0, last = start;
  send_out(subscriber, "\x82\x06\0\1\0\1#\1", 8);
  while (received_total < settings.messages && now_ns() - last < 10000000000u) {
    uint64_t now = now_ns(), seen = received_total;
    if (pinger->pongs == pinger->pings && now - pinged > 1000000) {
      send_out(pinger, "\xc0\0", 2);
      pinger->pings++;
      pinged = now;
    }
    poll_once(1);
    if (pinger->pongs == pinger->pings && pinger->pong_ns > pinged && pinger->pong_ns - pinged > worst)
      worst = pinger->pong_ns - pinged;
    if (first == 0 && received_total > 0) first = now_ns();
    if (received_total != seen) last = now_ns();
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"seconds\":%.3f,\"delivered\":%.1f,\"expected\":%llu,\"received\":%llu,"
         "\"firstMs\":%.2f,\"worstPingMs\":%.2f}\n",
         seconds, (double)received_total / seconds, (unsigned long long)settings.messages,
         (unsigned long long)received_total, (double)(first - start) / 1e6, (double)worst / 1e6);
}

/* --- start --------------------------------------------------------------------------------- */

static void set(const char *key, const char *value) {
  if (!strcmp(key, "port")) settings.port = atoi(value);
  else if (!strcmp(key, "publishers")) settings.publishers = atoi(value);
  else if (!strcmp(key, "subscribers")) settings.subscribers = atoi(value);
  else if (!strcmp(key, "qos")) settings.qos = atoi(value);
  else if (!strcmp(key, "payload")) settings.payload = atoi(value);
  else if (!strcmp(key, "window")) settings.window = atoi(value);
  else if (!strcmp(key, "inflight")) settings.inflight = atoi(value);
  else if (!strcmp(key, "batch")) settings.batch = atoi(value);
  else if (!strcmp(key, "rate")) settings.rate = atof(value);
  else if (!strcmp(key, "tickMicros")) settings.tick_us = atoi(value);
  else if (!strcmp(key, "warm")) settings.warm = atof(value);
  else if (!strcmp(key, "seconds")) settings.seconds = atof(value);
  else if (!strcmp(key, "connections")) settings.connections = atoi(value);
  else if (!strcmp(key, "fanIn")) settings.fan_in = atoi(value);
  else if (!strcmp(key, "durable")) settings.durable = atoi(value);
  else if (!strcmp(key, "subPort")) settings.sub_port = atoi(value);
  else if (!strcmp(key, "messages")) settings.messages = strtoull(value, NULL, 10);
  else if (!strcmp(key, "pid") && settings.pid_count < PIDS_MAX)
    settings.pids[settings.pid_count++] = atoi(value);
  else fail("unknown setting %s", key);
}

int main(int count, char **arguments) {
  struct rlimit files;
  const char *mode = count > 1 ? arguments[1] : "";
  for (int index = 2; index < count; index++) {
    char *equals = strchr(arguments[index], '=');
    if (!equals) fail("not key=value: %s", arguments[index]);
    *equals = 0;
    set(arguments[index], equals + 1);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the benchmark */
  if (settings.port == 0) fail("port is missing");
  if (settings.payload < 20 || settings.payload > 400) fail("payload must be 20 to 400 bytes");
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  read_buffer = malloc(READ_BYTES);
  poll_fd = epoll_create1(0);
  if (!strcmp(mode, "throughput")) measure_flow(0, 0);
  else if (!strcmp(mode, "paced")) measure_flow(1, 0);
  else if (!strcmp(mode, "latency")) measure_flow(1, 1);
  else if (!strcmp(mode, "connect")) measure_connects();
  else if (!strcmp(mode, "offline")) measure_offline();
  else if (!strcmp(mode, "subscriptions")) measure_subscriptions();
  else if (!strcmp(mode, "retained")) measure_retained();
  else if (!strcmp(mode, "memory")) measure_memory();
  else fail("unknown mode %s", mode);
  return 0;
}
