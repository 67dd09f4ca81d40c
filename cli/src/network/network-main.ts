/** `robust network start`: the links of a cluster on this machine, as a process. Logs are JSON lines on stdout. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { parseArgs } from 'node:util'
import { seededRandom } from '@robust/chaos'
import { usageError } from '../errors.ts'
import { type Front, LinkProxy } from './link-proxy.ts'
import { parseRules } from './link-rules.ts'
import { nodeBehind } from './peer-names.ts'

const NETWORK_USAGE = `robust network start --http-port PORT --front NODE=PORT:INNER [--front ...] [options]

  --host HOST              interface to listen on, and where the nodes are (127.0.0.1)
  --http-port PORT         GET and PUT /rules, PUT /fronts
  --front NODE=PORT:INNER  others reach the node at PORT, it listens at INNER; may be repeated
  --seed N                 of delays and losses (1)`

const BODY_BYTES_MAX = 1024 * 1024

export async function networkMain(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`${NETWORK_USAGE}\n`)
    return
  }
  const { host, httpPort, seed, fronts } = parseFlags(args)
  const random = seededRandom(seed)
  const proxy = new LinkProxy({ host, fronts, random, nameOf: nodeBehind })
  try {
    await proxy.start()
  } catch (error) {
    // Else what listens already would keep the process.
    proxy.stop()
    throw error
  }
  const server = createServer((request, response) => {
    answer(proxy, request, response).catch((error: unknown) => {
      reply(response, 400, { error: error instanceof Error ? error.message : String(error) })
    })
  })
  server.once('error', (error) => {
    proxy.stop()
    throw error
  })
  server.listen(httpPort, host)
  const stop = (): void => {
    server.close()
    server.closeAllConnections()
    proxy.stop()
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

async function answer(
  proxy: LinkProxy,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const asked = `${request.method} ${request.url}`
  if (asked === 'PUT /rules') proxy.setRules(parseRules(await bodyOf(request)))
  else if (asked === 'PUT /fronts') await proxy.add(parseFront(String(await bodyOf(request))))
  else if (asked !== 'GET /rules') return reply(response, 404, { error: `no ${asked} here` })
  reply(response, 200, proxy.rules)
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes > BODY_BYTES_MAX) throw new RangeError('the body is too long')
    chunks.push(chunk as Buffer)
  }
  return JSON.parse(Buffer.concat(chunks).toString())
}

function parseFlags(args: readonly string[]) {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      host: text,
      'http-port': text,
      seed: text,
      front: { type: 'string', multiple: true },
    },
  })
  return {
    host: values.host ?? '127.0.0.1',
    httpPort: Number(values['http-port'] ?? 0),
    seed: Number(values.seed ?? 1),
    fronts: (values.front ?? []).map(parseFront),
  }
}

/** Throws USAGE. */
function parseFront(text: string): Front {
  const [, node, port, inner] = /^([A-Za-z0-9._-]+)=(\d{1,5}):(\d{1,5})$/.exec(text) ?? []
  if (node === undefined) throw usageError(`--front ${text} is not NODE=PORT:INNER`)
  return { node, port: Number(port), inner: Number(inner) }
}
