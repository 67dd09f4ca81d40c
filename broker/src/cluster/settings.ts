/** The settings that a broker obeys, as they hold now and whenever they change. */

import type { SettingValue } from '@robust/proto'
import {
  isSettingName,
  SETTINGS,
  type SettingName,
  settingValue,
  shownSetting,
} from '@robust/proto'
import type { Resources } from '../core/ports/resources.ts'

export interface Settings {
  get<N extends SettingName>(name: N): SettingValue<N>
}

const KIND = 'setting'

export class BrokerSettings implements Settings {
  readonly #resources: Resources

  constructor(resources: Resources) {
    this.#resources = resources
  }

  get<N extends SettingName>(name: N): SettingValue<N> {
    return settingValue(name, this.#resources.get(KIND, '', name)?.value)
  }

  /** Now, and with each change. */
  follow<N extends SettingName>(name: N, listener: (value: SettingValue<N>) => void): void {
    listener(this.get(name))
    this.#resources.observe(KIND, (changed) => {
      if (changed.name === name) listener(this.get(name))
    })
  }

  /** What is read from them, read again when any of them changes. For hot paths. */
  live<T>(read: (settings: Settings) => T): () => T {
    let known = read(this)
    this.#resources.observe(KIND, () => {
      known = read(this)
    })
    return () => known
  }

  /** Those that are for brokers, as JSON, and as people may see them. */
  describe(): Record<string, string> {
    const names = Object.keys(SETTINGS).filter(isSettingName)
    const mine = names.filter((name) => SETTINGS[name].role !== 'placement')
    return Object.fromEntries(
      mine.map((name) => [name, JSON.stringify(shownSetting(this.get(name)))]),
    )
  }
}
