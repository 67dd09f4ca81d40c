/** `robust cluster partition|net|heal`: disturbs the links between nodes of a cluster that was made `--breakable`. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClusterState } from '../cluster/state.ts'
import { type Context, requireCluster } from '../context.ts'
import { usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { ANY, type LinkRule, NO_RULE } from '../network/link-rules.ts'
import { askNetwork } from '../network/network-client.ts'
import { table } from '../output.ts'
import { findNode } from './cluster-nodes.ts'

export interface PartitionOptions {
  readonly name?: string
  readonly from?: string
  readonly oneWay?: boolean
  /** ms */
  readonly for?: number
}

export interface NetOptions {
  readonly name?: string
  readonly from: string
  readonly to: string
  /** ms */
  readonly delay?: number
  /** ms */
  readonly jitter?: number
  /** Percent. */
  readonly loss?: number
}

/** Nothing gets from the one side to the other, and back unless it is one way. */
export async function partition(
  context: Context,
  wanted: string,
  options: PartitionOptions,
): Promise<number> {
  const state = requireCluster(context, options.name)
  const side = await namesOf(state, wanted)
  const others = state.nodes
    .filter(({ name, role }) => role !== 'network' && !side.includes(name))
    .map(({ name }) => name)
  const from = options.from === undefined ? others : await namesOf(state, options.from)
  const cuts = side.flatMap((a) =>
    from.flatMap((b) => {
      const outward = { ...NO_RULE, from: a, to: b, cut: true }
      return options.oneWay === true ? [outward] : [outward, { ...outward, from: b, to: a }]
    }),
  )
  const rules = await askNetwork(state, 'GET /rules')
  await askNetwork(state, 'PUT /rules', [...rules, ...cuts])
  const direction = options.oneWay === true ? 'sends nothing to' : 'is cut off from'
  report(context, [...rules, ...cuts], `${side.join(', ')} ${direction} ${from.join(', ')}`)
  if (options.for === undefined) return exitCodes.ok
  await sleep(options.for, undefined, { signal: context.signal }).catch(() => undefined)
  const isOurs = (rule: LinkRule): boolean =>
    rule.cut && cuts.some(({ from: a, to: b }) => a === rule.from && b === rule.to)
  const left = (await askNetwork(state, 'GET /rules')).filter((rule) => !isOurs(rule))
  await askNetwork(state, 'PUT /rules', left)
  report(context, left, 'healed')
  return exitCodes.ok
}

/** Shows what holds, or adds a rule. */
export async function disturb(context: Context, options: NetOptions): Promise<number> {
  const state = requireCluster(context, options.name)
  const rules = await askNetwork(state, 'GET /rules')
  const { delay = 0, jitter = 0, loss = 0 } = options
  if (delay + jitter + loss === 0) {
    report(context, rules, undefined)
    return exitCodes.ok
  }
  const added: LinkRule = {
    from: options.from === ANY ? ANY : (await findNode(state, options.from)).name,
    to: options.to === ANY ? ANY : (await findNode(state, options.to)).name,
    cut: false,
    ...{ delayMs: delay, jitterMs: jitter, lossPercent: loss },
  }
  report(context, await askNetwork(state, 'PUT /rules', [...rules, added]), undefined)
  return exitCodes.ok
}

export async function heal(context: Context, options: { name?: string }): Promise<number> {
  const state = requireCluster(context, options.name)
  await askNetwork(state, 'PUT /rules', [])
  report(context, [], 'every link is whole')
  return exitCodes.ok
}

async function namesOf(state: ClusterState, list: string): Promise<string[]> {
  const names = list.split(',').filter((name) => name !== '')
  if (names.length === 0) throw usageError('no node is named', 'robust cluster partition broker-1')
  return Promise.all(names.map(async (name) => (await findNode(state, name)).name))
}

function report(
  { output, format }: Context,
  rules: readonly LinkRule[],
  said: string | undefined,
): void {
  if (format === 'json') {
    output.json(rules)
    return
  }
  if (said !== undefined) output.print(said)
  else if (rules.length === 0) output.print('every link is whole')
  else {
    const columns = ['FROM', 'TO', 'DELAY', 'JITTER', 'LOSS'].map((title) => ({ title }))
    const rows = rules.map(({ from, to, cut, delayMs, jitterMs, lossPercent }) =>
      cut
        ? [from, to, 'cut', '', '']
        : [from, to, `${delayMs} ms`, `${jitterMs} ms`, `${lossPercent}%`],
    )
    output.print(table(columns, rows, output.paint))
  }
}
