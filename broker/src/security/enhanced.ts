/** Authentication by an exchange of messages: what a method is asked, whatever the protocol that carries it. */
import type { Access } from './access.ts'

export type ExchangeStep =
  /** The client is sent this, and what it answers goes into the next step. */
  | { readonly kind: 'continue'; readonly data: Buffer }
  /** `access` undefined: everything is allowed. `data`: for the client, with the news. */
  | {
      readonly kind: 'in'
      readonly user: string
      readonly access: Access | undefined
      readonly data: Buffer | undefined
      /** Wall clock, ms: it must not stay for longer. */
      readonly until?: number | undefined
      /** The client only says so: there are no users. */
      readonly isUnproved?: boolean | undefined
    }
  | { readonly kind: 'refused'; readonly reason: string }

export interface AuthenticationExchange {
  /** `data`: what the client said; undefined when it named the method only. */
  next(data: Buffer | undefined): Promise<ExchangeStep>
}

/** Who a client says that it is, and where it comes from. */
export interface ClientPlace {
  readonly clientId: string
  readonly address: string
}

export interface AuthenticationMethod {
  /** As clients ask for it. */
  readonly name: string
  begin(client: ClientPlace): AuthenticationExchange
}
