/** What the command's exit code tells a script, after sysexits(3). `status` has its own meaning for 1 and 2. */
export const exitCodes = {
  ok: 0,
  /** `status`: works, but something that belongs to the cluster is missing. */
  failed: 1,
  /** `status`: part of the service is not available. */
  critical: 2,
  usage: 64,
  badData: 65,
  notFound: 66,
  unreachable: 69,
  internal: 70,
  cannotCreate: 73,
  tryAgain: 75,
  configuration: 78,
  interrupted: 130,
  terminated: 143,
} as const

/** The exit code of a child process, where it says more than that something failed. */
export function meaningOfChild(code: number | null): number {
  return code !== null && code >= 64 && code <= 78 ? code : exitCodes.internal
}
