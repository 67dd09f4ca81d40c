// Five promises that nobody waits for, across packages.
import { Node, startNode } from 'raft-ts'

export function unawaitedFunction(): void {
  startNode() // reported: noFloatingPromises
}

export function unawaitedMethod(): void {
  const node = new Node()
  node.stop() // reported: noFloatingPromises
}

export function alwaysTrue(): string {
  if (startNode()) return 'started' // reported: noMisusedPromises
  return 'not started'
}

export function unawaitedCallback(nodes: Node[]): void {
  nodes.forEach(async (node) => { // reported: noMisusedPromises
    await node.stop()
  })
}

export function spreadOfNothing(): object {
  return { ...startNode() } // reported: noMisusedPromises
}
