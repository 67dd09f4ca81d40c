export const workspace = 'storage-adapters'
