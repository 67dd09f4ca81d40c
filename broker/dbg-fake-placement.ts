import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js'
import { placement as p } from '@robust/proto'
const SHARDS = 64
let index = 1
const nodes = new Map<string, p.Node>(); const beats = new Map<string, number>()
const shards: p.Shard[] = Array.from({ length: SHARDS }, (_, shard) => ({ shard, epoch: 0, owner: '', ownerEpoch: 0, opened: false }))
const watchers = new Set<ServerWritableStream<p.WatchRequest, p.WatchEvent>>()
const push = (change: Partial<p.Change>) => { index++; for (const w of watchers) w.write({ index, placementTerm: 1, kind: { $case: 'change', value: { nodesChanged: [], nodesRemoved: [], shardsChanged: [], ...change } } }) }
function assign() {
  const ids = [...nodes.keys()]; if (!ids.length) return
  const changed: p.Shard[] = []
  for (const s of shards) if (!nodes.has(s.owner)) { const owner = ids[s.shard % ids.length]!; s.owner = owner; s.epoch = index + 1; s.ownerEpoch = nodes.get(owner)!.nodeEpoch; s.opened = false; changed.push({ ...s }) }
  if (changed.length) push({ shardsChanged: changed })
}
const server = new Server()
server.addService(p.PlacementService, {
  register: (c: any, cb: any) => { const r = c.request; index++; const n = { nodeId: r.nodeId, nodeEpoch: index, incarnation: r.incarnation, state: 1 as const, grpcAddress: r.grpcAddress, endpoints: r.endpoints, version: '' }; nodes.set(r.nodeId, n); beats.set(r.nodeId, Date.now()); for (const s of shards) if (s.owner === r.nodeId) s.owner=''; push({ nodesChanged: [n] }); cb(null, { clusterId: 'c', nodeEpoch: n.nodeEpoch, leaseTtlMs: 3000, heartbeatMs: 500, index }); setTimeout(assign, 100) },
  deregister: (c: any, cb: any) => { nodes.delete(c.request.nodeId); push({ nodesRemoved: [c.request.nodeId] }); assign(); cb(null, {}) },
  heartbeat: (c: any, cb: any) => { beats.set(c.request.nodeId, Date.now()); cb(null, { leaseTtlMs: 3000, metadataIndex: index, placementTerm: 1, registered: nodes.get(c.request.nodeId)?.nodeEpoch === c.request.nodeEpoch }) },
  watch: (s: any) => { watchers.add(s); s.on('cancelled', () => watchers.delete(s)); s.write({ index, placementTerm: 1, kind: { $case: 'snapshot', value: { clusterId: 'c', shardCount: SHARDS, nodes: [...nodes.values()], shards } } }); s.write({ index, placementTerm: 1, kind: { $case: 'caughtUp', value: true } }) },
  shardsOpened: (c: any, cb: any) => { const ch: p.Shard[] = []; for (const o of c.request.shards) { const s = shards[o.shard]!; if (s.epoch === o.epoch) { s.opened = true; ch.push({ ...s }) } } push({ shardsChanged: ch }); cb(null, { refused: [] }) },
  shardsReleased: (c: any, cb: any) => { const ch: p.Shard[] = []; for (const o of c.request.shards) { const s = shards[o.shard]!; if (s.epoch === o.epoch) { s.owner = ''; s.opened = false; ch.push({ ...s }) } } push({ shardsChanged: ch }); cb(null, {}) },
  status: () => {}, events: () => {}, drain: () => {},
} as any)
setInterval(() => { for (const [id, t] of beats) if (nodes.has(id) && Date.now() - t > 3000) { nodes.delete(id); console.log('removed', id); push({ nodesRemoved: [id] }); assign() } }, 200)
server.bindAsync('127.0.0.1:1228', ServerCredentials.createInsecure(), () => console.log('fake pc'))
