/** Who clients and operators are, composed: users of the metadata, and the back ends that the settings name. */
import { liveBackends } from './backends.ts'
import type { BrokerSettings } from './cluster/settings.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { Resources } from './core/ports/resources.ts'
import type { ProtocolLog } from './protocols/shared/protocol-server.ts'
import { SeldomLog } from './protocols/shared/seldom-log.ts'
import { type Anonymous, Authenticator } from './security/authenticator.ts'

export function composeSecurity(
  resources: Resources,
  settings: BrokerSettings,
  log: ProtocolLog,
): Authenticator {
  const seldom = new SeldomLog(log, systemClock)
  return new Authenticator({
    resources,
    anonymous: () => settings.get('security.anonymous') as Anonymous,
    backends: liveBackends(settings),
    onBackendError: (backend, error) => {
      const fields = { errId: 'AUTH_BACKEND_DOWN', reason: `${backend}: ${error.message}` }
      seldom.warn(fields, 'a back end for users does not answer; nobody is let in by it')
    },
  })
}
