/** The `robust` process: environment and signals in, exit code out. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { run } from './program.ts'

const { env, stdout, stderr } = process
const [args, aborted] = [process.argv.slice(2), new AbortController()]

// A role's own program has its own signals; a second signal ends a command that does not come to its end.
const isRole = args[1] === 'start' && args[0] !== 'server'
if (!isRole) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (aborted.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143)
      aborted.abort(signal)
    })
  }
}
// `robust cluster events | head` is no failure.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 70)
})

// Which Node a client library will want next year is no news for whoever runs robust chaos.
env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'

const code = await run(args, {
  home: env['ROBUST_HOME'] || join(homedir(), '.robust'),
  stdout: (text) => stdout.write(text),
  stderr: (text) => stderr.write(text),
  isTerminal: { stdout: stdout.isTTY === true, stderr: stderr.isTTY === true },
  noColour: (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb',
  ci: (env['CI'] ?? '') !== '',
  command: env['npm_lifecycle_event'] === 'npx' ? 'npx robust' : 'robust',
  signal: aborted.signal,
  exit: (exitCode) => process.exit(exitCode),
})
// Clients that wait for an answer that will not come must not hold the command.
if (code !== undefined && args[0] === 'chaos') process.exit(code)
if (code !== undefined) process.exitCode = code
