/** What this workspace needs of a logger; pino's is one. */
export interface Logger {
  /** debug, info, warn or error: what is less than it is not written. */
  level: string
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
