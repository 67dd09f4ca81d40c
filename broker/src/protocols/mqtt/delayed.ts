/** Topics that say when their message is to be published: `$delayed/SECONDS/TOPIC`, as EMQX has them. */

export interface DelayedTopic {
  readonly seconds: number
  readonly topic: string
}

const PREFIX = '$delayed/'
/** 136 years. */
const SECONDS_MAX = 4_294_967_295
const DOLLAR = 0x24

/** Undefined: it is another topic. `malformed`: there is no number of seconds, or no topic, behind it. */
export function delayedTopic(topic: string): DelayedTopic | 'malformed' | undefined {
  if (topic.charCodeAt(0) !== DOLLAR || !topic.startsWith(PREFIX)) return undefined
  const [, digits = '', rest = ''] = /^\$delayed\/(\d{1,10})\/(.+)$/s.exec(topic) ?? []
  const seconds = Number(digits)
  if (digits === '' || seconds > SECONDS_MAX || rest.startsWith(PREFIX)) return 'malformed'
  return { seconds, topic: rest }
}
