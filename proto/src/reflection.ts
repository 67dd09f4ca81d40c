/**
 * gRPC server reflection, loaded when somebody asks: its libraries take longer to load than the rest of a
 * server. Until then only the two method paths are known here (v1 and v1alpha, the same messages).
 */
import type { Server, ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js'

const PATHS = [
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
]

type RawStream = ServerDuplexStream<Buffer, Buffer>

/** Lists the services named, and no others that the contracts have. */
export function serveReflection(server: Server, services: readonly string[]): void {
  let loading: Promise<ReadonlyMap<string, Method>> | undefined
  for (const path of PATHS) {
    const definition: ServiceDefinition = {
      serverReflectionInfo: {
        path,
        requestStream: true,
        responseStream: true,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    }
    server.addService(definition, {
      serverReflectionInfo: (stream: RawStream) => {
        loading ??= load(services)
        void answer(path, stream, loading)
      },
    })
  }
}

interface Method {
  readonly requestDeserialize: (bytes: Buffer) => unknown
  readonly responseSerialize: (reply: unknown) => Buffer
  readonly handle: (stream: unknown) => void
}

async function answer(
  path: string,
  stream: RawStream,
  loading: Promise<ReadonlyMap<string, Method>>,
): Promise<void> {
  const waiting: Buffer[] = []
  let deliver = (bytes: Buffer): void => {
    waiting.push(bytes)
  }
  stream.on('data', (bytes: Buffer) => deliver(bytes))
  let ended = false
  stream.on('end', () => {
    ended = true
  })
  const method = (await loading).get(path)
  if (method === undefined) {
    stream.end()
    return
  }
  let onData: ((request: unknown) => void) | undefined
  let onEnd: (() => void) | undefined
  method.handle({
    on: (event: string, listener: (request?: unknown) => void) => {
      if (event === 'data') onData = listener
      else if (event === 'end') onEnd = listener
    },
    write: (reply: unknown) => stream.write(method.responseSerialize(reply)),
    end: () => stream.end(),
  })
  deliver = (bytes) => onData?.(method.requestDeserialize(bytes))
  for (const bytes of waiting) deliver(bytes)
  if (ended) onEnd?.()
  else stream.on('end', () => onEnd?.())
}

async function load(services: readonly string[]): Promise<ReadonlyMap<string, Method>> {
  const [{ loadFileDescriptorSetFromBuffer }, { ReflectionService }, { descriptorSet }] =
    await Promise.all([
      import('@grpc/proto-loader'),
      import('@grpc/reflection'),
      import('./gen/descriptors.ts'),
    ])
  const definition = loadFileDescriptorSetFromBuffer(Buffer.from(descriptorSet, 'base64'))
  const methods = new Map<string, Method>()
  const collect = (service: ServiceDefinition, handlers: Record<string, unknown>): void => {
    for (const [name, { path, requestDeserialize, responseSerialize }] of Object.entries(service)) {
      const handle = (handlers[name] ?? handlers[upperFirst(name)]) as Method['handle']
      methods.set(path, { requestDeserialize, responseSerialize, handle })
    }
  }
  new ReflectionService(definition, { services: [...services] }).addToServer({
    addService: collect,
  } as unknown as Server)
  return methods
}

function upperFirst(name: string): string {
  return name.slice(0, 1).toUpperCase() + name.slice(1)
}
