export const workspace = 'proto'
