/** How results are shown: borderless columns or JSON on stdout, progress on stderr for people only. */
import picocolors from 'picocolors'

export type Format = 'table' | 'json'

export interface OutputOptions {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  /** Whether stdout may be coloured. */
  readonly colours: boolean
  /** Whether somebody watches stderr and wants to. */
  readonly progress: boolean
}

export type Paint = ReturnType<typeof picocolors.createColors>

export interface Output {
  readonly paint: Paint
  /** Data. */
  print(text: string): void
  json(value: unknown): void
  /** What is being done; not shown to programs. */
  progress(text: string): void
  /** What the user must know although the command goes on. */
  warn(text: string): void
}

export function createOutput(options: OutputOptions): Output {
  const { stdout, stderr, colours, progress } = options
  return {
    paint: picocolors.createColors(colours),
    print: (text) => stdout(`${text}\n`),
    json: (value) => stdout(`${JSON.stringify(value, undefined, 2)}\n`),
    progress: (text) => {
      if (progress) stderr(`${text}\n`)
    },
    warn: (text) => stderr(`warning: ${text}\n`),
  }
}

export interface Column {
  readonly title: string
  readonly right?: boolean
}

const GAP = '  '

/** Columns as wide as their widest cell; the last one is not padded. Cells may hold colour sequences. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  paint?: Paint,
): string {
  const widths = columns.map(({ title }, at) =>
    Math.max(title.length, ...rows.map((row) => visibleLength(row[at] ?? ''))),
  )
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ right = false }, at) => {
        const cell = cells[at] ?? ''
        const padding = ' '.repeat(Math.max(0, (widths[at] ?? 0) - visibleLength(cell)))
        return right ? padding + cell : cell + padding
      })
      .join(GAP)
      .trimEnd()
  const head = line(columns.map(({ title }) => title))
  return [paint?.dim(head) ?? head, ...rows.map(line)].join('\n')
}

const COLOUR = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, 'g')

function visibleLength(cell: string): number {
  return cell.replace(COLOUR, '').length
}

/** 12 345 678 bytes → 12 MB. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}

/** A rate, short: 0, 0.4, 87, 12.3k, 1.2M. */
export function rate(perSecond: number): string {
  if (perSecond < 0.05) return '0'
  if (perSecond < 10) return perSecond.toFixed(1)
  if (perSecond < 1000) return perSecond.toFixed(0)
  if (perSecond < 1e6) return `${(perSecond / 1000).toFixed(1)}k`
  return `${(perSecond / 1e6).toFixed(1)}M`
}
