/** The nodes' log files: their last lines, what is added, and one line for people from one JSON line. */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import type { Paint } from '../output.ts'

const TAIL_BYTES = 1024 * 1024

/** The last lines of a file, not looking before a byte position; none when there is no such file. */
export function lastLines(path: string, count: number, from = 0): readonly string[] {
  const size = sizeOf(path)
  const start = Math.max(from, size - TAIL_BYTES)
  const lines = readPart(path, start, size).split('\n')
  if (lines.at(-1) === '') lines.pop()
  // The first line may be cut when the reading began inside the file.
  if (start > from) lines.shift()
  return count === 0 ? [] : lines.slice(-count)
}

export interface LogFollower {
  /** Whole lines that have been added since the last call. */
  next(): readonly string[]
}

/** Follows a file from its present end; begins again when the file has become shorter. */
export function followLog(path: string): LogFollower {
  let position = sizeOf(path)
  let partial = ''
  return {
    next: () => {
      const size = sizeOf(path)
      if (size < position) {
        position = 0
        partial = ''
      }
      const lines = (partial + readPart(path, position, size)).split('\n')
      position = size
      partial = lines.pop() ?? ''
      return lines
    },
  }
}

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
}

/** `12:00:01.123 warn  message  key=value`; a line that is no JSON is returned as it is. */
export function formatLogLine(line: string, paint: Paint): string {
  const entry = parseEntry(line)
  if (entry === undefined) return line
  const { level, time, msg, pid, hostname, node, role, ...fields } = entry
  const name = LEVELS[Number(level)] ?? String(level)
  const colour = { warn: paint.yellow, error: paint.red, fatal: paint.red }[name] ?? paint.green
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${textOf(value)}`)
  const parts = [clockTime(time), colour(name.padEnd(5)), String(msg ?? '')]
  if (rest.length > 0) parts.push(paint.dim(rest.join(' ')))
  return parts.join(' ')
}

/** Time of day with milliseconds, in UTC as the log has it. */
export function clockTime(time: unknown): string {
  const date = new Date(typeof time === 'number' || typeof time === 'string' ? time : Number.NaN)
  return Number.isNaN(date.getTime()) ? '--:--:--.---' : date.toISOString().slice(11, 23)
}

function parseEntry(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const entry: unknown = JSON.parse(line)
    return typeof entry === 'object' && entry !== null && 'level' in entry
      ? (entry as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'object' && value !== null && 'message' in value) {
    return String(value.message)
  }
  return JSON.stringify(value) ?? 'undefined'
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function readPart(path: string, start: number, end: number): string {
  if (end <= start) return ''
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(end - start)
    const count = readSync(file, bytes, 0, bytes.length, start)
    return bytes.subarray(0, count).toString('utf8')
  } finally {
    closeSync(file)
  }
}
