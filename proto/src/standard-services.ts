/**
 * What every gRPC server of ours offers besides its own services: grpc.health.v1 and server reflection.
 * Reflection is loaded on first use, since its libraries cost more to load than the server itself.
 */
import type { Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js'
import { HealthImplementation } from 'grpc-health-check'
import { descriptorSet } from './gen/descriptors.ts'

export type ServingStatus = 'SERVING' | 'NOT_SERVING'

/**
 * Adds both services to a server that is not bound yet. The returned function sets the serving status
 * of the server as a whole and of each service named.
 */
export async function serveHealthAndReflection(
  server: Server,
  services: readonly string[],
): Promise<(status: ServingStatus) => void> {
  const health = new HealthImplementation()
  health.addToServer({
    addService: (definition, implementation) =>
      server.addService(
        definition as ServiceDefinition,
        implementation as UntypedServiceImplementation,
      ),
  } as Server)
  const { loadFileDescriptorSetFromBuffer } = await import('@grpc/proto-loader')
  const { ReflectionService } = await import('@grpc/reflection')
  const definition = loadFileDescriptorSetFromBuffer(Buffer.from(descriptorSet, 'base64'))
  new ReflectionService(definition).addToServer(server)
  return (status) => {
    for (const name of ['', ...services]) health.setStatus(name, status)
  }
}
