export const leanedOn = true
