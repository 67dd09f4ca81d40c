// Preloaded into a process (--import): says each second on stderr how late its event loop was at most.
import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 5
const loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
loop.enable()
setInterval(() => {
  const lateMs = Math.max(0, loop.max / 1e6 - RESOLUTION_MS)
  process.stderr.write(`loop-delay ${lateMs.toFixed(1)}\n`)
  loop.reset()
}, 1_000).unref()
