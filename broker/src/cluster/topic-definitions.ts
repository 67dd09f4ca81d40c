/** Topics that clients make and delete, as they are kept in the metadata. */
import { refusalOfTopic, topicValue } from '@robust/proto'
import { BrokerError } from '../core/errors.ts'
import type {
  NewTopic,
  TopicDefinitions,
  TopicSettings,
  TopicShape,
} from '../core/topics/topic-logs.ts'
import { changeResources, editResource, type ResourceChanges } from './change-resources.ts'
import { DELETED, TOPIC } from './topic-directory.ts'

export class PlacedTopics implements TopicDefinitions {
  readonly #options: ResourceChanges

  constructor(options: ResourceChanges) {
    this.#options = options
  }

  refusal({ name, partitions, config }: NewTopic): string | undefined {
    return refusalOfTopic(name, { partitions, config })
  }

  async create(topic: NewTopic, tenant: string): Promise<boolean> {
    const refusal = this.refusal(topic)
    if (refusal !== undefined) throw new BrokerError('REFUSED', refusal)
    const { name, partitions, config } = topic
    const key = { kind: TOPIC, tenant, name }
    const value = JSON.stringify({ partitions, config })
    const changes = [{ key, value, expectedVersion: 0 }]
    return (await changeResources(this.#options, changes)) !== undefined
  }

  async remove(name: string, tenant: string): Promise<boolean> {
    const known = this.#options.metadata.resources.get(TOPIC, tenant, name)
    if (known === undefined) return false
    const { version: expectedVersion, created } = known
    const gone = { key: { kind: TOPIC, tenant, name }, value: undefined, expectedVersion }
    const key = { kind: DELETED, tenant, name: String(created) }
    const mark = { key, value: JSON.stringify({ name }), expectedVersion: undefined }
    return (await changeResources(this.#options, [gone, mark])) !== undefined
  }

  shape(name: string, tenant: string): TopicShape | undefined {
    const known = this.#options.metadata.resources.get(TOPIC, tenant, name)
    return known && shapeOf(JSON.parse(known.value))
  }

  alter(name: string, tenant: string, edit: (now: TopicShape) => TopicShape): Promise<void> {
    return editResource(this.#options, { kind: TOPIC, tenant, name }, (now) => {
      if (now === undefined) throw new BrokerError('NOT_FOUND', `there is no topic ${name}`)
      const edited = { ...now, ...edit(shapeOf(now)) }
      const refusal = refusalOfTopic(name, edited)
      if (refusal !== undefined) throw new BrokerError('REFUSED', refusal)
      return edited
    })
  }

  readonly defaults: TopicSettings = topicValue('{}').config
}

function shapeOf({ partitions = 1, config = {} }: Partial<TopicShape>): TopicShape {
  return { partitions, config }
}
