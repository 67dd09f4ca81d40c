/** Answers in the Query form: XML of the service's version of 2012. */
import type { Members, Shape } from '../packets.ts'

const NAMESPACE = 'http://queue.amazonaws.com/doc/2012-11-05/'
const HEAD = '<?xml version="1.0"?>'

export interface XmlError {
  readonly fault: 'Sender' | 'Receiver'
  readonly code: string
  readonly message: string
}

export function encodeXml(
  action: string,
  output: object,
  { members, requestId }: { readonly members: Members; readonly requestId: string },
): string {
  const content = writeMembers(output as Record<string, unknown>, members)
  const hasResult = Object.keys(members).length > 0
  const result = hasResult ? `<${action}Result>${content}</${action}Result>` : ''
  const metadata = `<ResponseMetadata><RequestId>${requestId}</RequestId></ResponseMetadata>`
  return `${HEAD}<${action}Response xmlns="${NAMESPACE}">${result}${metadata}</${action}Response>`
}

export function encodeXmlError({ fault, code, message }: XmlError, requestId: string): string {
  const texts = `<Code>${escaped(code)}</Code><Message>${escaped(message)}</Message><Detail/>`
  const error = `<Error><Type>${fault}</Type>${texts}</Error>`
  return `${HEAD}<ErrorResponse xmlns="${NAMESPACE}">${error}<RequestId>${requestId}</RequestId></ErrorResponse>`
}

function writeMembers(values: Record<string, unknown>, members: Members): string {
  let xml = ''
  for (const name in members) {
    const value = values[name]
    if (value !== undefined) xml += writeMember(name, value, members[name] as Shape)
  }
  return xml
}

function writeMember(name: string, value: unknown, shape: Shape): string {
  switch (shape.kind) {
    case 'list':
      return (value as readonly unknown[])
        .map((item) => writeMember(shape.item, item, shape.of))
        .join('')
    case 'map':
      return Object.entries(value as Record<string, unknown>)
        .map(([key, item]) => {
          const pair = `<${shape.key}>${escaped(key)}</${shape.key}>`
          return `<${shape.item}>${pair}${writeMember(shape.value, item, shape.of)}</${shape.item}>`
        })
        .join('')
    case 'structure':
      return `<${name}>${writeMembers(value as Record<string, unknown>, shape.members)}</${name}>`
    default:
      return `<${name}>${escaped(String(value))}</${name}>`
  }
}

const ESCAPED = /[&<>"\r]/
const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  // A parser would make a line feed of it.
  '\r': '&#xD;',
}

function escaped(text: string): string {
  if (!ESCAPED.test(text)) return text
  return text.replace(/[&<>"\r]/g, (character) => ESCAPES[character] as string)
}
