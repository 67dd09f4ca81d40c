/** Objects whose histories a checker can judge: what they do when one operation comes at a time. */
import type { Model } from './linearizability.ts'

export type RegisterInput =
  | { readonly kind: 'read' }
  | { readonly kind: 'write'; readonly value: string }
  /** Writes only when the value is still the one that was expected. */
  | {
      readonly kind: 'compare-and-set'
      readonly expected: string | undefined
      readonly value: string
    }

export type RegisterOutput =
  | { readonly kind: 'value'; readonly value: string | undefined }
  | { readonly kind: 'written' }
  | { readonly kind: 'conflict' }

/** A value that is read, written, and compared and set. Nothing in it at first. */
export const REGISTER: Model<string | undefined, RegisterInput, RegisterOutput> = {
  initial: undefined,
  name: (value) => JSON.stringify(value) ?? 'nothing',
  step: (value, input, output) => {
    switch (input.kind) {
      case 'read':
        if (output === undefined) return [value]
        return output.kind === 'value' && output.value === value ? [value] : []
      case 'write':
        return output === undefined || output.kind === 'written' ? [input.value] : []
      case 'compare-and-set': {
        const isEqual = input.expected === value
        const done: string | undefined = isEqual ? input.value : value
        if (output === undefined) return [done]
        return output.kind === (isEqual ? 'written' : 'conflict') ? [done] : []
      }
    }
  },
}

export type LeaseInput =
  /** Takes the lease for an owner, over whoever has it: when that may be is not the model's matter. */
  | { readonly kind: 'acquire'; readonly owner: string }
  | { readonly kind: 'release'; readonly epoch: number }
  | { readonly kind: 'holder' }

export type LeaseOutput =
  | { readonly kind: 'granted'; readonly epoch: number }
  /** It is another's, and not to be had now. */
  | { readonly kind: 'held' }
  | { readonly kind: 'released' }
  /** The epoch is not the one of the lease any more. */
  | { readonly kind: 'stale' }
  | {
      readonly kind: 'holder'
      readonly owner: string | undefined
      readonly epoch: number | undefined
    }

export interface LeaseState {
  readonly owner: string | undefined
  /** Undefined when it was granted, and nobody has heard with which number. */
  readonly epoch: number | undefined
  /** Every later epoch is above it. */
  readonly above: number
}

/** A lease whose epoch grows with every grant. */
export const LEASE: Model<LeaseState, LeaseInput, LeaseOutput> = {
  initial: { owner: undefined, epoch: undefined, above: 0 },
  name: ({ owner, epoch, above }) => `${owner ?? 'nobody'} ${epoch ?? '?'} > ${above}`,
  step: (state, input, output) => {
    switch (input.kind) {
      case 'acquire':
        return acquired(state, input.owner, output)
      case 'release':
        return released(state, input.epoch, output)
      case 'holder':
        return looked(state, output)
    }
  },
}

function acquired(
  state: LeaseState,
  owner: string,
  output: LeaseOutput | undefined,
): readonly LeaseState[] {
  if (output === undefined) return [{ owner, epoch: undefined, above: state.above }, state]
  if (output.kind === 'held') {
    return state.owner !== undefined && state.owner !== owner ? [state] : []
  }
  if (output.kind !== 'granted' || output.epoch <= state.above) return []
  return [{ owner, epoch: output.epoch, above: output.epoch }]
}

function released(
  state: LeaseState,
  epoch: number,
  output: LeaseOutput | undefined,
): readonly LeaseState[] {
  const isUnheard = state.owner !== undefined && state.epoch === undefined && epoch > state.above
  const isCurrent = state.owner !== undefined && (state.epoch === epoch || isUnheard)
  const free = { owner: undefined, epoch: undefined, above: Math.max(state.above, epoch) }
  if (output === undefined) return isCurrent ? [free, state] : [state]
  if (output.kind === 'released') return isCurrent ? [free] : []
  return output.kind === 'stale' && (!isCurrent || isUnheard) ? [state] : []
}

function looked(state: LeaseState, output: LeaseOutput | undefined): readonly LeaseState[] {
  if (output === undefined) return [state]
  if (output.kind !== 'holder' || output.owner !== state.owner) return []
  const { epoch } = output
  if (state.owner === undefined) return [state]
  if (state.epoch !== undefined) return epoch === state.epoch ? [state] : []
  // Now it is known which epoch the unheard grant had.
  if (epoch === undefined || epoch <= state.above) return []
  return [{ owner: state.owner, epoch, above: epoch }]
}

export type FencedInput =
  | { readonly kind: 'open'; readonly epoch: number }
  | { readonly kind: 'append'; readonly epoch: number; readonly value: string }
  | { readonly kind: 'read' }

export type FencedOutput =
  | { readonly kind: 'opened' }
  | { readonly kind: 'appended'; readonly offset: number }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'values'; readonly values: readonly string[] }

export interface FencedState {
  readonly epoch: number
  readonly values: readonly string[]
}

/** A log that takes appends of the newest epoch only: what a lease protects. */
export const FENCED_LOG: Model<FencedState, FencedInput, FencedOutput> = {
  initial: { epoch: 0, values: [] },
  name: ({ epoch, values }) => `${epoch}:${values.join()}`,
  step: (state, input, output) => {
    if (input.kind === 'read') {
      const isSeen = output?.kind === 'values' && output.values.join() === state.values.join()
      return output === undefined || isSeen ? [state] : []
    }
    const isFenced = input.epoch < state.epoch
    if (output?.kind === 'fenced') return isFenced ? [state] : []
    if (isFenced) return output === undefined ? [state] : []
    if (input.kind === 'open') {
      const opened = { ...state, epoch: input.epoch }
      return output === undefined || output.kind === 'opened' ? [opened] : []
    }
    const appended = { epoch: input.epoch, values: [...state.values, input.value] }
    if (output === undefined) return [appended]
    return output.kind === 'appended' && output.offset === state.values.length ? [appended] : []
  },
}
