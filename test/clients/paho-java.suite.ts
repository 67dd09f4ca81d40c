import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type ClientSuite, debian, works } from './suite.ts'

const VERSION = '1.2.5'
const ARTIFACT = 'org.eclipse.paho.mqttv5.client'
const JAR = join(
  homedir(),
  '.m2/repository/org/eclipse/paho',
  ARTIFACT,
  VERSION,
  `${ARTIFACT}-${VERSION}.jar`,
)

export const suite: ClientSuite = {
  name: 'paho for Java',
  scenarios: ['qos', 'retained', 'will', 'shared', 'takeover', 'durable'],
  provide: (machine) => {
    const missing = debian(
      machine,
      ['default-jdk-headless', 'maven'],
      () => machine.has('javac') && machine.has('java') && machine.has('mvn'),
    )
    if (missing !== undefined || existsSync(JAR)) return missing
    const coordinates = `org.eclipse.paho:${ARTIFACT}:${VERSION}`
    const got = works(machine, 'mvn', '-q', '-B', 'dependency:get', `-Dartifact=${coordinates}`)
    return got && existsSync(JAR) ? undefined : `${coordinates} from Maven Central`
  },
  command: ({ mqttPorts, folder }) => {
    const source = join(import.meta.dirname, 'paho-java/Scenarios.java')
    if (!existsSync(join(folder, 'Scenarios.class'))) {
      execFileSync('javac', ['-cp', JAR, '-d', folder, source], { stdio: 'inherit' })
    }
    return ['java', '-cp', `${JAR}:${folder}`, 'Scenarios', ...mqttPorts.map(String)]
  },
}
