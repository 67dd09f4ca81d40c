/** Asks every node of a cluster at the same time, each with a short deadline. */
import type { control, placement } from '@robust/proto'
import { inspectBroker, isServing, placementStatus } from '../clients.ts'
import { placementOf } from './launch.ts'
import { nodeState } from './nodes.ts'
import { type ClusterState, nodesOf } from './state.ts'
import { isRedis, storageFor } from './topology.ts'
import type { Answers } from './view.ts'

export async function askCluster(state: ClusterState): Promise<Answers> {
  const processes = new Map(state.nodes.map((node) => [node.name, nodeState(node)]))
  const address = (ports: Readonly<Record<string, number>>) => `${state.host}:${ports['grpc']}`
  const silent = new Set(
    state.nodes
      .filter(({ name }) => processes.get(name) !== 'running')
      .map(({ ports }) => address(ports)),
  )
  // A paused or stopped process of ours needs no time-out to be known as silent.
  const willAnswer = (candidates: readonly string[]): readonly string[] =>
    candidates.filter((candidate) => !silent.has(candidate))
  const ours = nodesOf(state, 'broker').filter(({ name }) => processes.get(name) === 'running')
  // Redis answers no health check of ours: the brokers tell whether it serves.
  const storage = isRedis(state.storageUrl) ? [] : addressesOf(storageFor(state))
  const [placement, brokers, serving] = await Promise.all([
    askEach(willAnswer(placementOf(state)), placementStatus),
    inspectAll(ours.map(({ name, ports }) => [name, address(ports)])),
    askEach(willAnswer(storage), isServing),
  ])
  const others = await inspectAll(strangersIn(state, placement))
  return {
    state,
    processes,
    placement,
    brokers: new Map([...brokers, ...others]),
    serving: new Set([...serving].filter(([, serves]) => serves).map(([node]) => node)),
    storage,
  }
}

/** Brokers that the metadata knows and the state file does not. */
function strangersIn(
  state: ClusterState,
  replies: ReadonlyMap<string, placement.StatusReply>,
): readonly (readonly [string, string])[] {
  const ours = new Set(state.nodes.map(({ name }) => name))
  const nodes = [...replies.values()].flatMap(({ metadata }) => metadata?.nodes ?? [])
  const others = nodes.filter(({ nodeId }) => !ours.has(nodeId))
  return [...new Map(others.map(({ nodeId, grpcAddress }) => [nodeId, grpcAddress]))]
}

async function inspectAll(
  brokers: readonly (readonly [string, string])[],
): Promise<ReadonlyMap<string, control.InspectReply>> {
  const replies = await Promise.all(brokers.map(([, address]) => inspectBroker(address)))
  return present(
    brokers.map(([name]) => name),
    replies,
  )
}

async function askEach<T>(
  addresses: readonly string[],
  question: (address: string) => Promise<T | undefined>,
): Promise<ReadonlyMap<string, T>> {
  return present(addresses, await Promise.all(addresses.map((address) => question(address))))
}

function present<T>(
  keys: readonly string[],
  values: readonly (T | undefined)[],
): ReadonlyMap<string, T> {
  return new Map(
    keys.flatMap((key, at) => {
      const value = values[at]
      return value === undefined ? [] : [[key, value]]
    }),
  )
}

function addressesOf(storageUrl: string): readonly string[] {
  return storageUrl
    .replace(/^robust:\/\//, '')
    .replace(/\/?(\?.*)?$/, '')
    .split(',')
}
