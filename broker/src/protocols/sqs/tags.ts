/** Tags of a queue: kept with what else the dialect keeps, under names of their own. */
import type { KnownQueue } from '../../core/queues/queues.ts'
import { ownOf } from './attributes.ts'
import { invalidParameter } from './errors.ts'
import { TAGS_MAX } from './limits.ts'

type Tags = Readonly<Record<string, string>>

const PREFIX = 'tag:'

export function tagName(key: string): string {
  return `${PREFIX}${key}`
}

export function taggedWith(tags: Tags): Record<string, string> {
  return Object.fromEntries(Object.entries(tags).map(([key, value]) => [tagName(key), value]))
}

export function tagsOf(queue: KnownQueue): Tags {
  return Object.fromEntries(
    Object.entries(ownOf(queue)).flatMap(([name, value]) =>
      name.startsWith(PREFIX) ? [[name.slice(PREFIX.length), value]] : [],
    ),
  )
}

const KEY = /^[\p{L}\p{N}\p{Z}_.:/=+\-@]{1,128}$/u
const VALUE = /^[\p{L}\p{N}\p{Z}_.:/=+\-@]{0,256}$/u

/** Throws SqsError InvalidParameterValue. */
export function checkTags(tags: Tags): void {
  const all = Object.entries(tags)
  if (all.length > TAGS_MAX) {
    throw invalidParameter(`Too many tags added for queue: the most are ${TAGS_MAX}.`)
  }
  for (const [key, value] of all) {
    if (!KEY.test(key) || /^aws:/i.test(key)) {
      throw invalidParameter(
        `Tag keys must be between 1 and 128 characters in length, and ${key} is not allowed.`,
      )
    }
    if (!VALUE.test(value)) {
      throw invalidParameter(
        `Tag values must be between 0 and 256 characters in length, and ${value} is not allowed.`,
      )
    }
  }
}
