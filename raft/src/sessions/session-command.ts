/**
 * How a client names its commands, so that one that is proposed twice is carried out once: the bytes of
 * a command that goes through a SessionMachine. (thesis section 6.3)
 */
import { getUint53, setUint53 } from '../record.ts'

const FORMAT_VERSION = 1
const OPEN = 1
const COMMAND = 2
const CLOSE = 3
const HEADER_BYTES = 2
const NUMBERS_BYTES = 24

export type SessionCommand =
  | { readonly kind: 'open' }
  | { readonly kind: 'close'; readonly session: number }
  | {
      readonly kind: 'command'
      readonly session: number
      /** Counts the commands of the session, from 1 on. A retry has the number of the first try. */
      readonly sequence: number
      /** The client has heard the results of all commands below: they need not be kept. */
      readonly answeredBelow: number
      readonly command: Uint8Array
    }

export function encodeSessionCommand(command: SessionCommand): Uint8Array {
  const content = command.kind === 'command' ? command.command : new Uint8Array(0)
  const bytes = new Uint8Array(HEADER_BYTES + NUMBERS_BYTES + content.byteLength)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, FORMAT_VERSION)
  view.setUint8(1, { open: OPEN, close: CLOSE, command: COMMAND }[command.kind])
  if (command.kind !== 'open') setUint53(view, HEADER_BYTES, command.session)
  if (command.kind === 'command') {
    setUint53(view, HEADER_BYTES + 8, command.sequence)
    setUint53(view, HEADER_BYTES + 16, command.answeredBelow)
    bytes.set(content, HEADER_BYTES + NUMBERS_BYTES)
  }
  return bytes
}

/** Undefined when the bytes are none of these: whoever proposed them did not use a session. */
export function decodeSessionCommand(bytes: Uint8Array): SessionCommand | undefined {
  if (bytes.byteLength < HEADER_BYTES + NUMBERS_BYTES || bytes[0] !== FORMAT_VERSION) {
    return undefined
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const session = getUint53(view, HEADER_BYTES)
  switch (bytes[1]) {
    case OPEN:
      return { kind: 'open' }
    case CLOSE:
      return { kind: 'close', session }
    case COMMAND:
      return {
        kind: 'command',
        session,
        sequence: getUint53(view, HEADER_BYTES + 8),
        answeredBelow: getUint53(view, HEADER_BYTES + 16),
        command: bytes.subarray(HEADER_BYTES + NUMBERS_BYTES),
      }
    default:
      return undefined
  }
}
