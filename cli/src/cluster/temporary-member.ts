/** A Placement Center node that comes, votes, and goes again: what the chaos engine does to the members. */
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startNewNode } from '../commands/cluster-add-node.ts'
import { placementRemove } from '../commands/placement.ts'
import { type Context, requireCluster, whileLocked } from '../context.ts'
import { lookAtCenter } from '../placement-client.ts'
import { placementOf } from './launch.ts'
import { stopNode } from './nodes.ts'
import { numberOf } from './topology.ts'

const STOP_MS = 5_000
const POLL_MS = 100

interface Asked {
  readonly name: string
  /** Seconds. */
  readonly timeout: number
}

/** Answers its name, which no member ever had. */
export async function addMember(context: Context, asked: Asked): Promise<string> {
  const leader = await someLeader(context, asked)
  const known = Object.keys(leader?.memberFolders ?? {}).map(numberOf)
  const number = Math.max(0, ...known.filter(Number.isInteger)) + 1
  const node = await startNewNode(context, { ...asked, role: 'placement', number })
  return node.name
}

/** The one before may have been killed a moment ago. */
async function someLeader(context: Context, { name, timeout }: Asked) {
  const end = performance.now() + timeout * 1_000
  for (;;) {
    const { leader } = await lookAtCenter(placementOf(requireCluster(context, name)))
    if (leader !== undefined || performance.now() > end) return leader
    await sleep(POLL_MS)
  }
}

/** Resolves when it is no member any more, and nothing is left of it. */
export async function removeMember(context: Context, node: string, asked: Asked): Promise<void> {
  await someLeader(context, asked)
  await placementRemove(context, node, asked)
  await whileLocked(context, asked.name, async () => {
    const state = requireCluster(context, asked.name)
    const [gone] = state.nodes.filter(({ name }) => name === node)
    if (gone === undefined) return
    await stopNode(gone, STOP_MS)
    rmSync(gone.dataDir, { recursive: true, force: true })
    context.store.write({ ...state, nodes: state.nodes.filter((each) => each !== gone) })
  })
}
