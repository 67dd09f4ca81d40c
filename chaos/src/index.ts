/** Breaking a cluster on purpose: scenarios, workloads of every dialect, and checkers of what they saw. */
export { checkLinearizability } from './checkers/linearizability/linearizability.ts'
export { Recorder } from './checkers/linearizability/recorder.ts'
export {
  VERSIONED,
  type VersionedInput,
  type VersionedOutput,
} from './checkers/linearizability/versioned.ts'
export type {
  BreakableProcesses,
  ClusterControl,
  ClusterLinks,
  Endpoints,
  MetadataClient,
} from './control.ts'
export { type Event, isGood, percentile, type Report, recoveryRows } from './report.ts'
export { runScenario } from './run.ts'
export { breaksProcesses } from './scenario/faults.ts'
export { parseScenario, ScenarioError } from './scenario/scenario.ts'
export { seededRandom } from './scenario/seeded-random.ts'
