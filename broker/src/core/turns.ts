/** One piece of work at a time for each name, in the order in which they were asked for. */
export class Turns {
  readonly #turns = new Map<string, Promise<unknown>>()

  run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve()
    const result = before.then(work)
    const turn = result.catch(() => undefined)
    this.#turns.set(name, turn)
    void turn.then(() => {
      if (this.#turns.get(name) === turn) this.#turns.delete(name)
    })
    return result
  }
}
