import { describe, expect, it } from 'vitest'
import { checkLinearizability, type Model } from './linearizability.ts'
import {
  FENCED_LOG,
  type FencedInput,
  type FencedOutput,
  LEASE,
  type LeaseInput,
  type LeaseOutput,
  REGISTER,
  type RegisterInput,
  type RegisterOutput,
} from './models.ts'
import { type History, type Operation, Recorder } from './recorder.ts'

type RegisterOperation = Operation<RegisterInput, RegisterOutput>

/** One operation of a history that is written down: from when to when, what, and what came of it. */
function operation<I, O>(fromMs: number, toMs: number | undefined, input: I, output?: O) {
  const outcome = output === undefined ? ('unknown' as const) : ('ok' as const)
  const times = { invokedMs: fromMs, completedMs: toMs }
  return { client: `${fromMs}`, key: 'k', input, output, outcome, ...times }
}

const write = (from: number, to: number | undefined, value: string): RegisterOperation =>
  operation(from, to, { kind: 'write', value }, to === undefined ? undefined : { kind: 'written' })
const read = (from: number, to: number, value: string | undefined): RegisterOperation =>
  operation(from, to, { kind: 'read' }, { kind: 'value', value })
const compareAndSet = (
  [from, to]: readonly [number, number],
  [expected, value]: readonly [string | undefined, string],
  kind: 'written' | 'conflict',
): RegisterOperation => operation(from, to, { kind: 'compare-and-set', expected, value }, { kind })

const GOOD: Readonly<Record<string, History<RegisterInput, RegisterOutput>>> = {
  'nothing at all': [],
  'one after the other': [write(0, 1, 'a'), read(2, 3, 'a'), write(4, 5, 'b'), read(6, 7, 'b')],
  'a read that overlaps a write sees the new value': [write(0, 10, 'a'), read(1, 2, 'a')],
  'a read that overlaps a write sees the old value': [write(0, 10, 'a'), read(1, 2, undefined)],
  'two writes at once, either order': [write(0, 10, 'a'), write(0, 10, 'b'), read(11, 12, 'a')],
  'a write of unknown outcome that is seen': [write(0, undefined, 'a'), read(50, 51, 'a')],
  'a write of unknown outcome that is never seen': [
    write(0, undefined, 'a'),
    read(50, 51, undefined),
  ],
  'a write of unknown outcome that takes effect late': [
    write(0, undefined, 'a'),
    read(10, 11, undefined),
    write(20, 21, 'b'),
    read(30, 31, 'a'),
  ],
  'returns and calls at the same moment overlap': [write(0, 5, 'a'), read(5, 6, undefined)],
  'compare and set, one of two wins': [
    compareAndSet([0, 10], [undefined, 'a'], 'written'),
    compareAndSet([0, 10], [undefined, 'b'], 'conflict'),
    read(11, 12, 'a'),
  ],
}

const BAD: Readonly<Record<string, History<RegisterInput, RegisterOutput>>> = {
  'a stale read': [write(0, 1, 'a'), write(2, 3, 'b'), read(4, 5, 'a')],
  'a read of what nobody wrote': [write(0, 1, 'a'), read(2, 3, 'x')],
  'a lost write': [write(0, 1, 'a'), read(2, 3, undefined)],
  'a read from the future': [read(0, 1, 'a'), write(2, 3, 'a')],
  'a value that goes back between two reads': [
    write(0, 1, 'a'),
    write(2, 20, 'b'),
    read(3, 4, 'b'),
    read(5, 6, 'a'),
  ],
  'a write of unknown outcome that is seen and then was never there': [
    write(0, 1, 'a'),
    write(2, undefined, 'b'),
    read(3, 4, 'b'),
    read(5, 6, 'a'),
  ],
  'a write of unknown outcome that is seen before it is asked for': [
    read(0, 1, 'a'),
    write(5, undefined, 'a'),
  ],
  'compare and set, both win': [
    compareAndSet([0, 10], [undefined, 'a'], 'written'),
    compareAndSet([0, 10], [undefined, 'b'], 'written'),
  ],
  'compare and set, a conflict without a reason': [
    compareAndSet([0, 1], [undefined, 'a'], 'conflict'),
  ],
  'two orders of two writes [split brain]': [
    write(0, 10, 'a'),
    write(0, 10, 'b'),
    read(11, 12, 'a'),
    read(13, 14, 'b'),
  ],
}

describe('checkLinearizability', () => {
  it.each(Object.entries(GOOD))('accepts %s', (_name, history) => {
    expect(checkLinearizability(history, REGISTER).kind).toBe('linearizable')
  })

  it.each(Object.entries(BAD))('finds %s', (_name, history) => {
    expect(checkLinearizability(history, REGISTER).kind).toBe('violation')
  })

  it('leaves out what certainly was not done', () => {
    const failed: RegisterOperation = { ...write(2, 3, 'b'), outcome: 'fail', output: undefined }
    const history = [write(0, 1, 'a'), failed, read(4, 5, 'a')]
    expect(checkLinearizability(history, REGISTER).kind).toBe('linearizable')
    const seen = [write(0, 1, 'a'), failed, read(4, 5, 'b')]
    expect(checkLinearizability(seen, REGISTER).kind).toBe('violation')
  })

  it('judges keys by themselves, and names the one that is wrong, what held and what did not', () => {
    const good = [write(0, 1, 'a'), read(2, 3, 'a')].map((each) => ({ ...each, key: 'good' }))
    const history = [...good, write(0, 1, 'x'), read(2, 3, 'x'), read(4, 5, 'y')]
    const verdict = checkLinearizability(history, REGISTER)
    expect(verdict).toMatchObject({
      kind: 'violation',
      key: 'k',
      state: '"x"',
      stuck: { output: { value: 'y' } },
    })
    expect(verdict.kind === 'violation' && verdict.order).toHaveLength(2)
  })

  it('says so when it gives up', () => {
    const writes = Array.from({ length: 12 }, (_, at) => write(0, 100, `${at}`))
    const history = [...writes, read(200, 201, 'never')]
    expect(checkLinearizability(history, REGISTER, { statesMax: 50 })).toMatchObject({
      kind: 'undecided',
      key: 'k',
    })
  })

  it('agrees with a search through all orders, on random small histories', () => {
    const verdicts = { linearizable: 0, violation: 0, undecided: 0 }
    for (let seed = 1; seed <= 3_000; seed += 1) {
      const history = randomHistory(seededRandom(seed))
      const { kind } = checkLinearizability(history, REGISTER)
      verdicts[kind] += 1
      expect(kind === 'linearizable', `seed ${seed}: ${JSON.stringify(history)}`).toBe(
        isLinearizableByBruteForce(history, REGISTER),
      )
    }
    expect(Math.min(verdicts.linearizable, verdicts.violation)).toBeGreaterThan(300)
  })

  it('judges ten thousand operations on fifty keys, and finds the one that is wrong', () => {
    const history = longHistory({ operations: 10_000, keys: 50, seed: 7 })
    expect(checkLinearizability(history, REGISTER).kind).toBe('linearizable')
    const reads = history.filter(({ outcome, input }) => outcome === 'ok' && input.kind === 'read')
    const wrong = reads[Math.floor(reads.length / 2)]
    const spoilt = history.map((each) =>
      each === wrong ? { ...each, output: { kind: 'value', value: 'never' } as const } : each,
    )
    expect(checkLinearizability(spoilt, REGISTER)).toMatchObject({ kind: 'violation' })
  })

  it('judges a history on one key', () => {
    const history = longHistory({ operations: 3_000, keys: 1, seed: 3 })
    expect(checkLinearizability(history, REGISTER).kind).toBe('linearizable')
  })
})

describe('the lease', () => {
  const acquire = (from: number, to: number | undefined, owner: string, epoch?: number) =>
    operation<LeaseInput, LeaseOutput>(
      from,
      to,
      { kind: 'acquire', owner },
      epoch === undefined ? undefined : { kind: 'granted', epoch },
    )
  const holder = (from: number, to: number, owner: string | undefined, epoch?: number) =>
    operation<LeaseInput, LeaseOutput>(
      from,
      to,
      { kind: 'holder' },
      { kind: 'holder', owner, epoch },
    )
  const release = (from: number, to: number, epoch: number, kind: 'released' | 'stale') =>
    operation<LeaseInput, LeaseOutput>(from, to, { kind: 'release', epoch }, { kind })

  it.each([
    ['grants with growing epochs', [acquire(0, 1, 'a', 3), acquire(2, 3, 'b', 7)]],
    [
      'a grant that nobody heard of, seen later',
      [acquire(0, undefined, 'a'), holder(5, 6, 'a', 4)],
    ],
    [
      'a grant that nobody heard of and that never was',
      [acquire(0, undefined, 'a'), holder(5, 6, undefined)],
    ],
    [
      'a release of an old epoch changes nothing',
      [
        acquire(0, 1, 'a', 3),
        acquire(2, 3, 'b', 4),
        release(4, 5, 3, 'stale'),
        holder(6, 7, 'b', 4),
      ],
    ],
  ])('accepts %s', (_name, history) => {
    expect(checkLinearizability(history, LEASE).kind).toBe('linearizable')
  })

  it.each([
    ['an epoch that was given twice', [acquire(0, 1, 'a', 3), acquire(2, 3, 'b', 3)]],
    ['an epoch that goes back', [acquire(0, 1, 'a', 3), acquire(2, 3, 'b', 2)]],
    ['two owners at once', [acquire(0, 1, 'a', 3), holder(2, 3, 'b', 3)]],
    [
      'a release of an old epoch that frees the new owner',
      [acquire(0, 1, 'a', 3), acquire(2, 3, 'b', 4), release(4, 5, 3, 'released')],
    ],
    [
      'an epoch below one that was given, under an unheard grant',
      [acquire(0, 1, 'a', 5), acquire(2, undefined, 'b'), holder(6, 7, 'b', 4)],
    ],
  ])('finds %s', (_name, history) => {
    expect(checkLinearizability(history, LEASE).kind).toBe('violation')
  })
})

describe('the fenced log', () => {
  const open = (from: number, to: number, epoch: number) =>
    operation<FencedInput, FencedOutput>(from, to, { kind: 'open', epoch }, { kind: 'opened' })
  const append = (at: readonly [number, number], epoch: number, result: number | 'fenced') =>
    operation<FencedInput, FencedOutput>(
      at[0],
      at[1],
      { kind: 'append', epoch, value: `${epoch}-${at[0]}` },
      result === 'fenced' ? { kind: 'fenced' } : { kind: 'appended', offset: result },
    )

  it('accepts an old owner that is fenced', () => {
    const history = [
      open(0, 1, 1),
      append([2, 3], 1, 0),
      open(4, 5, 2),
      append([6, 7], 1, 'fenced'),
      append([8, 9], 2, 1),
    ]
    expect(checkLinearizability(history, FENCED_LOG).kind).toBe('linearizable')
  })

  it.each([
    [
      'an old owner that writes after the new one opened',
      [open(0, 1, 1), open(2, 3, 2), append([4, 5], 1, 0)],
    ],
    ['one offset given twice', [open(0, 1, 1), append([2, 3], 1, 0), append([4, 5], 1, 0)]],
  ])('finds %s', (_name, history) => {
    expect(checkLinearizability(history, FENCED_LOG).kind).toBe('violation')
  })
})

describe('Recorder', () => {
  it('keeps what was done, what was not, and what nobody knows, with its times', async () => {
    let nowMs = 0
    const recorder = new Recorder<string, string>(() => {
      nowMs += 1
      return nowMs
    })
    const call = (input: string, run: () => Promise<string>) =>
      recorder.call({
        client: 'c',
        key: 'k',
        input,
        run,
        judge: (error) => (String(error).includes('refused') ? 'fail' : 'unknown'),
      })
    expect(await call('a', async () => 'done')).toBe('done')
    expect(await call('b', () => Promise.reject(new Error('refused')))).toBeUndefined()
    expect(await call('c', () => Promise.reject(new Error('timed out')))).toBeUndefined()
    void call('d', () => new Promise(() => undefined))
    expect(recorder.history).toEqual([
      expect.objectContaining({ input: 'a', outcome: 'ok', invokedMs: 1, completedMs: 2 }),
      expect.objectContaining({ input: 'b', outcome: 'fail', invokedMs: 3, completedMs: 4 }),
      expect.objectContaining({ input: 'c', outcome: 'unknown', completedMs: undefined }),
      expect.objectContaining({ input: 'd', outcome: 'unknown', completedMs: undefined }),
    ])
  })
})

/** The same seed gives the same numbers. (mulberry32) */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Up to six operations over two values, many of which overlap, with outputs that may be wrong. */
function randomHistory(random: () => number): RegisterOperation[] {
  const below = (bound: number): number => Math.floor(random() * bound)
  const value = (): string => 'ab'[below(2)] ?? 'a'
  return Array.from({ length: 2 + below(5) }, () => {
    const from = below(12)
    const to = from + 1 + below(6)
    const kind = below(4)
    if (kind === 0) return write(from, random() < 0.3 ? undefined : to, value())
    if (kind === 1) {
      const result = random() < 0.6 ? 'written' : 'conflict'
      return compareAndSet([from, to], [random() < 0.3 ? undefined : value(), value()], result)
    }
    return read(from, to, random() < 0.3 ? undefined : value())
  })
}

/** Every order that keeps what had ended before what began, with any part of the unknown left out. */
function isLinearizableByBruteForce<S, I, O>(
  history: History<I, O>,
  model: Model<S, I, O>,
): boolean {
  const attempt = (left: History<I, O>, state: S): boolean => {
    if (left.every(({ outcome }) => outcome === 'unknown')) return true
    return left.some((next) => {
      const isFirst = left.every(
        ({ completedMs = Number.POSITIVE_INFINITY }) => completedMs >= next.invokedMs,
      )
      if (!isFirst) return false
      const rest = left.filter((each) => each !== next)
      return model.step(state, next.input, next.output).some((after) => attempt(rest, after))
    })
  }
  return attempt(history, model.initial)
}

/** Eight clients on real registers, whose calls take effect somewhere between call and return. */
function longHistory(size: {
  operations: number
  keys: number
  seed: number
}): RegisterOperation[] {
  const random = seededRandom(size.seed)
  const values = new Map<string, string | undefined>()
  const clientsAt = Array.from({ length: 8 }, () => 0)
  const planned = Array.from({ length: size.operations }, (_, at) => {
    const client = at % clientsAt.length
    const invokedMs = (clientsAt[client] ?? 0) + random() * 3
    const effectMs = invokedMs + random() * 5
    const completedMs = effectMs + random() * 5
    clientsAt[client] = completedMs
    const key = `k${Math.floor(random() * size.keys)}`
    return { client: `${client}`, key, invokedMs, effectMs, completedMs, at, dice: random() }
  })
  const byEffect = [...planned].sort((a, b) => a.effectMs - b.effectMs)
  return byEffect.map(({ effectMs: _, dice, at, completedMs, ...common }): RegisterOperation => {
    const { key } = common
    const current = values.get(key)
    const value = `v${at}`
    if (dice < 0.45) {
      const output = { kind: 'value', value: current } as const
      return { ...common, input: { kind: 'read' }, output, outcome: 'ok', completedMs }
    }
    if (dice < 0.6) {
      const expected = dice < 0.55 ? current : 'other'
      const isDone = expected === current
      if (isDone) values.set(key, value)
      const output = { kind: isDone ? 'written' : 'conflict' } as const
      const input = { kind: 'compare-and-set', expected, value } as const
      return { ...common, input, output, outcome: 'ok', completedMs }
    }
    values.set(key, value)
    const input = { kind: 'write', value } as const
    if (dice > 0.99) {
      return { ...common, input, output: undefined, outcome: 'unknown', completedMs: undefined }
    }
    return { ...common, input, output: { kind: 'written' }, outcome: 'ok', completedMs }
  })
}
