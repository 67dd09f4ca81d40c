/**
 * The numbers of one member for a monitoring system: counters, gauges, and histograms of times.
 * Plain fields that are read when asked; nothing is sent anywhere.
 */
import type { RaftMetric, RaftMetricSample, RaftPeerStatus, RaftStatus } from '../raft.ts'

/** Upper bounds in milliseconds. */
const BOUNDS_MS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]

export class Histogram {
  readonly #counts = new Array<number>(BOUNDS_MS.length + 1).fill(0)
  #sumMs = 0
  #count = 0

  observe(ms: number): void {
    const at = BOUNDS_MS.findIndex((bound) => ms <= bound)
    const bucket = at < 0 ? BOUNDS_MS.length : at
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sumMs += ms
    this.#count += 1
  }

  /** In seconds, each bucket holding those below it too. */
  samples(): readonly RaftMetricSample[] {
    let below = 0
    const buckets = this.#counts.map((count, at): RaftMetricSample => {
      below += count
      const bound = BOUNDS_MS[at]
      const le = bound === undefined ? '+Inf' : String(bound / 1_000)
      return { suffix: '_bucket', labels: { le }, value: below }
    })
    return [
      ...buckets,
      { suffix: '_sum', labels: {}, value: this.#sumMs / 1_000 },
      { suffix: '_count', labels: {}, value: this.#count },
    ]
  }
}

export interface RaftTimes {
  readonly write: Histogram
  readonly commit: Histogram
  readonly read: Histogram
}

export function newTimes(): RaftTimes {
  return { write: new Histogram(), commit: new Histogram(), read: new Histogram() }
}

const COUNTERS: Readonly<Record<string, string>> = {
  messagesReceived: 'Messages that came from other members',
  messagesSent: 'Messages given to the transport',
  writes: 'Synced writes to the log store',
  entriesWritten: 'Log entries in those writes',
  applied: 'Log entries applied to the state machine',
  snapshotsTaken: 'Snapshots taken of the own state',
  snapshotsSent: 'Snapshots sent to followers and answered',
  snapshotSendFailures: 'Snapshots that could not be sent',
  snapshotsInstalled: 'Snapshots taken over from a leader',
  snapshotsRefused: 'Snapshots that came broken',
  elections: 'Elections begun',
  leaderships: 'Elections won',
  stepDowns: 'Leaderships ended',
  votesGranted: 'Votes given',
  votesRefused: 'Votes and pre-votes refused',
  proposals: 'Commands taken as leader',
  proposalsOverloaded: 'Commands refused as overload',
  appendsRefused: 'Appends whose predecessor was not there',
  storageStalls: 'Times a leader stepped down for its disk',
  peerRegressions: 'Answers of a peer that has lost what it had acknowledged',
  membershipChanges: 'Changes of the members begun',
  transfers: 'Transfers of the leadership begun',
  stateChecks: 'Comparisons of the states begun',
  stateDeviations: 'Members found with another state than the majority',
  droppedVersion: 'Messages of another protocol version',
  droppedCluster: 'Messages of another cluster',
  droppedAddress: 'Messages for another member',
  droppedPeer: 'Messages from strangers',
  droppedInvalid: 'Messages that contradict themselves',
}

/** The counters that `status().metrics` holds. */
export const COUNTER_NAMES: readonly string[] = Object.keys(COUNTERS)

export function collectMetrics(status: RaftStatus, times: RaftTimes): readonly RaftMetric[] {
  const { role, members, nodeId } = status
  const own = members.find((member) => member.id === nodeId)
  return [
    gauge('raft_term', 'The current term', status.term),
    gauge('raft_is_leader', '1 on the leader', role === 'leader' ? 1 : 0),
    gauge('raft_has_leader', '1 when a leader is known', status.leaderId === undefined ? 0 : 1),
    gauge('raft_is_voter', '1 on a member that votes', own?.role === 'voter' ? 1 : 0),
    gauge('raft_members', 'Members of the newest configuration', members.length),
    gauge('raft_commit_index', 'Committed as far as this member knows', status.commitIndex),
    gauge('raft_applied_index', 'Applied to the state machine', status.appliedIndex),
    gauge('raft_last_index', 'The end of the log', status.lastIndex),
    gauge('raft_first_index', 'The start of the log', status.firstIndex),
    gauge('raft_snapshot_index', 'Of the newest snapshot', status.snapshotIndex),
    gauge('raft_uncommitted_bytes', 'Proposals not committed', status.uncommittedBytes),
    ...peerMetrics(status),
    ...Object.entries(COUNTERS).map(([name, help]) =>
      counter(counterName(name), help, status.metrics[name] ?? 0),
    ),
    histogram('raft_write_seconds', 'A synced write to the log store', times.write),
    histogram('raft_commit_seconds', 'A proposal until it was applied on the leader', times.commit),
    histogram('raft_read_seconds', 'A read index until it may be read at', times.read),
  ]
}

function peerMetrics({ peers, lastIndex }: RaftStatus): readonly RaftMetric[] {
  const perPeer = (value: (peer: RaftPeerStatus) => number): RaftMetricSample[] =>
    peers.map((peer) => ({ suffix: '', labels: { peer: peer.id }, value: value(peer) }))
  return [
    {
      name: 'raft_peer_lag_entries',
      kind: 'gauge',
      help: 'Entries that a peer is not known to have',
      samples: perPeer((peer) => Math.max(0, lastIndex - peer.matchIndex)),
    },
    {
      name: 'raft_peer_bytes_in_flight',
      kind: 'gauge',
      help: 'Entries on their way to a peer',
      samples: perPeer((peer) => peer.bytesInFlight),
    },
    {
      name: 'raft_peer_contact_age_seconds',
      kind: 'gauge',
      help: 'Since a peer was last heard',
      samples: perPeer((peer) => (peer.lastContactMs ?? Number.NaN) / 1_000),
    },
  ]
}

/** The text that Prometheus reads (exposition format 0.0.4), with these labels on every sample. */
export function renderPrometheus(
  metrics: readonly RaftMetric[],
  labels: Readonly<Record<string, string>> = {},
): string {
  const lines = metrics.flatMap(({ name, kind, help, samples }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${kind}`,
    ...samples.map(
      (sample) =>
        `${name}${sample.suffix}${renderLabels({ ...labels, ...sample.labels })} ${sample.value}`,
    ),
  ])
  return `${lines.join('\n')}\n`
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const escaped = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    return `${name}="${escaped}"`
  })
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function counterName(name: string): string {
  return `raft_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`
}

function gauge(name: string, help: string, value: number): RaftMetric {
  return { name, kind: 'gauge', help, samples: [{ suffix: '', labels: {}, value }] }
}

function counter(name: string, help: string, value: number): RaftMetric {
  return { name, kind: 'counter', help, samples: [{ suffix: '', labels: {}, value }] }
}

function histogram(name: string, help: string, times: Histogram): RaftMetric {
  return { name, kind: 'histogram', help, samples: times.samples() }
}
