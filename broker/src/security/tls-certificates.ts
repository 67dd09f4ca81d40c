/**
 * Certificates for TLS listeners: one by default, others by the name that the client asks for (SNI). Files that
 * change are read again; a pair that cannot be used leaves the one before in force.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'

export interface TlsOptions {
  /** PEM files. */
  readonly certificate: string
  readonly key: string
  /** Certificate authorities of clients; undefined: clients need none. */
  readonly clientAuthorities: string | undefined
  /** Clients without a certificate that one of the authorities vouches for are turned away. */
  readonly requireClientCertificate: boolean
  /** A folder with `NAME.crt` and `NAME.key` for each further host name. */
  readonly namesDirectory: string | undefined
}

export interface Certificates {
  /** Of a client that asks for no name. */
  readonly standard: SecureContextOptions
  /** By the name that the client asked for; the default one where there is none of that name. */
  forName(name: string): SecureContext
  stop(): void
}

const CHECK_MS = 2_000

/** Throws Error when the files cannot be used now. `onChange` gets what was read again, or why it cannot be used. */
export function loadCertificates(
  options: TlsOptions,
  onChange: (error: Error | undefined) => void,
): Certificates {
  let loaded = load(options)
  let seen = stampOf(options)
  const timer = setInterval(() => {
    const stamp = stampOf(options)
    if (stamp === seen) return
    seen = stamp
    try {
      loaded = load(options)
      onChange(undefined)
    } catch (error) {
      onChange(error instanceof Error ? error : new Error(String(error)))
    }
  }, CHECK_MS)
  timer.unref()
  return {
    get standard() {
      return loaded.standard
    },
    forName: (name) => loaded.byName.get(name.toLowerCase()) ?? loaded.context,
    stop: () => clearInterval(timer),
  }
}

interface Loaded {
  readonly standard: SecureContextOptions
  readonly context: SecureContext
  readonly byName: ReadonlyMap<string, SecureContext>
}

function load(options: TlsOptions): Loaded {
  const ca = options.clientAuthorities && readFileSync(options.clientAuthorities)
  const pair = (certificate: string, key: string): SecureContextOptions => ({
    cert: readFileSync(certificate),
    key: readFileSync(key),
    ...(ca && { ca }),
    minVersion: 'TLSv1.2',
  })
  const byName = new Map<string, SecureContext>()
  for (const name of namesIn(options.namesDirectory)) {
    const path = join(options.namesDirectory ?? '', name)
    byName.set(name.toLowerCase(), createSecureContext(pair(`${path}.crt`, `${path}.key`)))
  }
  const standard = pair(options.certificate, options.key)
  return { standard, context: createSecureContext(standard), byName }
}

function namesIn(directory: string | undefined): string[] {
  if (directory === undefined) return []
  return readdirSync(directory).flatMap((file) =>
    file.endsWith('.crt') ? [file.slice(0, -'.crt'.length)] : [],
  )
}

/** Changes when any of the files does. */
function stampOf(options: TlsOptions): string {
  const { certificate, key, clientAuthorities, namesDirectory } = options
  const files = [certificate, key, ...(clientAuthorities ? [clientAuthorities] : [])]
  try {
    for (const name of namesIn(namesDirectory)) {
      const path = join(namesDirectory ?? '', name)
      files.push(`${path}.crt`, `${path}.key`)
    }
    return files.map((file) => `${file} ${statSync(file).mtimeMs} ${statSync(file).size}`).join()
  } catch {
    // Between the removal of a file and its successor: the next look sees both.
    return ''
  }
}
