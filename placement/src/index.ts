/** The Placement Center: as a process, and as a part of another one. */
export type { PlacementConfig, PlacementMemberAddress, PlacementPreset } from './config.ts'
export { PLACEMENT_PRESETS, PLACEMENT_USAGE } from './config.ts'
export type { Logger } from './logger.ts'
export { placementMain } from './main.ts'
export { createPlacement, type Placement, type PlacementOptions } from './placement.ts'
export {
  type BackupHead,
  backupHead,
  backupTail,
  parseBackup,
} from './replication/backup-file.ts'
