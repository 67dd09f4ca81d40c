/** Names by a regular expression in the syntax of RE2, which is matched in linear time whatever it says. */
import { RE2JS, RE2JSException } from 're2js'

/** Of one expression: what it compiles to may be many times as long. */
const PATTERN_CHARACTERS_MAX = 1_024

/** Whether it matches the whole of a name; undefined: it is no expression. */
export function namePattern(text: string): ((name: string) => boolean) | undefined {
  if (text.length > PATTERN_CHARACTERS_MAX) return undefined
  try {
    const pattern = RE2JS.compile(text)
    return (name) => pattern.matches(name)
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error
    return undefined
  }
}
