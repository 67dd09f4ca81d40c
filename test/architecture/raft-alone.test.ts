// raft-ts is a library of its own: packed, and installed where nothing else of this project is, it must
// run, and compile under the compiler options of others. What is packed is what `npm run build` made.

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ROOT } from './canary-tree.ts'

const run = promisify(execFile)
const PROGRAM = `
import { createRaft, MemoryLogStore, MemoryNetwork, MemorySnapshotStore, systemClock } from 'raft-ts'
import type { StateMachine } from 'raft-ts'
const stateMachine: StateMachine = {
  apply: (entries) => entries.map(({ command }) => command.byteLength),
  snapshot: () => new Uint8Array(),
  restore: () => undefined,
}
const raft = createRaft({
  clusterId: 'x', nodeId: 'a', incarnation: 'a/1', members: [{ id: 'a', address: 'a' }],
  stateMachine, transport: new MemoryNetwork().transport('a'), logStore: new MemoryLogStore(),
  snapshotStore: new MemorySnapshotStore(), clock: systemClock, random: Math.random,
  onFatal: (error) => { throw error },
})
await raft.start()
while (raft.status().role !== 'leader') await new Promise((resolve) => setTimeout(resolve, 10))
const { result } = await raft.propose(new Uint8Array(7))
console.log('result', result)
await raft.stop()
`

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raft-alone-'))
  const modules = join(folder, 'node_modules')
  await mkdir(modules)
  await run('npm', ['pack', '--pack-destination', folder], { cwd: join(ROOT, 'raft') })
  const archive = (await readdir(folder)).find((name) => name.endsWith('.tgz'))
  await run('tar', ['xzf', archive ?? 'no archive', '-C', folder], { cwd: folder })
  await rename(join(folder, 'package'), join(modules, 'raft-ts'))
  // What the registry would bring; nothing of ours.
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (name === 'raft-ts' || name === '@robust' || name.startsWith('.')) continue
    await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  }
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(join(folder, 'program.ts'), PROGRAM)
}, 60_000)

afterAll(() => rm(folder, { recursive: true, force: true }))

it('raft-ts compiles and runs outside of this project', async () => {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const options = ['--module', 'nodenext', '--target', 'es2023', '--strict', '--types', 'node']
  await run(process.execPath, [tsc, ...options, 'program.ts'], { cwd: folder })
  const { stdout } = await run(process.execPath, ['program.js'], { cwd: folder })
  expect(stdout).toContain('result 7')
}, 60_000)
