import { describe, expect, test } from 'vitest'
import { type RewriteRule, Rewriter } from './rewrite.ts'

const names = { clientId: 'c1', user: 'u1' }
const rule = (filter: string, target: string, action: RewriteRule['action'] = 'all') => ({
  ...{ action, filter, target },
})

describe('Rewriter', () => {
  test.each([
    ['a/+/b', 'x/$1', 'a/7/b', 'x/7'],
    ['a/#', 'x/$1', 'a/1/2', 'x/1/2'],
    ['+/+/#', '$2/$1/$3', 'a/b/c/d', 'b/a/c/d'],
    ['a', 'home/%c/%u', 'a', 'home/c1/u1'],
    ['%c/#', 'mine/$1', 'c1/x', 'mine/x'],
    ['a/+', 'x', 'a/b/c', 'a/b/c'],
    ['#', 'x/$1', '$SYS/a', '$SYS/a'],
    ['a', 'x/+', 'a', 'a'],
    ['a', '$9', 'a', 'a'],
  ])('topic: rule %s to %s makes of %s %s', (filter, target, topic, expected) => {
    const rules = [rule(filter, target)]
    const rewriter = new Rewriter(() => rules, names)
    expect(rewriter.topic(topic)).toBe(expected)
    expect(rewriter.topic(topic)).toBe(expected)
  })

  test.each([
    ['a/+/b', 'x/$1', 'a/+/b', 'x/+'],
    ['a/#', 'x/$1', 'a/#', 'x/#'],
    ['a/+', 'x/$1', 'a/#', 'a/#'],
    ['a/#', '$1/x', 'a/#', 'a/#'],
    ['a/#', 'x/$1', '$share/g/a/1', '$share/g/x/1'],
    ['a/#', 'x/$1', '$exclusive/a/1', '$exclusive/x/1'],
  ])('filter: rule %s to %s makes of %s %s', (filter, target, asked, expected) => {
    const rules = [rule(filter, target)]
    expect(new Rewriter(() => rules, names).filter(asked)).toBe(expected)
  })

  test('the first rule that fits counts, for its action, and new rules at once', () => {
    let rules = [rule('a', 'p', 'publish'), rule('a', 's', 'subscribe'), rule('a', 'z')]
    const rewriter = new Rewriter(() => rules, names)
    expect([rewriter.topic('a'), rewriter.filter('a')]).toEqual(['p', 's'])
    rules = [rule('a', 'n')]
    expect([rewriter.topic('a'), rewriter.filter('a')]).toEqual(['n', 'n'])
    rules = []
    expect([rewriter.topic('a'), rewriter.filter('a')]).toEqual(['a', 'a'])
  })
})
