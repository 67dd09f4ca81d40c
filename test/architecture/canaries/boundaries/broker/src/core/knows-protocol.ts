// breaks: core-is-pure
import type { Packet } from '../protocols/mqtt/packets.ts'

export type Known = Packet
