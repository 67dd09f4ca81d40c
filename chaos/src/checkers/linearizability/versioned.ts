/** A value with a version that grows with every change, changed by compare-and-set on the version. */
import type { Model } from './linearizability.ts'

export type VersionedInput =
  | { readonly kind: 'read' }
  /** Only if this is its version now; 0: it must not exist. */
  | { readonly kind: 'put'; readonly expected: number; readonly value: string }
  | { readonly kind: 'delete'; readonly expected: number }

export type VersionedOutput =
  | { readonly kind: 'found'; readonly value: string; readonly version: number }
  | { readonly kind: 'none' }
  | { readonly kind: 'put'; readonly version: number }
  | { readonly kind: 'deleted' }
  /** Nothing was done: this is its version; 0: there is none. */
  | { readonly kind: 'conflict'; readonly version: number }

export interface VersionedState {
  /** Undefined: there is none. */
  readonly value: string | undefined
  /** Undefined when there is a value, and nobody has heard of its version. */
  readonly version: number | undefined
  /** Every later version is above it. */
  readonly above: number
}

export const VERSIONED: Model<VersionedState, VersionedInput, VersionedOutput> = {
  initial: { value: undefined, version: 0, above: 0 },
  name: ({ value, version, above }) => `${value ?? 'none'} ${version ?? '?'} > ${above}`,
  step: (state, input, output) => {
    if (output?.kind === 'conflict') {
      if (input.kind === 'read' || output.version === input.expected) return []
      return withVersion(state, output.version)
    }
    if (input.kind === 'read') return seen(state, output)
    // It was done, or it may have been: only on the version that it expected.
    const at = withVersion(state, input.expected)
    const changed = at.flatMap((before) => changedBy(before, input, output))
    return output === undefined ? [...changed, state] : changed
  },
}

/** The state, if its version can be this one. */
function withVersion(state: VersionedState, version: number): readonly VersionedState[] {
  if (state.version !== undefined) return state.version === version ? [state] : []
  return version > state.above ? [{ ...state, version, above: version }] : []
}

function seen(
  state: VersionedState,
  output: VersionedOutput | undefined,
): readonly VersionedState[] {
  if (output === undefined) return [state]
  if (output.kind === 'none') return state.value === undefined ? [state] : []
  if (output.kind !== 'found' || output.value !== state.value) return []
  return withVersion(state, output.version)
}

function changedBy(
  state: VersionedState,
  input: Exclude<VersionedInput, { kind: 'read' }>,
  output: VersionedOutput | undefined,
): readonly VersionedState[] {
  if (input.kind === 'delete') {
    const gone = { value: undefined, version: 0, above: state.above }
    return output === undefined || output.kind === 'deleted' ? [gone] : []
  }
  const { value } = input
  if (output === undefined) return [{ value, version: undefined, above: state.above }]
  if (output.kind !== 'put' || output.version <= state.above) return []
  return [{ value, version: output.version, above: output.version }]
}
