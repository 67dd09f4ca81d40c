/** What an adapter promises. Printed at start, reported to the Placement Center, shown by status. */

export interface Capabilities {
  readonly adapter: 'memory' | 'leveldb' | 'redis'
  readonly survivesProcessCrash: boolean
  readonly survivesOsCrash: boolean
  readonly survivesMachineLoss: boolean
  /** Largest commit, all operations together, in bytes. */
  readonly commitBytesMax: number
  /** One line for people: what is kept, and when it is lost. */
  readonly promise: string
}
