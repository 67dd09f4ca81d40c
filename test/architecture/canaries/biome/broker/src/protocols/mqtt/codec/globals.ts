// What a pure folder is given instead of taking it.
export const taken = [
  Date.now, // reported: noRestrictedGlobals
  setTimeout, // reported: noRestrictedGlobals
  setInterval, // reported: noRestrictedGlobals
  setImmediate, // reported: noRestrictedGlobals
  performance.now, // reported: noRestrictedGlobals
  process.hrtime, // reported: noRestrictedGlobals
  fetch, // reported: noRestrictedGlobals
]
