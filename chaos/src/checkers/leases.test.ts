import { describe, expect, test } from 'vitest'
import { checkLeases } from './leases.ts'

const seen = (node: string, epoch: number, owner: string, index: number) => ({
  ...{ node, shard: 1, epoch, owner, index },
})

describe('leases', () => {
  test('go from owner to owner with a higher epoch each', () => {
    const history = [seen('p1', 3, 'a', 10), seen('p2', 3, '', 12), seen('p1', 5, 'b', 14)]
    expect(checkLeases(history)).toEqual([])
    // A node that is behind says what was.
    expect(checkLeases([...history, seen('p3', 3, 'a', 11)])).toEqual([])
  })

  test('of one epoch have one owner', () => {
    const found = checkLeases([seen('p1', 3, 'a', 10), seen('p2', 3, 'b', 10)])
    expect(found).toEqual([{ kind: 'two owners', what: 'shard 1, epoch 3: a and b' }])
  })

  test('do not go back', () => {
    const [found] = checkLeases([seen('p1', 5, 'a', 10), seen('p2', 3, 'b', 11)])
    expect(found?.kind).toBe('non-monotonic read')
  })
})
