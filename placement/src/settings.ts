/** What holds for every setting now, from the metadata. */
import { type SettingName, type SettingValue, settingValue } from '@robust/proto'
import type { MetadataState } from './metadata/state.ts'

export interface SettingsView {
  get<N extends SettingName>(name: N): SettingValue<N>
}

export function settingsOf(state: () => MetadataState): SettingsView {
  return {
    get: (name) => {
      const stored = state().resources.get({ kind: 'setting', tenant: '', name })
      return settingValue(name, stored?.value)
    },
  }
}
