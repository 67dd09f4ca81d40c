// HEALTHCHECK of the image: whether the node in this container is ready. ROBUST_HTTP_PORT is its --http-port.
const url = `http://127.0.0.1:${process.env.ROBUST_HTTP_PORT ?? 8080}/readyz`
try {
  const { status } = await fetch(url, { signal: AbortSignal.timeout(2_500) })
  process.exitCode = status === 200 ? 0 : 1
} catch {
  process.exitCode = 1
}
