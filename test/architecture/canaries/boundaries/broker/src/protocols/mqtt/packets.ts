export interface Packet {
  readonly kind: string
}
