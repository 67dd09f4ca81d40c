// `robust queue`, as people type it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster('--nodes', '2', '--placement', '1')
})

afterAll(() => cluster.purge())

async function robust(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.robust('queue', ...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse(await robust(...args, '-o', 'json')) as T
}

interface Messages {
  readonly messages: readonly {
    readonly value: string
    readonly deliveries: number
    readonly headers: readonly (readonly [string, string])[]
  }[]
}

const values = ({ messages }: Messages) => messages.map(({ value }) => value)
const ready = async (name: string) =>
  (await json<{ counts: { ready: number } }>('describe', name)).counts.ready

describe('robust queue', () => {
  test('makes a queue, shows it, changes it and deletes it', async () => {
    expect(await robust('create', 'shown', '--bind', 'shop/#', '--config', 'lease-ms=7')).toBe(
      'queue shown, bound to shop/#\n',
    )
    const columns = (await robust('list', '--filter', 'show')).split('\n')[1]?.split(/ +/)
    expect(columns?.slice(0, 4)).toEqual(['shown', '0', '0', '0'])
    expect(columns?.at(-1)).toBe('shop/#')
    const config = { 'dead-letter-queue': '7', order: 'group' }
    const flags = Object.entries(config).flatMap(([key, value]) => ['--config', `${key}=${value}`])
    expect(await json('alter', 'shown', '--bind', '', ...flags)).toMatchObject({
      bindings: [],
      config: { ...config, 'lease-ms': 7, 'length-max': null },
    })
    expect(await robust('describe', 'shown')).toMatch(/lease-ms +7\n/)
    expect(await robust('delete', 'shown')).toContain('deleted')
    expect(await json('list', '--filter', 'shown')).toEqual({ items: [], next: null })
  })

  test('sends, peeks, receives and acknowledges', async () => {
    await robust('create', 'm', '--config', 'deduplication-ms=60000')
    expect(await robust('send', 'm', 'one', '--header', 'a=b=c', '--id', '1')).toMatch(
      /\tstored\n$/,
    )
    expect(await robust('send', 'm', 'again', '--id', '1')).toMatch(/\tduplicate\n$/)
    await robust('send', 'm', 'two', 'three')
    await robust('send', 'm', 'later', '--delay-ms', '60000')
    const peeked = await json<Messages>('peek', 'm')
    expect(values(peeked)).toEqual(['one', 'two', 'three'])
    expect(peeked.messages[0]?.headers).toContainEqual(['a', 'b=c'])
    const kept = await json<Messages>('receive', 'm', '--keep', '--lease-ms', '100')
    expect(values(kept)).toEqual(['one'])
    const again = await json<Messages>('receive', 'm', '--max', '10', '--wait', '5')
    const rest = await json<Messages>('receive', 'm', '--max', '10', '--wait', '2')
    expect([...values(again), ...values(rest)].sort()).toEqual(['one', 'three', 'two'])
    expect(await robust('receive', 'm')).toBe('')
    await robust('purge', 'm')
    expect(await json('describe', 'm')).toMatchObject({ counts: { ready: 0, delayed: 0 } })
  })

  test('moves dead letters back, and everything elsewhere, and tells what does not go', async () => {
    await robust('create', 'dead')
    const config = ['deliveries-max=1', 'dead-letter-queue=dead', 'lease-ms=50']
    await robust('create', 'work', ...config.flatMap((setting) => ['--config', setting]))
    const letters = Array.from({ length: 40 }, (_, at) => String(at))
    await robust('send', 'work', ...letters)
    await robust('receive', 'work', '--max', '40', '--keep')
    await expect.poll(() => ready('dead')).toBe(40)
    expect(await robust('redrive', 'dead')).toBe('40 messages were moved\n')
    expect(await ready('work')).toBe(40)
    await robust('create', 'other')
    expect(await json('move', 'work', 'other')).toMatchObject({ state: 'completed', moved: 40 })
    expect(values(await json<Messages>('peek', 'other')).sort()).toEqual(letters.sort())
    const slow = ['redrive', 'other', '--per-second', '1', '--detach']
    expect(await json(...slow)).toMatchObject({ state: 'running', toMove: 40 })
    await expect.poll(() => ready('work')).toBeGreaterThan(0)
    expect(await json('redrive', 'other', '--cancel')).toMatchObject({ state: 'cancelling' })
    const states = async () =>
      (await json<{ redrives: { state: string }[] }>('describe', 'other')).redrives
    await expect.poll(states).toMatchObject([{ state: 'cancelled' }])
    expect((await ready('work')) + (await ready('other'))).toBe(40)
  })

  test.each([
    [['create', 'taken'], 1, 'QUEUE_EXISTS'],
    [['create', 'a\nb'], 65, 'BAD_VALUE'],
    [['create', 'x', '--bind', 'a/#/b'], 65, 'BAD_VALUE'],
    [['create', 'x', '--config', 'lease-ms=-1'], 65, 'BAD_VALUE'],
    [['create', 'x', '--config', 'nonsense=1'], 64, 'USAGE'],
    [['describe', 'unknown'], 66, 'NO_SUCH_QUEUE'],
    [['alter', 'unknown', '--config', 'lease-ms=1'], 66, 'NO_SUCH_QUEUE'],
    [['delete', 'unknown'], 66, 'NO_SUCH_QUEUE'],
    [['send', 'unknown', 'x'], 66, 'NO_SUCH_QUEUE'],
    [['receive', 'unknown'], 66, 'NO_SUCH_QUEUE'],
    [['purge', 'unknown'], 66, 'NO_SUCH_QUEUE'],
    [['send', 'taken', 'x', '--header', '=1'], 64, 'USAGE'],
    [['send', 'taken', 'x', 'y'], 75, 'QUEUE_FULL'],
    [['move', 'taken', 'unknown'], 1, 'REFUSED'],
    [['redrive', 'taken'], 1, 'REDRIVE_ENDED'],
    [['redrive', 'taken', '--cancel'], 64, 'USAGE'],
  ])('%j is refused', async (args, code, id) => {
    await cluster.robust('queue', 'create', 'taken', '--config', 'length-max=1')
    const ran = await cluster.robust('queue', ...args)
    expect(ran.code).toBe(code)
    expect(ran.stderr).toContain(`error[${id}]`)
  })
})
