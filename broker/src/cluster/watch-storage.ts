/** What the storage tells of its room, for publishers; each episode is told once in the log. */
import type { StorageAdapter } from '@robust/storage-adapters'
import { StoragePressure } from '../core/storage-pressure.ts'
import { systemClock } from './system-clock.ts'

export interface StorageLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export function watchStorage(storage: StorageAdapter, log: StorageLog): StoragePressure {
  let troubled = false
  return new StoragePressure({
    clock: systemClock,
    level: () => storage.pressure ?? 0,
    onChange: (state, level) => {
      const pressure = Math.round(level * 100) / 100
      if (state === 'full') {
        const fields = { errId: 'STORAGE_FULL', pressure }
        log.error(fields, 'storage has no room: what would be kept is refused')
      } else if (state === 'slow' && !troubled) {
        const fields = { errId: 'STORAGE_PRESSURE', pressure }
        log.warn(fields, 'storage is short of room: publishers are slowed')
      } else if (state === 'calm') log.info({ pressure }, 'storage has room again')
      troubled = state !== 'calm'
    },
  })
}
