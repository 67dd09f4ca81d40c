// breaks: storage-port-is-types
import { leanedOn } from './errors.ts'

export const capabilities = leanedOn
