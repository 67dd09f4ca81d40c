// What no product code does.
import { useful } from 'undeclared-package' // reported: noUndeclaredDependencies

import { sibling } from './sibling' // reported: useImportExtensions

export const environment = process.env // reported: noRestrictedGlobals noProcessEnv

export function complain(): never {
  console.log(useful, sibling) // reported: noConsole
  throw 'a string' // reported: useThrowOnlyError
}

export function crowded(one: number, two: number, three: number, four: number): number { // reported: useMaxParams
  return one + two + three + four
}

export function certain(maybe: string | undefined): string {
  return maybe! // reported: noNonNullAssertion
}

export const anything = null as any // reported: noExplicitAny

export default complain // reported: noDefaultExport
