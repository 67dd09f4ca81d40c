/** A request that is not what the service's model says. Which error the client sees is in `../errors.ts`. */

export type CodecErrorKind =
  /** Not JSON, or a value of another type. */
  | 'serialization'
  /** A value in the Query form that cannot be read. */
  | 'malformed-input'
  | 'missing-parameter'

export class CodecError extends Error {
  readonly kind: CodecErrorKind

  constructor(kind: CodecErrorKind, message: string) {
    super(message)
    this.name = 'CodecError'
    this.kind = kind
  }
}

export function missingParameter(name: string): CodecError {
  return new CodecError('missing-parameter', `The request must contain the parameter ${name}.`)
}
