export const workspace = 'broker'
