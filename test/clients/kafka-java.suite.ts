import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { kafkaClassPath, provideKafkaForJava } from './kafka-java.ts'
import type { ClientSuite } from './suite.ts'

/** Of a program that runs for seconds: no second compiler, one small heap. */
const JAVA = ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx512m']

export const suite: ClientSuite = {
  name: 'Apache Kafka for Java',
  scenarios: ['produce and consume', 'transactions', 'streams exactly once'],
  onLevelDb: [
    'consumer group of KIP-848',
    'share group',
    'admin',
    'kafka-topics',
    'kafka-configs',
    'kafka-console',
    'kafka-consumer-groups',
    'kafka-acls',
    'kafka-transactions',
    'kafka-producer-perf-test',
  ],
  provide: provideKafkaForJava,
  command: ({ kafkaPorts, folder, scenarios }) => {
    const classPath = `${kafkaClassPath()}:${folder}`
    if (!existsSync(join(folder, 'KafkaScenarios.class'))) {
      const sources = ['KafkaScenarios', 'KafkaTools', 'WordCount'].map((name) =>
        join(import.meta.dirname, `kafka-java/${name}.java`),
      )
      const flags = ['-proc:none', '-cp', classPath, '-d', folder]
      execFileSync('javac', [...flags, ...sources], { stdio: 'inherit' })
    }
    const brokers = kafkaPorts.map((port) => `127.0.0.1:${port}`).join(',')
    return [...JAVA, '-cp', classPath, 'KafkaScenarios', brokers, ...scenarios]
  },
}
