/**
 * Whether a data folder without a log may be used under its node id. A member that lost its log must not come
 * back under its old id: it could vote twice in one term, and others would count entries that it has lost. So
 * a new folder takes part only when the leader, or as many nodes as make a majority, know of no other one.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { placement as wire } from '@robust/proto'
import { type DataFolder, IdentityError } from '../identity.ts'
import type { Logger } from '../logger.ts'
import type { Probe } from './member-probe.ts'

export interface AdmissionOptions {
  readonly dataDir: string
  readonly folder: DataFolder
  /** Of this node, as others reach it. */
  readonly address: string
  /** Where other nodes are. */
  readonly others: readonly string[]
  /** It joins a cluster that exists: only its leader can say. Else the others may be as new as this one. */
  readonly isJoining: boolean
  readonly probe: Probe
  readonly log: Logger
  readonly signal: AbortSignal
}

const RETRY_MS = 100
const TOLD_AFTER_MS = 3_000

/**
 * Asks until it is certain. Rejects when the signal is aborted.
 * @throws IdentityError when it may not.
 */
export async function awaitAdmission(options: AdmissionOptions): Promise<void> {
  const waiting = new Waiting(options.log)
  for (;;) {
    options.signal.throwIfAborted()
    const replies = await askAll(options)
    for (const reply of replies) refuse(options, reply)
    if (isEnough(options, replies)) return
    waiting.tell(options.others)
    await sleep(RETRY_MS, undefined, { signal: options.signal })
  }
}

/** The id of the cluster that answers at any of the addresses. Asks until one does. */
export async function findClusterId(
  options: Pick<AdmissionOptions, 'others' | 'probe' | 'log' | 'signal'>,
): Promise<string> {
  const waiting = new Waiting(options.log)
  for (;;) {
    options.signal.throwIfAborted()
    const replies = await askAll(options)
    const found = replies.find(({ clusterId }) => clusterId !== '')
    if (found !== undefined) return found.clusterId
    waiting.tell(options.others)
    await sleep(RETRY_MS, undefined, { signal: options.signal })
  }
}

/** The leader too when somebody knows it: who joins may have been told of others only. */
async function askAll({
  others,
  probe,
}: Pick<AdmissionOptions, 'others' | 'probe'>): Promise<readonly wire.StatusReply[]> {
  const asked = new Set(others)
  const replies = await Promise.all(others.map(probe))
  const leaders = replies.map((reply) => reply?.leaderAddress ?? '')
  const [leader] = leaders.filter((address) => address !== '' && !asked.has(address))
  if (leader !== undefined) replies.push(await probe(leader))
  return replies.filter((reply) => reply !== undefined)
}

function refuse({ folder, dataDir, address, others }: AdmissionOptions, reply: wire.StatusReply) {
  const { clusterId, nodeId, folderId } = folder
  if (reply.clusterId === '') return
  if (reply.clusterId !== clusterId) {
    throw new IdentityError(
      `${reply.nodeId} is of cluster ${reply.clusterId}, and ${dataDir} of cluster ${clusterId}: ` +
        `name other nodes, or another --data folder`,
    )
  }
  const known = reply.memberFolders[nodeId]
  if (known === undefined || known === folderId) return
  const isMember = reply.members.some((member) => member.nodeId === nodeId)
  const at = reply.leaderAddress || others[0]
  const steps = [
    ...(isMember ? [`robust placement remove ${nodeId} --placement ${at}`] : []),
    `robust placement start --node-id NEW-ID --join ${at} --listen ${address} --data ${dataDir}`,
    `robust placement add NEW-ID=${address} --placement ${at}`,
  ]
  throw new IdentityError(
    `${nodeId} of cluster ${clusterId} ${isMember ? 'is' : 'was'} a member with data folder ` +
      `${known}; ${dataDir} is ${folderId}, without its log, and could vote twice in one term. ` +
      `Put the old folder back; or come back under an id that was never used: ${steps.join('; ')}`,
  )
}

function isEnough(
  { isJoining, others }: AdmissionOptions,
  replies: readonly wire.StatusReply[],
): boolean {
  if (replies.some(({ role, hasQuorum }) => role === 'leader' && hasQuorum)) return true
  const answered = new Set(replies.map(({ nodeId }) => nodeId)).size
  // This one is one of them.
  return !isJoining && answered + 1 > (others.length + 1) / 2
}

/** Says once, after a while, that nobody answers. */
class Waiting {
  readonly #sinceMs = performance.now()
  readonly #log: Logger
  #isTold = false

  constructor(log: Logger) {
    this.#log = log
  }

  tell(others: readonly string[]): void {
    if (this.#isTold || performance.now() - this.#sinceMs < TOLD_AFTER_MS) return
    this.#isTold = true
    const fields = { errId: 'WAITING_FOR_MEMBERS', others }
    this.#log.warn(fields, 'waits until other Placement Center nodes answer')
  }
}
