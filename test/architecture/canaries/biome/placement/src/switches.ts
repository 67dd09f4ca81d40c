// A case that nobody handles.
export type State = 'open' | 'closed'

export function nameOf(state: State): string {
  switch (state) { // reported: useExhaustiveSwitchCases
    case 'open':
      return 'open'
  }
  return ''
}
