/** Which cluster a command is for, and who gives it. */
import { hostname, userInfo } from 'node:os'
import { type Context, requireCluster } from '../context.ts'
import { usageError } from '../errors.ts'
import { placementOf } from './launch.ts'

export interface TargetOptions {
  /** Of the cluster. */
  readonly name?: string
  /** Of a cluster that has no state here. */
  readonly placement?: string
}

/** Where its Placement Center is. */
export function addressesOf(
  context: Context,
  { name, placement }: TargetOptions,
): readonly string[] {
  if (placement === undefined) return placementOf(requireCluster(context, name))
  const addresses = placement.split(',')
  for (const address of addresses) {
    if (!/^.+:\d+$/.test(address)) throw usageError(`--placement ${address} is not HOST:PORT`)
  }
  return addresses
}

/** For histories. */
export function who(): string {
  return `${userName()}@${hostname()}`.slice(0, 255)
}

/** In a container a number may be all that there is of a user. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid-${process.getuid?.() ?? 'unknown'}`
  }
}
