/**
 * The Query form of requests: names and values as in a web form, where `Attribute.2.Name` is a member of the second
 * item of a list. Lists and maps of this service are flattened, without a `member` level.
 */
import type { Shape, StructureShape } from '../packets.ts'
import { CodecError, missingParameter } from './codec-error.ts'
import { base64 } from './json.ts'

/** What a form says, by the names of a level; a text where it says something itself. */
type Node = Map<string, Node | string>

const DEPTH_MAX = 8
const VALUES_MAX = 10_000

export class QueryForm {
  readonly #root: Node

  private constructor(root: Node) {
    this.#root = root
  }

  /** Throws CodecError. A name that comes again counts once, the last time. */
  static parse(form: string): QueryForm {
    const root: Node = new Map()
    if (form.length === 0) return new QueryForm(root)
    const values = form.split('&')
    if (values.length > VALUES_MAX) throw malformed(`more than ${VALUES_MAX} values`)
    for (const pair of values) {
      if (pair === '') continue
      const at = pair.indexOf('=')
      const name = decode(at < 0 ? pair : pair.slice(0, at))
      place(root, name, at < 0 ? '' : decode(pair.slice(at + 1)))
    }
    return new QueryForm(root)
  }

  text(name: string): string | undefined {
    const value = this.#root.get(name)
    return typeof value === 'string' ? value : undefined
  }

  set(name: string, value: string): void {
    this.#root.set(name, value)
  }

  /** Throws CodecError. The result is of the type that `packets.ts` derives from the shape. */
  read(shape: StructureShape): object {
    return readStructure(this.#root, shape)
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.includes('+') ? text.replaceAll('+', ' ') : text)
  } catch {
    throw malformed('a value is not percent-encoded UTF-8')
  }
}

function place(root: Node, name: string, value: string): void {
  const levels = name.split('.')
  if (levels.length > DEPTH_MAX) throw malformed(`${name} has too many levels`)
  let node = root
  for (const level of levels.slice(0, -1)) {
    const known = node.get(level)
    if (known instanceof Map) node = known
    else {
      const next: Node = new Map()
      node.set(level, next)
      node = next
    }
  }
  node.set(levels[levels.length - 1] as string, value)
}

function readStructure(node: Node, { members, required = [] }: StructureShape): object {
  const read: Record<string, unknown> = {}
  for (const [name, shape] of Object.entries(members)) {
    const value = readMember(node, name, shape)
    if (value !== undefined) read[name] = value
  }
  for (const name of required) if (read[name] === undefined) throw missingParameter(name)
  return read
}

function readMember(node: Node, name: string, shape: Shape): unknown {
  if (shape.kind === 'list') {
    // Clients write some lists by the name of the member, as older models had them.
    const items = itemsOf(node.get(shape.item)) ?? itemsOf(node.get(name))
    return items?.map((item) => readValue(item, shape.of, shape.item))
  }
  if (shape.kind === 'map') {
    const items = itemsOf(node.get(shape.item))
    return items && Object.fromEntries(items.map((item) => readPair(item, shape)))
  }
  const value = node.get(name)
  return value === undefined ? undefined : readValue(value, shape, name)
}

function readPair(item: Node | string, shape: Extract<Shape, { kind: 'map' }>): [string, unknown] {
  if (typeof item === 'string') throw malformed(`${shape.item} is not a pair`)
  const key = item.get(shape.key)
  if (typeof key !== 'string') throw missingParameter(`${shape.item}.${shape.key}`)
  const value = item.get(shape.value)
  if (value === undefined) throw missingParameter(`${shape.item}.${shape.value}`)
  return [key, readValue(value, shape.of, shape.value)]
}

/** In the order of their numbers, which may have gaps. */
function itemsOf(value: Node | string | undefined): (Node | string)[] | undefined {
  if (!(value instanceof Map)) return undefined
  const numbered = [...value].map(([number, item]) => {
    if (!/^[1-9]\d{0,8}$/.test(number)) throw malformed(`${number} is not the number of an item`)
    return { number: Number(number), item }
  })
  return numbered.sort((a, b) => a.number - b.number).map(({ item }) => item)
}

function readValue(value: Node | string, shape: Shape, name: string): unknown {
  if (shape.kind === 'structure') {
    if (typeof value === 'string') throw malformed(`${name} is not a structure`)
    return readStructure(value, shape)
  }
  if (typeof value !== 'string') throw malformed(`${name} is a single value`)
  switch (shape.kind) {
    case 'text':
      return value
    case 'integer':
      if (!/^[+-]?\d{1,10}$/.test(value)) throw malformed(`${name} must be an integer`)
      return Number(value)
    case 'boolean':
      return value === 'true'
    case 'bytes':
      return base64(value)
    default:
      throw malformed(`${name} cannot be written in a form`)
  }
}

function malformed(message: string): CodecError {
  return new CodecError('malformed-input', message)
}
