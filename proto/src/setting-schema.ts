/** What a setting may be. */

export interface Common {
  readonly description: string
  /** Who obeys it. */
  readonly role: 'placement' | 'broker' | 'both'
  readonly unit?: string
}

interface IntegerSetting extends Common {
  readonly type: 'integer'
  readonly min: number
  readonly max: number
  readonly default: number | null
}

interface BooleanSetting extends Common {
  readonly type: 'boolean'
  readonly default: boolean
}

interface ChoiceSetting extends Common {
  readonly type: 'choice'
  readonly choices: readonly string[]
  readonly default: string | null
}

interface TextSetting extends Common {
  readonly type: 'text'
  readonly bytesMax: number
  readonly default: string | null
  /** It is published to: no wildcards, and nothing of the server's own. */
  readonly isTopic?: true
}

export type SettingSchema = IntegerSetting | BooleanSetting | ChoiceSetting | TextSetting

export function integer<D extends number | null>(
  role: Common['role'],
  [min, max, fallback]: readonly [number, number, D],
  about: { readonly unit: string; readonly description: string },
) {
  return { type: 'integer', min, max, default: fallback, role, ...about } as const
}
