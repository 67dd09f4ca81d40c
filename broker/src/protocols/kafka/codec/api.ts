/** An API of Kafka's protocol: its key, the versions that are spoken here, and what its bodies look like. */
import type { WireType } from './wire-types.ts'

export interface Api<Request = unknown, Response = unknown> {
  readonly key: number
  readonly name: string
  readonly versions: readonly [first: number, last: number]
  /** First version with compact lengths and tagged fields. */
  readonly flexible: number
  readonly request: WireType<Request>
  readonly response: WireType<Response>
}

export type RequestOf<A> = A extends { readonly request: WireType<infer T> } ? T : never
export type ResponseOf<A> = A extends { readonly response: WireType<infer T> } ? T : never

export function isFlexible({ flexible }: Pick<Api, 'flexible'>, version: number): boolean {
  return version >= flexible
}
