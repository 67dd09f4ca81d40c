/** The broker's log: JSON lines on stdout. Payloads and secrets are never logged. */
import { type Logger, pino } from 'pino'

export type BrokerLog = Logger

export function createLog(node: string, level: string): BrokerLog {
  return pino({ base: { node, pid: process.pid }, level, timestamp: pino.stdTimeFunctions.isoTime })
}
