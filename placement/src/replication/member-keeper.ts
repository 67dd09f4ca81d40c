/**
 * What the leader does about the Placement Center's own members by itself: it puts on record which data folder
 * each of them has, makes voters of learners that are stable, and removes members that are dead, if the
 * settings say so. Adding members is for people.
 */
import {
  Autopilot,
  type AutopilotDecision,
  type AutopilotOptions,
  DEFAULT_AUTOPILOT,
  type MemberHealth,
  type Raft,
} from 'raft-ts'
import type { Leadership } from '../controllers/leadership.ts'
import type { Logger } from '../logger.ts'
import type { SettingsView } from '../settings.ts'
import type { Probe } from './member-probe.ts'
import type { MetadataMachine } from './metadata-machine.ts'
import type { Proposer } from './proposer.ts'

export interface MemberKeeperOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
  readonly leadership: Pick<Leadership, 'current'>
  readonly proposer: Proposer
  readonly settings: SettingsView
  /** Of this node's data. */
  readonly folderId: string
  readonly probe: Probe
  readonly nowMs: () => number
  readonly log: Logger
}

const INTERVAL_MS = 250

export class MemberKeeper {
  readonly #options: MemberKeeperOptions
  readonly #ticker: NodeJS.Timeout
  #autopilot: { readonly key: string; readonly pilot: Autopilot } | undefined
  #isRecording = false
  #isChanging = false

  constructor(options: MemberKeeperOptions) {
    this.#options = options
    this.#ticker = setInterval(() => this.tick(), INTERVAL_MS)
  }

  /** Empty on others than the leader. */
  get health(): readonly MemberHealth[] {
    return this.#autopilot?.pilot.health ?? []
  }

  stop(): void {
    clearInterval(this.#ticker)
  }

  tick(): void {
    const { raft, leadership, nowMs } = this.#options
    const pilot = this.#currentPilot()
    // Looked at while a change is on its way too, so that no time of health is missed.
    const decision = pilot.advance(raft.status(), nowMs())
    if (leadership.current === undefined) return
    if (!this.#isRecording) void this.#recordFolders()
    if (decision !== undefined && !this.#isChanging) void this.#carryOut(decision)
  }

  /** A new one when a setting has changed: its times begin anew. */
  #currentPilot(): Autopilot {
    const options = autopilotOptions(this.#options.settings)
    const key = JSON.stringify(options)
    if (this.#autopilot?.key !== key) this.#autopilot = { key, pilot: new Autopilot(options) }
    return this.#autopilot.pilot
  }

  async #carryOut({ change, reason }: AutopilotDecision): Promise<void> {
    const { raft, proposer, log } = this.#options
    const subject = change.member.id
    this.#isChanging = true
    try {
      await raft.changeMembership(change)
      const kind = change.kind === 'promote' ? 'MemberPromoted' : 'MemberRemoved'
      log.info({ kind, subject }, reason)
      const event = { kind, subject, reason: `by itself: ${reason}`, shards: [] }
      await proposer.propose({ kind: 'record-event', event })
    } catch (error) {
      // The next look decides anew, on what is then true.
      log.debug({ err: error, change: change.kind, subject }, 'the members were not changed')
    } finally {
      this.#isChanging = false
    }
  }

  async #recordFolders(): Promise<void> {
    const { raft, machine, proposer, folderId, probe, log } = this.#options
    this.#isRecording = true
    try {
      const { members, nodeId } = raft.status()
      const missing = members.filter(({ id }) => !machine.state.folders.has(id))
      for (const { id, address } of missing) {
        const found = id === nodeId ? folderId : await folderAt(probe, { id, address })
        if (found === '') continue
        await proposer.propose({ kind: 'record-member', memberId: id, folderId: found })
      }
    } catch (error) {
      log.debug({ err: error }, 'a member was not put on record')
    } finally {
      this.#isRecording = false
    }
  }
}

async function folderAt(
  probe: Probe,
  { id, address }: { readonly id: string; readonly address: string },
): Promise<string> {
  const reply = await probe(address)
  return reply?.nodeId === id ? reply.folderId : ''
}

function autopilotOptions(settings: SettingsView): AutopilotOptions {
  const promotes = settings.get('placement.autopilot-promote')
  const removes = settings.get('placement.autopilot-remove')
  const stabilizeMs = settings.get('placement.autopilot-stable-ms')
  return {
    ...DEFAULT_AUTOPILOT,
    stabilizeMs: promotes ? stabilizeMs : Number.POSITIVE_INFINITY,
    ...(removes && {
      removal: {
        deadMs: settings.get('placement.autopilot-dead-ms'),
        votersMin: settings.get('placement.autopilot-voters-min'),
      },
    }),
  }
}
