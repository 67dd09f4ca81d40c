/**
 * The conformance suites of the ports, for vitest: what each method's contract promises, tried out. An
 * implementation of a port runs the suite of that port; what it passes is all that raft-ts relies on.
 */
export { type ClockUnderTest, describeClock } from './clock.ts'
export { describeLogStore, type LogStoreUnderTest } from './log-store.ts'
export { describeSnapshotStore, type SnapshotStoreUnderTest } from './snapshot-store.ts'
export { describeStateMachine, type StateMachineUnderTest } from './state-machine.ts'
export { describeTransport, type TransportUnderTest } from './transport.ts'
