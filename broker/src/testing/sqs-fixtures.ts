/** An SQS server over the real queue engine, and resources as the metadata has them. */
import { randomUUID } from 'node:crypto'
import { systemClock } from '../cluster/system-clock.ts'
import type { Message } from '../core/message.ts'
import type { KnownResource, ResourceListener, Resources } from '../core/ports/resources.ts'
import { Admission } from '../protocols/shared/admission.ts'
import { SqsServer, type SqsServerOptions } from '../protocols/sqs/server.ts'
import { AccessKeys } from '../security/access-keys.ts'
import { Authenticator } from '../security/authenticator.ts'
import { LocalQueues } from './local-queues.ts'

export class LocalResources implements Resources {
  readonly #values = new Map<string, KnownResource>()
  readonly #listeners = new Map<string, ResourceListener[]>()
  #revision = 0

  set(kind: string, name: string, value: object | undefined): void {
    const key = `${kind} ${name}`
    const version = ++this.#revision
    const resource =
      value === undefined
        ? undefined
        : { kind, tenant: '', name, created: version, version, value: JSON.stringify(value) }
    if (resource === undefined) this.#values.delete(key)
    else this.#values.set(key, resource)
    for (const listener of this.#listeners.get(kind) ?? []) {
      listener({ kind, tenant: '', name }, resource)
    }
  }

  get(kind: string, _tenant: string, name: string): KnownResource | undefined {
    return this.#values.get(`${kind} ${name}`)
  }

  *list(kind: string): Generator<KnownResource> {
    for (const resource of this.#values.values()) if (resource.kind === kind) yield resource
  }

  observe(kind: string, listener: ResourceListener): () => void {
    const listeners = this.#listeners.get(kind) ?? []
    this.#listeners.set(kind, [...listeners, listener])
    return () => undefined
  }
}

export class SqsBench {
  readonly queues: LocalQueues
  readonly resources = new LocalResources()
  readonly published: Message[] = []
  readonly logged: { readonly fields: object; readonly message: string }[] = []
  readonly limits = { connectionsMax: null as number | null }
  readonly server: SqsServer
  isOutOfMemory = false
  endpoint = ''

  constructor(options: Partial<SqsServerOptions> = {}, queues = new LocalQueues()) {
    this.queues = queues
    const log = (fields: object, message: string): void => {
      this.logged.push({ fields, message })
    }
    this.server = new SqsServer({
      queues,
      authenticator: new Authenticator({ resources: this.resources, anonymous: () => 'loopback' }),
      accessKeys: new AccessKeys(this.resources),
      clock: systemClock,
      publish: (message) => {
        this.published.push(message)
        return Promise.resolve()
      },
      nextId: () => randomUUID(),
      log: { debug: log, info: log, warn: log, error: log },
      entrances: {
        host: '127.0.0.1',
        ports: { sqs: 0, sqss: undefined },
        tls: undefined,
        proxied: [],
      },
      admission: new Admission({
        clock: systemClock,
        connections: () => this.server.connections,
        limits: () => ({
          connectionsMax: this.limits.connectionsMax,
          perSecond: null,
          listenerPerSecond: null,
          userConnectionsMax: null,
          userPerSecond: null,
        }),
        isOutOfMemory: () => this.isOutOfMemory,
        serverOf: () => undefined,
      }),
      ...options,
    })
  }

  async start(): Promise<this> {
    await this.queues.own()
    const [endpoint] = await this.server.start()
    this.endpoint = `http://127.0.0.1:${endpoint?.port}`
    return this
  }

  async stop(): Promise<void> {
    await this.server.stop()
    this.queues.stop()
  }
}
