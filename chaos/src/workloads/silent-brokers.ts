/**
 * What a program that uses kafkajs needs to leave a broker whose process stands still. Such a broker accepts connections
 * (its kernel does), and kafkajs keeps one whose requests have timed out, asks it alone for metadata, and connects to it
 * again when the connection is lost. The Java client and librdkafka close a connection at the time-out of a request.
 */
import { connect } from 'node:net'
import type { KafkaConfig } from 'kafkajs'

export interface SilenceTimes {
  /** Neither read nor written for that long, ms: shorter than a request may take, so that the connection ends first. */
  readonly silentMs: number
  /** Before it is connected to again, ms: metadata is asked of the others, who tell the new owners by then. */
  readonly avoidedMs: number
}

const DEFAULT_TIMES: SilenceTimes = { silentMs: 1_500, avoidedMs: 2_000 }

/** For clients that have one request on its way at a time: producers, not members of groups, which wait in silence. */
export function leavingSilent({
  silentMs,
  avoidedMs,
} = DEFAULT_TIMES): Required<Pick<KafkaConfig, 'socketFactory'>> {
  const avoidedUntilMs = new Map<string, number>()
  return {
    socketFactory: ({ host, port, onConnect }) => {
      const address = `${host}:${port}`
      const socket = connect({ host, port }, onConnect)
      if ((avoidedUntilMs.get(address) ?? 0) > performance.now()) {
        socket.destroy(new Error(`${address} has just been silent`))
        return socket
      }
      // What kafkajs does at a time-out of its socket: it ends, and what was on its way is tried again.
      return socket.setTimeout(silentMs, () => {
        avoidedUntilMs.set(address, performance.now() + avoidedMs)
      })
    },
  }
}
