/** Every action and what handles it. */
import type { Call } from '../call.ts'
import type { ActionName, Input, Output } from '../packets.ts'
import {
  cancelMessageMoveTask,
  listDeadLetterSourceQueues,
  listMessageMoveTasks,
  startMessageMoveTask,
} from './dead-letters.ts'
import { addPermission, removePermission } from './permissions.ts'
import {
  getQueueAttributes,
  listQueueTags,
  setQueueAttributes,
  tagQueue,
  untagQueue,
} from './queue-attributes.ts'
import { createQueue, deleteQueue, getQueueUrl, listQueues, purgeQueue } from './queues.ts'
import { receiveMessage } from './receive.ts'
import { sendMessage, sendMessageBatch } from './send.ts'
import {
  changeMessageVisibility,
  changeMessageVisibilityBatch,
  deleteMessage,
  deleteMessageBatch,
} from './settle.ts'

type Handlers = {
  readonly [A in ActionName]: (input: Input<A>, call: Call) => Promise<Output<A>>
}

export const handlers: Handlers = {
  AddPermission: addPermission,
  CancelMessageMoveTask: cancelMessageMoveTask,
  ChangeMessageVisibility: changeMessageVisibility,
  ChangeMessageVisibilityBatch: changeMessageVisibilityBatch,
  CreateQueue: createQueue,
  DeleteMessage: deleteMessage,
  DeleteMessageBatch: deleteMessageBatch,
  DeleteQueue: deleteQueue,
  GetQueueAttributes: getQueueAttributes,
  GetQueueUrl: getQueueUrl,
  ListDeadLetterSourceQueues: listDeadLetterSourceQueues,
  ListMessageMoveTasks: listMessageMoveTasks,
  ListQueueTags: listQueueTags,
  ListQueues: listQueues,
  PurgeQueue: purgeQueue,
  ReceiveMessage: receiveMessage,
  RemovePermission: removePermission,
  SendMessage: sendMessage,
  SendMessageBatch: sendMessageBatch,
  SetQueueAttributes: setQueueAttributes,
  StartMessageMoveTask: startMessageMoveTask,
  TagQueue: tagQueue,
  UntagQueue: untagQueue,
}
