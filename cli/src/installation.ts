/** Files of the installation. In this folder, since compiled and bundled code lie as deep in cli/ as it does. */
import { fileURLToPath } from 'node:url'

function installed(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}

/** What `robust` is, to start more of it. */
export const PROGRAM = installed('../bin/robust.js')
export const FAULTS_SOURCE = installed('../faults/faults.c')
export const SCENARIOS = installed('../../chaos/scenarios')
