/** `robust user ...` and `robust acl ...`: names and flags. What they do is in commands/user.ts and acl.ts. */
import { type Command, Option } from 'commander'
import { type Wiring, withCommon } from './cluster-commands.ts'
import type { AclOptions } from './commands/acl.ts'
import type { UserOptions } from './commands/user.ts'
import type { KeyOptions } from './commands/user-keys.ts'
import { withPlacement } from './config-commands.ts'

type Output = { readonly output?: 'table' | 'json' }

export function addSecurityCommands(program: Command, wiring: Wiring): void {
  addUsers(program.command('user').description('who may connect'), wiring)
  addRules(program.command('acl').description('what users may do'), wiring)
}

function addUsers(user: Command, { act }: Wiring): void {
  const change = (
    name: string,
    description: string,
    run: (module: typeof import('./commands/user.ts')) => UserCommand,
  ): Command =>
    withPlacement(withCommon(user.command(name)))
      .description(description)
      .argument('<user>')
      .action((target: string, options: UserOptions & Output) =>
        act(options, async (context) =>
          run(await import('./commands/user.ts'))(context, target, options),
        ),
      )
  withPassword(change('create', 'with a password, or none (certificate)', (m) => m.userCreate))
    .option('--admin', 'may do everything')
    .option('--no-password', 'comes by a client certificate with this common name only')
  withPassword(
    change('passwd', 'another password; its clients are disconnected', (m) => m.userPassword),
  )
  change('disable', 'nobody may connect as this user any more', (m) => m.userDisable)
  change('enable', 'takes that back', (m) => m.userEnable)
  change('delete', 'the user and its rules', (m) => m.userDelete)
  withPlacement(withCommon(user.command('add-key')))
    .description('an access key, to sign SQS requests by; its secret is told once')
    .argument('<user>')
    .option('--account <digits>', 'whose queues are meant by a name alone (000000000000)')
    .option('--key-id <id>', 'of a key that is there already, with --secret')
    .option('--secret <text>', 'else one is made up')
    .action((name: string, options: KeyOptions & Output) =>
      act(options, async (context) => {
        const { userAddKey } = await import('./commands/user-keys.ts')
        return userAddKey(context, name, options)
      }),
    )
  withPlacement(withCommon(user.command('keys')))
    .description('access keys, without their secrets')
    .argument('[user]')
    .action((name: string | undefined, options: UserOptions & Output) =>
      act(options, async (context) => {
        const { userKeys } = await import('./commands/user-keys.ts')
        return userKeys(context, name, options)
      }),
    )
  withPlacement(withCommon(user.command('delete-key')))
    .description('nobody may sign by it any more')
    .argument('<id>')
    .action((id: string, options: UserOptions & Output) =>
      act(options, async (context) => {
        const { userDeleteKey } = await import('./commands/user-keys.ts')
        return userDeleteKey(context, id, options)
      }),
    )
  withPlacement(withCommon(user.command('list')))
    .description('every user')
    .action((options: UserOptions & Output) =>
      act(options, async (context) => {
        const { userList } = await import('./commands/user.ts')
        return userList(context, options)
      }),
    )
}

type UserCommand = typeof import('./commands/user.ts')['userCreate']

function withPassword(command: Command): Command {
  return command.option('--password <text>', 'else it is read from the standard input')
}

function addRules(acl: Command, { act }: Wiring): void {
  for (const name of ['allow', 'deny'] as const) {
    withPlacement(withCommon(acl.command(name)))
      .description(name === 'allow' ? 'what no rule allows is denied' : 'wins over what is allowed')
      .argument('<user>', 'or * for everybody')
      .argument(
        '<action>',
        'publish, subscribe, all; for Kafka also create, delete, alter, describe and others',
      )
      .argument('<pattern>', 'a filter; the levels %u and %c are the user and the client id')
      .option('--on <subject>', 'group, transactional-id or cluster; of these * is all (address)')
      .option('--prefix', 'whatever begins with the pattern, which is no filter then')
      .option('--host <address>', 'only clients of this address')
      .option('--qos <list>', 'only with these, such as 1,2 (any)')
      .addOption(
        new Option('--retain <flag>', 'only messages that are, or are not, to be retained').choices(
          ['true', 'false'],
        ),
      )
      .action((...given: [string, string, string, AclOptions & Output]) => {
        const [user, action, pattern, options] = given
        return act(options, async (context) => {
          const { aclAdd } = await import('./commands/acl.ts')
          return aclAdd(context, { user, action, pattern, allow: name === 'allow' }, options)
        })
      })
  }
  withPlacement(withCommon(acl.command('list')))
    .description('every rule, or those of a user')
    .argument('[user]')
    .action((user: string | undefined, options: AclOptions & Output) =>
      act(options, async (context) => {
        const { aclList } = await import('./commands/acl.ts')
        return aclList(context, user, options)
      }),
    )
  withPlacement(withCommon(acl.command('delete')))
    .description('a rule goes')
    .argument('<rule>', 'its id, as acl list shows it')
    .action((id: string, options: AclOptions & Output) =>
      act(options, async (context) => {
        const { aclDelete } = await import('./commands/acl.ts')
        return aclDelete(context, id, options)
      }),
    )
}
