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
    }
  | { readonly kind: 'refused'; readonly reason: string }

export interface AuthenticationExchange {
  /** `data`: what the client said; undefined when it named the method only. */
  next(data: Buffer | undefined): Promise<ExchangeStep>
}

export interface AuthenticationMethod {
  /** As clients ask for it. */
  readonly name: string
  begin(client: { readonly clientId: string }): AuthenticationExchange
}
