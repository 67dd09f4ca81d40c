export const workspace = 'placement'
