/** Pages of several brokers, joined into one. Pure: the brokers are asked elsewhere. */

export interface JoinedPage<Item> {
  readonly items: readonly (Item & { readonly node: string })[]
  /** What the next page begins after; undefined: this is the last one. */
  readonly next: string | undefined
}

export interface BrokerPage<Item> {
  readonly node: string
  /** In the order of their names, `limit` at most. */
  readonly items: readonly Item[]
}

/** The first names of all brokers together. */
export function joinPages<Item>(
  pages: readonly BrokerPage<Item>[],
  limit: number,
  nameOf: (item: Item) => string,
): JoinedPage<Item> {
  const named = pages.flatMap(({ node, items }) =>
    items.map((item) => ({ name: nameOf(item), node, item })),
  )
  named.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  const shown = named.slice(0, limit)
  const isFull = named.length > limit || pages.some(({ items }) => items.length >= limit)
  const next = isFull ? shown[shown.length - 1]?.name : undefined
  return { items: shown.map(({ node, item }) => ({ ...item, node })), next }
}
