/** Breaking a cluster on purpose: scenarios, workloads of every dialect, and checkers of what they saw. */
export type { ClusterControl, ClusterLinks, Endpoints } from './control.ts'
export { type Event, isGood, percentile, type Report, recoveryRows } from './report.ts'
export { runScenario } from './run.ts'
export { parseScenario, ScenarioError } from './scenario/scenario.ts'
export { seededRandom } from './scenario/seeded-random.ts'
