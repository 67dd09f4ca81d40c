import { expect, test } from 'vitest'
import type { StorageError } from '../errors.ts'
import type { Engine } from './engine.ts'
import { GroupWriter } from './group-writer.ts'
import { WriteGroup } from './write-group.ts'

const key = Buffer.from('k')

function createWriter(write: (group: WriteGroup) => Promise<void>) {
  const broken: StorageError[] = []
  const writer = new GroupWriter({
    newGroup: () => new WriteGroup({} as Engine),
    write,
    onBroken: (error) => broken.push(error),
  })
  const submit = (bytes = 1) =>
    writer.submit(bytes, (group) => {
      group.operations.push({ type: 'del', key })
      return undefined
    })
  return { writer, submit, broken }
}

test('GroupWriter collects what arrives during a write into the next one', async () => {
  const sizes: number[] = []
  let finishFirst = () => {}
  const first = new Promise<void>((resolve) => {
    finishFirst = resolve
  })
  const { submit } = createWriter(async (group) => {
    sizes.push(group.operations.length)
    if (sizes.length === 1) await first
  })
  const tasks = [submit(), submit()]
  await expect.poll(() => sizes).toEqual([2])
  for (let count = 0; count < 50; count += 1) tasks.push(submit())
  finishFirst()
  await Promise.all(tasks)
  expect(sizes).toEqual([2, 50])
})

test('GroupWriter splits what is too large for one write, and lets a larger task go alone', async () => {
  const sizes: number[] = []
  const { submit } = createWriter(async (group) => {
    sizes.push(group.operations.length)
  })
  const half = 8 * 1024 * 1024
  await Promise.all([submit(half), submit(half), submit(1), submit(10 * half), submit(1)])
  expect(sizes).toEqual([2, 1, 1, 1])
})

test('GroupWriter fails a task whose preparation throws, and only that', async () => {
  const { writer, submit } = createWriter(async () => undefined)
  const failing = writer.submit(1, () => Promise.reject(new Error('mine')))
  const outcomes = await Promise.allSettled([submit(), failing, submit()])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
})

test('GroupWriter after a failed write is broken: all pending is UNAVAILABLE, told once', async () => {
  let writes = 0
  const { submit, broken, writer } = createWriter(async () => {
    writes += 1
    throw new Error('EIO')
  })
  const half = 9 * 1024 * 1024
  const outcomes = await Promise.allSettled([submit(half), submit(half), submit(half)])
  expect(outcomes).toEqual(
    Array(3).fill({ status: 'rejected', reason: expect.objectContaining({ code: 'UNAVAILABLE' }) }),
  )
  await expect(submit()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(writes).toBe(1)
  expect(broken.length).toBe(1)
  await writer.idle()
})
