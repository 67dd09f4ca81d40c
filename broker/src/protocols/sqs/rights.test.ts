import {
  AddPermissionCommand,
  CreateQueueCommand,
  DeleteQueueCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from '@aws-sdk/client-sqs'
import { Sha256 } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { afterEach, describe, expect, test } from 'vitest'
import { clientOf, refusal } from '../../testing/sqs-client.ts'
import { SqsBench } from '../../testing/sqs-fixtures.ts'

const running: SqsBench[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((bench) => bench.stop()))
})

describe('users', () => {
  async function withUsers() {
    const bench = await new SqsBench().start()
    running.push(bench)
    const { resources } = bench
    resources.set('user', 'root', { credentials: {}, tags: ['admin'] })
    for (const name of ['ann', 'bob', 'eve']) resources.set('user', name, { credentials: {} })
    for (const user of ['root', 'ann', 'bob']) {
      resources.set('access-key', `AK${user}`, { user, secret: `secret-of-${user}` })
    }
    resources.set('access-key', 'AKeve', {
      ...{ user: 'eve', secret: 'secret-of-eve' },
      account: '222222222222',
    })
    const as = (user: string, secret = `secret-of-${user}`) =>
      clientOf(bench.endpoint, { keyId: `AK${user}`, secret })
    const create = new CreateQueueCommand({ QueueName: 'q' })
    const url = (await as('root').send(create)).QueueUrl as string
    return { bench, resources, as, url }
  }
  const send = (url: string) => new SendMessageCommand({ QueueUrl: url, MessageBody: 'm' })

  test('must sign, with their own secret, in time', async () => {
    const { bench, as, url } = await withUsers()
    expect((await fetch(`${bench.endpoint}?Action=ListQueues`)).status).toBe(403)
    expect((await refusal(as('root', 'wrong').send(send(url))))?.name).toMatch(
      /SignatureDoesNotMatch|InvalidSignatureException/,
    )
    expect((await refusal(as('nobody').send(send(url))))?.name).toMatch(
      /InvalidClientTokenId|UnrecognizedClientException/,
    )
    const late = as('root')
    late.config.systemClockOffset = -20 * 60_000
    expect((await refusal(late.send(send(url))))?.message).toMatch(/Signature expired/)
    await as('root').send(send(url))
  })

  test('may do what rules allow for queues/NAME', async () => {
    const { resources, as, url } = await withUsers()
    expect(await refusal(as('ann').send(send(url)))).toMatchObject({
      message:
        'User: ann is not authorized to perform: sqs:SendMessage on the resource: arn:aws:sqs:eu-west-1:000000000000:q',
    })
    const rule = { user: 'ann', action: 'publish', pattern: 'queues/q' }
    resources.set('permission', 'p1', rule)
    await as('ann').send(send(url))
    const { QueueUrls } = await as('ann').send(new ListQueuesCommand({}))
    expect(QueueUrls).toEqual([url])
    const receive = { QueueUrl: url }
    expect((await refusal(as('ann').send(new ReceiveMessageCommand(receive))))?.message).toMatch(
      'not authorized',
    )
    resources.set('permission', 'p2', { ...rule, action: 'subscribe' })
    await as('ann').send(new ReceiveMessageCommand(receive))
    await as('ann').send(new DeleteQueueCommand(receive))
  })

  test('may do what the policy of a queue allows them or their account, and not what it denies', async () => {
    const { as, url } = await withUsers()
    expect((await refusal(as('eve').send(send(url))))?.message).toMatch('not authorized')
    await as('root').send(
      new AddPermissionCommand({
        ...{ QueueUrl: url, Label: 'eve', AWSAccountIds: ['222222222222'] },
        Actions: ['SendMessage'],
      }),
    )
    await as('eve').send(send(url))
    const statement = (Effect: string, user: string, more: object = {}) => ({
      ...{ Effect, Principal: { AWS: `arn:aws:iam::000000000000:user/${user}` } },
      ...{ Action: 'sqs:Send*', Resource: '*', ...more },
    })
    const Policy = JSON.stringify({
      Statement: [
        { Effect: 'Allow', Principal: '*', Action: 'sqs:*', Resource: '*' },
        statement('Deny', 'bob'),
      ],
    })
    const set = (policy: string) =>
      as('root').send(
        new SetQueueAttributesCommand({ QueueUrl: url, Attributes: { Policy: policy } }),
      )
    await set(Policy)
    await as('ann').send(send(url))
    expect((await refusal(as('bob').send(send(url))))?.message).toMatch('not authorized')
    // Nobody knows here what is asked for: it allows nothing, and is not taken as a denial.
    const Condition = { ArnEquals: { 'aws:SourceArn': 'arn:aws:sns:x' } }
    await set(JSON.stringify({ Statement: statement('Allow', 'ann', { Condition }) }))
    expect((await refusal(as('ann').send(send(url))))?.message).toMatch('not authorized')
    const denial = set(JSON.stringify({ Statement: statement('Deny', 'ann', { Condition }) }))
    expect((await refusal(denial))?.name).toBe('InvalidAttributeValue')
  })

  test('that are disabled, or gone, do not come in any more', async () => {
    const { resources, as, url } = await withUsers()
    resources.set('user', 'root', { credentials: {}, tags: ['admin'], disabled: true })
    expect((await refusal(as('root').send(send(url))))?.message).toMatch('may not come in')
    resources.set('user', 'root', { credentials: {}, tags: ['admin'] })
    await as('root').send(send(url))
    resources.set('access-key', 'AKroot', undefined)
    expect((await refusal(as('root').send(send(url))))?.message).toMatch('token')
  })

  test('may hand on a presigned request, for a time', async () => {
    const { url } = await withUsers()
    const presigned = async (offsetMs: number) => {
      const { hostname, port, host, pathname } = new URL(url)
      const signer = new SignatureV4({
        ...{ service: 'sqs', region: 'eu-west-1', sha256: Sha256 },
        credentials: { accessKeyId: 'AKroot', secretAccessKey: 'secret-of-root' },
      })
      const signed = await signer.presign(
        {
          ...{ method: 'GET', protocol: 'http:', hostname, port: Number(port), path: pathname },
          headers: { host },
          query: { Action: 'SendMessage', MessageBody: 'by anybody', Version: '2012-11-05' },
        },
        { expiresIn: 60, signingDate: new Date(Date.now() + offsetMs) },
      )
      const query = new URLSearchParams(signed.query as Record<string, string>)
      return fetch(`${url}?${query}`)
    }
    expect((await presigned(0)).status).toBe(200)
    const late = await presigned(-120_000)
    expect([late.status, await late.text()]).toEqual([403, expect.stringMatching('RequestExpired')])
  })
})
