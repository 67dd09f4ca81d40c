export const workspace = 'cli'
