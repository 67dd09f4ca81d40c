export const workspace = 'raft'
