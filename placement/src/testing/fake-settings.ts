/** Settings that a test changes as it goes; the others have their defaults. */
import { type SettingName, type SettingValue, settingValue } from '@robust/proto'
import type { SettingsView } from '../settings.ts'

export class FakeSettings implements SettingsView {
  readonly #set = new Map<string, unknown>()

  constructor(set: Readonly<Partial<Record<SettingName, unknown>>> = {}) {
    for (const [name, value] of Object.entries(set)) this.#set.set(name, value)
  }

  set(name: SettingName, value: unknown): void {
    this.#set.set(name, value)
  }

  get<N extends SettingName>(name: N): SettingValue<N> {
    const value = this.#set.get(name)
    return settingValue(name, value === undefined ? undefined : JSON.stringify(value))
  }
}
