/** Every implementation of a port that is in this package, against the suite of that port. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../driver/system-clock.ts'
import { FileLogStore } from '../files/file-log-store.ts'
import { FileSnapshotStore } from '../files/file-snapshot-store.ts'
import { ManualClock } from '../memory/manual-clock.ts'
import { MemoryLogStore } from '../memory/memory-log-store.ts'
import { MemoryNetwork } from '../memory/memory-network.ts'
import { MemorySnapshotStore } from '../memory/memory-snapshot-store.ts'
import { encodeSessionCommand } from '../sessions/session-command.ts'
import { SessionMachine } from '../sessions/session-machine.ts'
import { ChainMachine } from '../testing/chain-machine.ts'
import {
  describeClock,
  describeLogStore,
  describeSnapshotStore,
  describeStateMachine,
  describeTransport,
} from './index.ts'

async function temporaryPlace() {
  const directory = await mkdtemp(join(tmpdir(), 'raft-conformance-'))
  return {
    directory,
    dispose: () => rm(directory, { recursive: true, force: true }),
    flipBit: (fraction: number) => flipBit(directory, fraction),
  }
}

/** In the files that hold records, taken as one; LevelDB's own log of events is not data. */
async function flipBit(directory: string, fraction: number): Promise<boolean> {
  const found = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = found
    .filter((file) => file.isFile() && !/^(LOG|LOG\.old|LOCK)$/.test(file.name))
    .map((file) => join(file.parentPath, file.name))
    .sort()
  const files = await Promise.all(
    paths.map(async (path) => ({ path, bytes: await readFile(path) })),
  )
  const total = files.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
  let at = Math.floor(total * fraction)
  for (const { path, bytes } of files) {
    if (at < bytes.byteLength) {
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8))
      await writeFile(path, bytes)
      return true
    }
    at -= bytes.byteLength
  }
  return false
}

describeLogStore('MemoryLogStore', {
  isDamageable: false,
  create: async () => {
    const store = new MemoryLogStore()
    return { store: () => store, dispose: async () => undefined }
  },
})

describeLogStore('FileLogStore', {
  isDamageable: true,
  create: async () => {
    const { directory, ...place } = await temporaryPlace()
    return { ...place, store: () => new FileLogStore({ directory }) }
  },
})

describeSnapshotStore('MemorySnapshotStore', {
  isDamageable: false,
  create: async () => {
    const store = new MemorySnapshotStore()
    return { store: () => store, dispose: async () => undefined }
  },
})

describeSnapshotStore('FileSnapshotStore', {
  isDamageable: true,
  create: async () => {
    const { directory, ...place } = await temporaryPlace()
    return { ...place, store: () => new FileSnapshotStore({ directory }) }
  },
})

describeTransport('MemoryNetwork', {
  create: async () => {
    const network = new MemoryNetwork()
    return {
      member: (id) => ({ id, address: `memory://${id}` }),
      transport: async (id) => network.transport(id),
      dispose: async () => undefined,
    }
  },
})

describeStateMachine('ChainMachine', {
  create: () => new ChainMachine(),
  command: (at) => Buffer.from(`command ${at}`),
})

describeStateMachine('SessionMachine', {
  create: () => new SessionMachine(new ChainMachine(), { limits: { sessionsMax: 2 } }),
  // Openings, repeated commands, and commands of sessions that are gone or never were.
  command: (at) => {
    if (at % 8 === 0) return encodeSessionCommand({ kind: 'open' })
    const session = 2 * (at - (at % 8)) + 3
    const command = Buffer.from(`command ${at}`)
    return encodeSessionCommand({
      kind: 'command',
      session: at % 5 === 0 ? 3 : session,
      sequence: 1 + Math.floor((at % 8) / 2),
      answeredBelow: 1,
      command,
    })
  },
})

describeClock('systemClock', {
  create: () => systemClock,
  pass: (_clock, ms) => new Promise((resolve) => setTimeout(resolve, ms)),
})

describeClock('ManualClock', {
  create: () => new ManualClock(),
  pass: async (clock, ms) => (clock as ManualClock).advance(ms),
})
