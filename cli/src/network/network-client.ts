/** Asks `network-1` of a cluster on this machine. */
import { type ClusterState, nodesOf } from '../cluster/state.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { type LinkRule, parseRules } from './link-rules.ts'

const ANSWER_MS = 2_000

/**
 * Answers the rules that hold afterwards. Throws LINKS_NOT_BREAKABLE when the nodes reach each other directly,
 * UNREACHABLE when `network-1` does not answer.
 */
export async function askNetwork(
  state: ClusterState,
  what: 'GET /rules' | 'PUT /rules' | 'PUT /fronts',
  body?: unknown,
): Promise<readonly LinkRule[]> {
  const [network] = nodesOf(state, 'network')
  if (network === undefined) throw notBreakable(state)
  const [method = '', path = ''] = what.split(' ')
  const url = `http://${state.host}:${network.ports['http']}${path}`
  try {
    const response = await fetch(url, {
      method,
      signal: AbortSignal.timeout(ANSWER_MS),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const answer: unknown = await response.json()
    if (!response.ok) throw new Error(JSON.stringify(answer))
    return parseRules(answer)
  } catch (error) {
    throw new CliError('UNREACHABLE', {
      message: `${network.name} does not do what it is asked`,
      cause: error instanceof Error ? error.message : String(error),
      hint: `robust cluster restart ${network.name}`,
      exit: exitCodes.tryAgain,
    })
  }
}

export function notBreakable({ name }: Pick<ClusterState, 'name'>): CliError {
  return new CliError('LINKS_NOT_BREAKABLE', {
    message: `the nodes of ${name} reach each other directly`,
    cause: 'links can be disturbed only where the cluster was made so',
    hint: `robust cluster up --name OTHER --breakable, or robust cluster down --purge --name ${name} first`,
    exit: exitCodes.cannotCreate,
  })
}
