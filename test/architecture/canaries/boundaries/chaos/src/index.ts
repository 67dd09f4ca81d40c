export const workspace = 'chaos'
