/** What can be said of a storage URL without opening it. */

/** Schemes with their colon. */
export const redisSchemes: readonly string[] = ['redis', 'rediss'].flatMap((plain) =>
  ['', '+sentinel', '+cluster'].map((form) => `${plain}${form}:`),
)

/** Whether many processes may open it at once: it is a service, not a folder or a memory. */
export function isSharedStorage(url: string): boolean {
  const scheme = url.slice(0, url.indexOf(':') + 1)
  return scheme === 'robust:' || redisSchemes.includes(scheme)
}

/** The URL as it may be shown and logged: without passwords. */
export function withoutPasswords(url: string): string {
  return url
    .replace(/^([a-z+]+:\/\/)([^@/?#]*)@/, (_, scheme: string, login: string) => {
      const user = login.replace(/:.*$/, '')
      return `${scheme}${user}${login.includes(':') ? ':***' : ''}@`
    })
    .replaceAll(/([?&](?:sentinel-)?password=)[^&]*/g, '$1***')
}
