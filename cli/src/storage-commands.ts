/** `robust storage ...`: the names and flags of its commands. `storage start` reads its own. */
import { type Command, Option } from 'commander'
import type { Act } from './cluster-commands.ts'
import type { ImportFlags } from './commands/storage-transfer.ts'
import type { Format } from './output.ts'

interface Common {
  readonly output?: Format
}

const URL = 'leveldb:PATH, redis://HOST:PORT or robust://HOST:PORT'

export function addStorageCommands(program: Command, act: Act): void {
  const storage = program.commands.find((command) => command.name() === 'storage')
  if (storage === undefined) throw new Error('The role storage has no command')
  withOutput(storage.command('verify <url>'))
    .description(`read everything and check it, change nothing; exit code 65 when damaged (${URL})`)
    .action((url: string, options: Common) =>
      act(options, async (context) => {
        const { storageVerify } = await import('./commands/storage-inspect.ts')
        return storageVerify(context, url)
      }),
    )
  withOutput(storage.command('stats <url>'))
    .description('shards with their epochs, commits, logs, keys and bytes')
    .action((url: string, options: Common) =>
      act(options, async (context) => {
        const { storageStats } = await import('./commands/storage-inspect.ts')
        return storageStats(context, url)
      }),
    )
  withOutput(storage.command('export <url> <file>'))
    .description('everything into one file, while no broker writes')
    .action((url: string, file: string, options: Common) =>
      act(options, async (context) => {
        const { storageExport } = await import('./commands/storage-transfer.ts')
        return storageExport(context, url, file)
      }),
    )
  withOutput(storage.command('import <file> <url>'))
    .description('the file of an export into an empty leveldb:PATH or redis://HOST:PORT')
    .option('--for-new-cluster', 'begin fences and commit numbers anew (default: as exported)')
    .action((file: string, url: string, options: Common & ImportFlags) =>
      act(options, async (context) => {
        const { storageImport } = await import('./commands/storage-transfer.ts')
        return storageImport(context, { file, url, ...options })
      }),
    )
  withOutput(storage.command('purge <url>'))
    .description('remove everything under the prefix of a Redis URL, fences too')
    .requiredOption('--yes', 'it cannot be undone')
    .action((url: string, options: Common) =>
      act(options, async (context) => {
        const { storagePurge } = await import('./commands/storage-transfer.ts')
        return storagePurge(context, url)
      }),
    )
}

function withOutput(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'table or json')
      .choices(['table', 'json'])
      .default('table'),
  )
}
