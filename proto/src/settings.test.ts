import { describe, expect, it } from 'vitest'
import {
  isSettingName,
  parseSettingText,
  refusalOfSetting,
  SETTINGS,
  type SettingName,
  type SettingSchema,
  settingValue,
  shownSetting,
  withoutPasswords,
} from './settings.ts'

const names = Object.keys(SETTINGS) as SettingName[]

describe('SETTINGS', () => {
  it.each(names)('%s has a default that it would accept, and a description', (name) => {
    const schema: SettingSchema = SETTINGS[name]
    if (schema.default !== null) expect(refusalOfSetting(name, schema.default)).toBeUndefined()
    expect(schema.description.length).toBeGreaterThan(10)
    expect(isSettingName(name)).toBe(true)
  })

  it('is in order', () => {
    const groups = names.map((name) => name.split('.')[0])
    expect(groups).toEqual(groups.toSorted())
  })
})

describe('refusalOfSetting', () => {
  it.each([
    ['no.such', 1, 'there is no setting no.such'],
    ['toString', 1, 'there is no setting toString'],
    ['rebalance.enabled', 1, 'true or false'],
    ['rebalance.reports', 0, 'from 1 to 1000'],
    ['rebalance.reports', 1.5, 'from 1 to 1000'],
    ['rebalance.reports', '5', 'from 1 to 1000'],
    ['log.level', 'loud', 'one of debug, info, warn, error'],
  ])('%s refuses %j', (name, value, said) => {
    expect(refusalOfSetting(name, value)).toContain(said)
  })
})

describe('settingValue', () => {
  it('is what is stored, and the default for nothing or nonsense', () => {
    expect(settingValue('rebalance.reports', '9')).toBe(9)
    expect(settingValue('rebalance.reports', undefined)).toBe(6)
    expect(settingValue('rebalance.reports', '-4')).toBe(6)
    expect(settingValue('rebalance.reports', '{')).toBe(6)
    expect(settingValue('limits.connections-max', undefined)).toBeNull()
  })
})

describe('parseSettingText', () => {
  it.each([
    ['5', 5],
    ['true', true],
    ['warn', 'warn'],
    ['"warn"', 'warn'],
  ])('%s', (text, value) => {
    expect(parseSettingText(text)).toBe(value)
  })
})

describe('shownSetting', () => {
  it.each([
    ['redis://me:secret@host:6379/0', 'redis://me:***@host:6379/0'],
    ['rediss://:secret@host', 'rediss://:***@host'],
    ['redis://u:a@b:c@host/1?x=1', 'redis://u:***@host/1?x=1'],
    ['redis://h/0?sentinel-password=secret&x=1', 'redis://h/0?sentinel-password=***&x=1'],
    ['redis://host:6379/0', 'redis://host:6379/0'],
    ['https://host:8443/a@b', 'https://host:8443/a@b'],
    ['jwt,redis', 'jwt,redis'],
    [7, 7],
  ])('%s', (value, shown) => {
    expect(shownSetting(value)).toBe(shown)
  })

  it('finds each URL of a text', () => {
    const text = '"redis://a:b@h/0" -> "redis://a:c@h/0", by somebody'
    expect(withoutPasswords(text)).toBe('"redis://a:***@h/0" -> "redis://a:***@h/0", by somebody')
  })
})
