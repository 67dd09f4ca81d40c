/** What a node must know before it is composed: its data folder, its address and the members it begins with. */
import { createServer } from 'node:net'
import type { RaftMember } from 'raft-ts'
import { ConfigError, type PlacementConfig } from './config.ts'
import { type DataFolder, type Identity, keptIdentity, openDataFolder } from './identity.ts'
import type { Logger } from './logger.ts'
import { type AdmissionOptions, findClusterId } from './replication/admission.ts'
import { probeNode } from './replication/member-probe.ts'
import { restoreFolder } from './replication/restore.ts'

const DEFAULT_IDENTITY: Identity = { clusterId: 'robust', nodeId: 'placement-1' }

/**
 * Who joins learns the cluster's id from the cluster.
 * @throws IdentityError, ConfigError
 */
export async function openFolder(
  config: PlacementConfig,
  around: { readonly log: (nodeId: string) => Logger; readonly signal: AbortSignal },
): Promise<DataFolder> {
  const { dataDir, nodeId, clusterId, join = [], restore } = config
  const asked = {
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(clusterId === undefined ? {} : { clusterId }),
  }
  if (restore !== undefined) {
    const id = nodeId ?? DEFAULT_IDENTITY.nodeId
    const address = config.advertise ?? `${config.host}:${config.port}`
    return restoreFolder({ ...restore, dataDir, nodeId: id, clusterId, address })
  }
  const isKept = keptIdentity(dataDir) !== undefined
  if (isKept || join.length === 0) return openDataFolder(dataDir, asked, DEFAULT_IDENTITY)
  if (nodeId === undefined) {
    throw new ConfigError('--join needs --node-id, with an id that the cluster never had')
  }
  const { signal } = around
  const found =
    clusterId ??
    (await findClusterId({ others: join, probe: probeNode, log: around.log(nodeId), signal }))
  return openDataFolder(dataDir, { nodeId, clusterId: found }, DEFAULT_IDENTITY)
}

/** As they are until the log says more; of a node that joins only itself. A cluster of one needs no list. */
export function membersOf(config: PlacementConfig, nodeId: string): readonly RaftMember[] {
  const { members, join = [], host, port, advertise = `${host}:${port}` } = config
  if (members.length === 0 || join.length > 0) {
    if (join.length > 0 && /^(0\.0\.0\.0|\[::\]):/.test(advertise)) {
      throw new ConfigError(`nobody can reach ${advertise}: name an address with --advertise`)
    }
    return [{ id: nodeId, address: advertise }]
  }
  if (!members.some(({ id }) => id === nodeId)) {
    const ids = members.map(({ id }) => id).join(', ')
    throw new ConfigError(`--peers names ${ids}, but not this node, ${nodeId}`)
  }
  return members
}

/** Undefined: this folder has a log, or there is nobody to ask. */
export function admissionOf(
  config: PlacementConfig,
  around: {
    readonly folder: DataFolder
    readonly members: readonly RaftMember[]
    readonly log: Logger
  },
): Omit<AdmissionOptions, 'signal'> | undefined {
  const { folder, members, log } = around
  const { join = [], dataDir } = config
  const others = members.filter(({ id }) => id !== folder.nodeId).map(({ address }) => address)
  const isJoining = join.length > 0
  if (!folder.isNew || (!isJoining && others.length === 0)) return undefined
  const address = members.find(({ id }) => id === folder.nodeId)?.address ?? ''
  const asked = isJoining ? join : others
  return { dataDir, folder, address, others: asked, isJoining, probe: probeNode, log }
}

export function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, host, () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}
