/**
 * Who may do what with a queue: by the user's rules, for which the queue is the address `queues/NAME`, or by the
 * queue's own Policy. What a Policy denies is denied, whatever the rules say.
 */
import type { KnownQueue } from '../../core/queues/queues.ts'
import { ownOf } from './attributes.ts'
import type { Call, Caller } from './call.ts'
import { SqsError } from './errors.ts'
import { accountOf, arnOf, DEFAULT_REGION, parseArn } from './mapping.ts'
import type { ActionName } from './packets.ts'

/** `see`: whoever may send or receive. `manage`: who may do both. */
type Right = 'see' | 'send' | 'receive' | 'manage'

const RIGHTS: Readonly<Record<ActionName, Right>> = {
  AddPermission: 'manage',
  CancelMessageMoveTask: 'manage',
  ChangeMessageVisibility: 'receive',
  ChangeMessageVisibilityBatch: 'receive',
  CreateQueue: 'manage',
  DeleteMessage: 'receive',
  DeleteMessageBatch: 'receive',
  DeleteQueue: 'manage',
  GetQueueAttributes: 'see',
  GetQueueUrl: 'see',
  ListDeadLetterSourceQueues: 'see',
  ListMessageMoveTasks: 'manage',
  ListQueueTags: 'see',
  ListQueues: 'see',
  PurgeQueue: 'manage',
  ReceiveMessage: 'receive',
  RemovePermission: 'manage',
  SendMessage: 'send',
  SendMessageBatch: 'send',
  SetQueueAttributes: 'manage',
  StartMessageMoveTask: 'manage',
  TagQueue: 'manage',
  UntagQueue: 'manage',
}

/** A batch is the right to its single action. */
const SINGLE: Partial<Record<ActionName, ActionName>> = {
  ChangeMessageVisibilityBatch: 'ChangeMessageVisibility',
  DeleteMessageBatch: 'DeleteMessage',
  SendMessageBatch: 'SendMessage',
}

type Subject = Pick<KnownQueue, 'tenant' | 'name'> & Partial<KnownQueue>

/** Throws SqsError AccessDenied. */
export function authorize(call: Call, action: ActionName, queue: Subject): void {
  if (mayUse(call.caller, action, queue)) return
  call.services.counts.denied++
  const who = call.caller.user ?? 'the caller'
  const what = `sqs:${SINGLE[action] ?? action} on the resource: ${arnOf(queue, call.region)}`
  throw new SqsError('AccessDenied', `User: ${who} is not authorized to perform: ${what}`)
}

export function mayUse(caller: Caller, action: ActionName, queue: Subject): boolean {
  const { access, account } = caller
  // Without users everybody may do everything, and an administrator may always.
  if (access === undefined) return true
  const policy = queue.dialects && ownOf(queue as KnownQueue)['Policy']
  const verdict = policy === undefined ? undefined : judge(policy, { caller, action, queue })
  if (verdict === 'deny') return false
  if (verdict === 'allow') return true
  if (account !== accountOf(queue.tenant)) return false
  const address = `queues/${queue.name}`
  const right = RIGHTS[action]
  const maySend = right !== 'receive' && access.mayPublish(address)
  const mayReceive = right !== 'send' && access.maySubscribe(address)
  return right === 'manage' ? maySend && mayReceive : maySend || mayReceive
}

export interface Statement {
  readonly Sid?: string
  readonly Effect: string
  readonly Principal?: string | Readonly<Record<string, string | readonly string[]>>
  readonly Action?: string | readonly string[]
  readonly Resource?: string | readonly string[]
  readonly Condition?: object
}

export interface PolicyDocument {
  readonly Version?: string
  readonly Id?: string
  readonly Statement: readonly Statement[]
}

const FIELDS: readonly string[] = ['Sid', 'Effect', 'Principal', 'Action', 'Resource', 'Condition']

/** Undefined: it is no policy that can be obeyed. */
export function parsePolicy(text: string): PolicyDocument | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const { Statement } = (value ?? {}) as { Statement?: unknown }
  const statements = Array.isArray(Statement) ? Statement : Statement ? [Statement] : []
  const isGood = statements.length > 0 && statements.every(isStatement)
  return isGood ? { ...(value as PolicyDocument), Statement: statements as Statement[] } : undefined
}

/** A denial under a condition would have to be guessed at, so there is none. */
function isStatement(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (!Object.keys(value).every((name) => FIELDS.includes(name))) return false
  const { Effect, Principal, Action, Condition } = value as Partial<Statement>
  if (Principal === undefined || Action === undefined) return false
  return Effect === 'Allow' || (Effect === 'Deny' && Condition === undefined)
}

interface Question {
  readonly caller: Caller
  readonly action: ActionName
  readonly queue: Subject
}

function judge(policy: string, question: Question): 'allow' | 'deny' | undefined {
  let verdict: 'allow' | undefined
  for (const statement of parsed(policy)?.Statement ?? []) {
    if (!applies(statement, question)) continue
    if (statement.Effect === 'Deny') return 'deny'
    verdict = 'allow'
  }
  return verdict
}

const PARSED_MAX = 1_000
const parsedPolicies = new Map<string, PolicyDocument | undefined>()

/** They are asked for with each request, and seldom change. */
function parsed(policy: string): PolicyDocument | undefined {
  if (!parsedPolicies.has(policy)) {
    if (parsedPolicies.size >= PARSED_MAX) parsedPolicies.clear()
    parsedPolicies.set(policy, parsePolicy(policy))
  }
  return parsedPolicies.get(policy)
}

/** A condition asks for what is not known here: what it would allow stays as it is. */
function applies(statement: Statement, { caller, action, queue }: Question): boolean {
  if (statement.Condition !== undefined) return false
  const name = `sqs:${SINGLE[action] ?? action}`
  const isAction = listOf(statement.Action).some((pattern) =>
    wildcardMatches(pattern.toLowerCase(), name.toLowerCase()),
  )
  const resources = listOf(statement.Resource)
  const isResource =
    resources.length === 0 || resources.some((pattern) => isOfQueue(pattern, queue))
  return isAction && isResource && isPrincipal(statement.Principal, caller)
}

function isOfQueue(pattern: string, queue: Subject): boolean {
  const named = parseArn(pattern)
  if (named !== undefined) {
    return named.account === accountOf(queue.tenant) && named.name === queue.name
  }
  return wildcardMatches(pattern, arnOf(queue, DEFAULT_REGION))
}

function isPrincipal(principal: Statement['Principal'], caller: Caller): boolean {
  const names = typeof principal === 'string' ? [principal] : listOf(principal?.['AWS'])
  const { account, user } = caller
  return names.some((name) => {
    if (name === '*') return true
    if (name === account) return true
    const found = /^arn:[\w-]+:iam::([^:]*):(?:(root)|user\/(?:.*\/)?(.+))$/.exec(name)
    if (found === null || found[1] !== account) return false
    return found[2] === 'root' || found[3] === user
  })
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return []
  return typeof value === 'string' ? [value] : value
}

/** `*` any text, `?` any character. */
function wildcardMatches(pattern: string, text: string): boolean {
  let at = 0
  let from = 0
  let star = -1
  let resume = 0
  while (at < text.length) {
    const wanted = pattern[from]
    if (wanted === '*') {
      star = from++
      resume = at
    } else if (wanted === '?' || wanted === text[at]) {
      from++
      at++
    } else if (star >= 0) {
      from = star + 1
      at = ++resume
    } else {
      return false
    }
  }
  while (pattern[from] === '*') from++
  return from === pattern.length
}
