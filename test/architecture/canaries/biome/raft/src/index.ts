/** What the canaries of the placement workspace forget to wait for. */
export function startNode(): Promise<boolean> {
  return Promise.resolve(true)
}

export class Node {
  stop(): Promise<void> {
    return Promise.resolve()
  }
}
