/** Apache Kafka for Java from Maven Central: clients, tools, Kafka Streams and the server. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from '../support/debian-tools.ts'
import { debian, FETCHED, works } from './suite.ts'

const POM = join(import.meta.dirname, 'kafka-java/pom.xml')
const CLASS_PATH = join(FETCHED, 'kafka-class-path')

/** Fetches the jars if that is needed. Answers what is missing nevertheless. */
export function provideKafkaForJava(machine: Machine): string | undefined {
  const missing = debian(
    machine,
    ['default-jdk-headless', 'maven'],
    () => machine.has('javac') && machine.has('java') && machine.has('mvn'),
  )
  if (missing !== undefined) return missing
  mkdirSync(FETCHED, { recursive: true })
  const build = ['dependency:build-classpath', `-Dmdep.outputFile=${CLASS_PATH}`]
  const got = works(machine, 'mvn', '-q', '-B', '-f', POM, ...build)
  return got && existsSync(CLASS_PATH) ? undefined : 'Apache Kafka 4.2 from Maven Central'
}

/** Of all its jars. */
export function kafkaClassPath(): string {
  return readFileSync(CLASS_PATH, 'utf8').trim()
}
