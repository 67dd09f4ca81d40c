/* What paho for C (MQTT 3.1.1) does against a cluster of three. One line on stdout for each scenario; see
 * ../suite.ts. */
#include <MQTTClient.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREFIX "paho-c"
#define WAIT_MS 30000

static const char *ports[3];
static char reason[256];

/* 0, and why, so that a scenario can say `return failed(...)`. */
static int failed(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  return 0;
}

struct options {
  const char *name;
  int clean;
  const char *will;
};

static MQTTClient connected(int broker, struct options options, int *session_present) {
  char uri[64];
  MQTTClient client = NULL;
  MQTTClient_connectOptions connect = MQTTClient_connectOptions_initializer;
  MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
  snprintf(uri, sizeof uri, "tcp://127.0.0.1:%s", ports[broker - 1]);
  MQTTClient_create(&client, uri, options.name, MQTTCLIENT_PERSISTENCE_NONE, NULL);
  connect.keepAliveInterval = 30;
  connect.cleansession = options.clean;
  connect.MQTTVersion = MQTTVERSION_3_1_1;
  if (options.will != NULL) {
    will.topicName = options.will;
    will.message = "gone";
    will.qos = 1;
    connect.will = &will;
  }
  if (MQTTClient_connect(client, &connect) != MQTTCLIENT_SUCCESS) return NULL;
  if (session_present != NULL) *session_present = connect.returned.sessionPresent;
  return client;
}

static const struct options PLAIN = {"", 1, NULL};

static int publish(MQTTClient client, const char *topic, const char *text, int qos, int retained) {
  MQTTClient_deliveryToken token;
  if (MQTTClient_publish(client, topic, (int)strlen(text), text, qos, retained, &token) !=
      MQTTCLIENT_SUCCESS)
    return 0;
  return qos == 0 || MQTTClient_waitForCompletion(client, token, WAIT_MS) == MQTTCLIENT_SUCCESS;
}

struct received {
  char text[32];
  int qos;
  int retained;
};

/* 1 when a message came in time. */
static int take(MQTTClient client, struct received *received, unsigned long wait_ms) {
  char *topic = NULL;
  int length;
  MQTTClient_message *message = NULL;
  int code = MQTTClient_receive(client, &topic, &length, &message, wait_ms);
  if ((code != MQTTCLIENT_SUCCESS && code != MQTTCLIENT_TOPICNAME_TRUNCATED) || message == NULL)
    return 0;
  snprintf(received->text, sizeof received->text, "%.*s", message->payloadlen,
           (char *)message->payload);
  received->qos = message->qos;
  received->retained = message->retained;
  MQTTClient_freeMessage(&message);
  MQTTClient_free(topic);
  return 1;
}

static void end(MQTTClient client) {
  MQTTClient_disconnect(client, 1000);
  MQTTClient_destroy(&client);
}

static int qos(void) {
  struct received received;
  int seen = 0;
  MQTTClient subscriber = connected(2, PLAIN, NULL);
  MQTTClient publisher = connected(1, PLAIN, NULL);
  if (subscriber == NULL || publisher == NULL) return failed("not connected");
  if (MQTTClient_subscribe(subscriber, PREFIX "/qos/#", 2) != 0) return failed("not subscribed");
  for (int qos = 0; qos < 3; qos++) {
    char topic[32], text[4];
    snprintf(topic, sizeof topic, PREFIX "/qos/%d", qos);
    snprintf(text, sizeof text, "%d", qos);
    if (!publish(publisher, topic, text, qos, 0)) return failed("QoS %d: not acknowledged", qos);
  }
  for (int at = 0; at < 3; at++) {
    if (!take(subscriber, &received, WAIT_MS)) return failed("%d messages", at);
    if (atoi(received.text) != received.qos) return failed("%s came with %d", received.text, received.qos);
    seen |= 1 << received.qos;
  }
  if (seen != 7) return failed("not each of them");
  if (take(subscriber, &received, 300)) return failed("a message came twice");
  end(subscriber);
  end(publisher);
  return 1;
}

static int retained(void) {
  struct received received;
  MQTTClient publisher = connected(1, PLAIN, NULL);
  MQTTClient late = connected(3, PLAIN, NULL);
  MQTTClient later = connected(2, PLAIN, NULL);
  if (publisher == NULL || late == NULL || later == NULL) return failed("not connected");
  if (!publish(publisher, PREFIX "/retained", "kept", 1, 1)) return failed("not acknowledged");
  MQTTClient_subscribe(late, PREFIX "/retained", 1);
  if (!take(late, &received, WAIT_MS) || !received.retained || strcmp(received.text, "kept") != 0)
    return failed("not the retained message");
  if (!publish(publisher, PREFIX "/retained", "", 1, 1)) return failed("not acknowledged");
  MQTTClient_subscribe(later, PREFIX "/retained", 1);
  if (take(later, &received, 300)) return failed("it is still there");
  end(publisher);
  end(late);
  end(later);
  return 1;
}

static int will(void) {
  struct received received;
  MQTTClient watcher = connected(2, PLAIN, NULL);
  if (watcher == NULL) return failed("not connected");
  MQTTClient_subscribe(watcher, PREFIX "/will", 1);
  /* A process that dies says no DISCONNECT. */
  pid_t child = fork();
  if (child == 0) {
    struct options dying = {"", 1, PREFIX "/will"};
    _exit(connected(1, dying, NULL) == NULL);
  }
  waitpid(child, NULL, 0);
  if (!take(watcher, &received, WAIT_MS) || strcmp(received.text, "gone") != 0)
    return failed("no will");
  end(watcher);
  return 1;
}

static int shared(void) {
  struct received received;
  unsigned seen = 0;
  MQTTClient members[2] = {connected(1, PLAIN, NULL), connected(2, PLAIN, NULL)};
  MQTTClient publisher = connected(3, PLAIN, NULL);
  if (members[0] == NULL || members[1] == NULL || publisher == NULL) return failed("not connected");
  for (int at = 0; at < 2; at++)
    if (MQTTClient_subscribe(members[at], "$share/workers/" PREFIX "/jobs/#", 1) != 0)
      return failed("not subscribed");
  for (int at = 0; at < 20; at++) {
    char topic[32], text[4];
    snprintf(topic, sizeof topic, PREFIX "/jobs/%d", at);
    snprintf(text, sizeof text, "%d", at);
    if (!publish(publisher, topic, text, 1, 0)) return failed("not acknowledged");
  }
  for (int at = 0; at < 2; at++)
    for (int count = 0; count < 10; count++) {
      if (!take(members[at], &received, WAIT_MS)) return failed("member %d got %d", at, count);
      seen |= 1u << atoi(received.text);
    }
  if (seen != (1u << 20) - 1) return failed("not each of them");
  for (int at = 0; at < 2; at++) end(members[at]);
  end(publisher);
  return 1;
}

static int takeover(void) {
  struct received received;
  int present = 0;
  struct options options = {PREFIX "-twice", 0, NULL};
  MQTTClient first = connected(1, options, NULL);
  if (first == NULL) return failed("not connected");
  if (MQTTClient_subscribe(first, PREFIX "/twice", 1) != 0) return failed("not subscribed");
  MQTTClient second = connected(3, options, &present);
  MQTTClient publisher = connected(2, PLAIN, NULL);
  if (second == NULL || publisher == NULL) return failed("not connected");
  if (!present) return failed("no session");
  for (int waited = 0; MQTTClient_isConnected(first); waited += 100) {
    if (waited > WAIT_MS) return failed("the first connection is still there");
    take(first, &received, 100);
  }
  if (!publish(publisher, PREFIX "/twice", "here", 1, 0)) return failed("not acknowledged");
  if (!take(second, &received, WAIT_MS) || strcmp(received.text, "here") != 0)
    return failed("nothing came");
  MQTTClient_destroy(&first);
  end(second);
  end(publisher);
  return 1;
}

static int durable(void) {
  struct received received;
  char line[16], text[4], seen[100] = {0};
  int present = 0;
  struct options options = {PREFIX "-durable", 0, NULL};
  MQTTClient first = connected(2, options, NULL);
  MQTTClient publisher = connected(1, PLAIN, NULL);
  if (first == NULL || publisher == NULL) return failed("not connected");
  if (MQTTClient_subscribe(first, PREFIX "/durable", 1) != 0) return failed("not subscribed");
  end(first);
  for (int at = 0; at < 100; at++) {
    if (at == 50) {
      puts("await-kill");
      if (fgets(line, sizeof line, stdin) == NULL) return failed("nobody says that it is killed");
    }
    snprintf(text, sizeof text, "%d", at);
    if (!publish(publisher, PREFIX "/durable", text, 1, 0)) return failed("not acknowledged");
  }
  MQTTClient again = connected(3, options, &present);
  if (again == NULL) return failed("not connected again");
  if (!present) return failed("the session is gone");
  for (int count = 0; count < 100;) {
    if (!take(again, &received, WAIT_MS)) return failed("%d messages", count);
    char *known = &seen[atoi(received.text) % 100];
    count += !*known;
    *known = 1;
  }
  end(again);
  end(publisher);
  return 1;
}

static const struct {
  const char *name;
  int (*run)(void);
} SCENARIOS[] = {{"qos", qos},       {"retained", retained}, {"will", will},
                 {"shared", shared}, {"takeover", takeover}, {"durable", durable}};

int main(int count, char **arguments) {
  if (count < 4) return 64;
  for (int at = 0; at < 3; at++) ports[at] = arguments[at + 1];
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (size_t at = 0; at < sizeof SCENARIOS / sizeof *SCENARIOS; at++) {
    if (SCENARIOS[at].run()) printf("ok %s\n", SCENARIOS[at].name);
    else printf("not ok %s: %s\n", SCENARIOS[at].name, reason);
  }
  return 0;
}
