/**
 * The contracts between processes: generated messages and services, links for what is sent all the time, what
 * every gRPC server offers, and the settings that can be changed at run time.
 */
export {
  CHANGES_LINK,
  ChangeClient,
  type ChangeClientOptions,
  ChangeError,
} from './change-client.ts'
export * as admin from './gen/admin.ts'
export * as broker from './gen/broker.ts'
export * as control from './gen/control.ts'
export * as health from './gen/health.ts'
export * as placement from './gen/placement.ts'
export * as raft from './gen/raft.ts'
export * as storage from './gen/storage.ts'
export { type BrokerPage, type JoinedPage, joinPages } from './joined-page.ts'
export { type DialOptions, dialLink } from './link/dial-link.ts'
export { SERVICE_KIND_MIN } from './link/frames.ts'
export {
  LinkBrokenError,
  type LinkHello,
  type LinkIdentity,
  LinkRefusedError,
} from './link/hello.ts'
export type { Link, LinkEvents } from './link/link.ts'
export { type LinkService, listenOnSharedPort, type SharedPort } from './link/shared-port.ts'
export {
  PERMISSION_ACTIONS,
  PERMISSION_SUBJECTS,
  type Permission,
  type PermissionAction,
  type PermissionSubject,
  permissionName,
} from './permissions.ts'
export {
  type ProbeCheck,
  type ProbeServer,
  type ProbeServerOptions,
  serveProbes,
} from './probe-server.ts'
export {
  isQueueSetting,
  QUEUE_SETTINGS,
  type QueueConfig,
  type QueueSettingName,
  type QueueValue,
  queueValue,
  refusalOfQueue,
} from './queues.ts'
export {
  isSettingName,
  parseSettingText,
  refusalOfSetting,
  SETTINGS,
  type SettingName,
  type SettingSchema,
  type SettingValue,
  settingValue,
  shownSetting,
  withoutPasswords,
} from './settings.ts'
export type { ServingStatus } from './standard-services.ts'
export { serveHealthAndReflection } from './standard-services.ts'
export {
  isTopicSetting,
  refusalOfTopic,
  TOPIC_SETTINGS,
  type TopicConfig,
  type TopicSettingName,
  type TopicValue,
  topicValue,
} from './topics.ts'
