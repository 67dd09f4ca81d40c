// Who may import whom. Every rule is named, and test/architecture/canaries/boundaries/ holds a file that
// breaks it; boundaries.test.ts asserts that each is reported. The paths are resolved ones: a workspace
// name leads to its src/index.ts, a Node module appears without `node:`.

const WORKSPACES = 'proto|raft|storage-adapters|placement|broker|chaos|cli'
const TEST = '\\.test\\.ts$'
/** Code that only tests run; it may use what tests use. */
const TEST_ONLY = [TEST, '^test/', '^[^/]+/src/(testing|conformance|simulation)/']
const NPM = '(^|/)node_modules/'
const ASSERT = '^(node:)?assert(/|$)'
const FILES = '^(node:)?(fs|child_process|worker_threads|cluster)(/|$)'
const SOCKETS = '^(node:)?(net|tls|dgram|http|https|http2)(/|$)'
const STORAGE_ENTRY = '^storage-adapters/src/index\\.ts$'
const PROTO_ENTRY = '^proto/src/index\\.ts$'

/** `name`: what `from` may never import (`to`), and why. */
function forbid(name, comment, { from, to }) {
  return { name, comment, severity: 'error', from, to }
}

const everywhere = [
  // A cycle that a type import closes is none at run time; Biome's noImportCycles agrees.
  forbid('no-cycles', 'A cycle is one module in several files.', {
    from: {},
    to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
  }),
  forbid('no-orphans', 'A file that nothing imports and that imports nothing is dead.', {
    from: {
      orphan: true,
      path: `^(${WORKSPACES})/src/`,
      pathNot: ['^[^/]+/src/(index|main)\\.ts$'],
    },
    to: {},
  }),
  forbid('no-unresolvable', 'Every import leads to a file.', {
    from: {},
    to: { couldNotResolve: true },
  }),
  forbid('no-deep-workspace-imports', 'Another workspace is entered by its index.ts only.', {
    from: { path: '^([^/]+)/' },
    to: {
      path: `^(${WORKSPACES})/`,
      pathNot: [
        '^$1/',
        '^[^/]+/src/index\\.ts$',
        '^storage-adapters/src/conformance/describe-storage-adapter\\.ts$',
        '^raft/src/conformance/index\\.ts$',
      ],
    },
  }),
  forbid('no-test-code-in-products', 'What ships does not import what tests.', {
    from: { path: `^(${WORKSPACES})/`, pathNot: TEST_ONLY },
    to: { path: TEST_ONLY },
  }),
  forbid('declared-dependencies-only', 'What ships imports what its own package.json declares.', {
    from: { path: `^(${WORKSPACES})/src/`, pathNot: TEST_ONLY },
    to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
  }),
  forbid('only-the-top-composes', 'A folder never imports what composes it.', {
    from: { path: `^(${WORKSPACES})/src/[^/]+/`, pathNot: TEST_ONLY },
    to: { path: '^$1/src/(main|index|broker|placement)\\.ts$' },
  }),
  forbid('protobuf-stays-in-proto', 'Generated code and its runtime have one home.', {
    from: { path: `^(${WORKSPACES})/`, pathNot: ['^proto/'] },
    to: { path: `${NPM}(@bufbuild/protobuf|@grpc/(proto-loader|reflection)|grpc-health-check)/` },
  }),
]

const libraries = [
  forbid('proto-imports-nothing-of-ours', 'Contracts are below everything.', {
    from: { path: '^proto/' },
    to: { path: `^(${WORKSPACES})/`, pathNot: ['^proto/'] },
  }),
  forbid('raft-imports-nothing-of-ours', 'raft-ts is a library of its own.', {
    from: { path: '^raft/' },
    to: { path: `^(${WORKSPACES})/`, pathNot: ['^raft/'] },
  }),
  forbid('raft-core-is-pure', 'Consensus takes messages and ticks; no I/O, no clock, no random.', {
    from: {
      path: '^raft/src/((core|ports)/|(options|raft|record|errors|crc32c)\\.ts$)',
      pathNot: [TEST],
    },
    to: {
      pathNot: [
        '^raft/src/(core|ports)/',
        '^raft/src/(options|raft|record|errors|crc32c)\\.ts$',
        ASSERT,
      ],
    },
  }),
  forbid('raft-driver-sees-ports', 'The driver is given its stores; it does not choose them.', {
    from: { path: '^raft/src/driver/', pathNot: [TEST] },
    to: { path: ['^raft/src/(files|memory)/', NPM] },
  }),
  forbid('leveldb-library-stays-in-its-adapter', 'One folder knows the engine.', {
    from: {
      path: `^(${WORKSPACES})/`,
      pathNot: ['^storage-adapters/src/leveldb/', TEST],
    },
    to: { path: `${NPM}classic-level/` },
  }),
  forbid('websocket-library-stays-in-its-file', 'WebSocket carries bytes, whatever the protocol.', {
    from: {
      path: `^(${WORKSPACES})/`,
      pathNot: ['^broker/src/protocols/shared/websocket\\.ts$', TEST],
    },
    to: { path: `${NPM}ws/` },
  }),
]

const storage = [
  forbid('storage-knows-no-product', 'Storage is below the processes that use it.', {
    from: { path: '^storage-adapters/' },
    to: { path: `^(${WORKSPACES})/`, pathNot: ['^storage-adapters/', '^proto/'] },
  }),
  forbid('storage-port-is-types', 'The port is a contract: it imports types only.', {
    from: { path: '^storage-adapters/src/(storage-adapter|capabilities)\\.ts$' },
    to: { dependencyTypesNot: ['type-only'] },
  }),
  forbid('adapters-do-not-know-each-other', 'An adapter sees the port and what all share.', {
    from: { path: '^storage-adapters/src/([^/]+)/', pathNot: TEST_ONLY },
    to: {
      path: '^storage-adapters/src/[^/]+/',
      pathNot: ['^storage-adapters/src/($1|record-batch|wire)/'],
    },
  }),
  forbid('storage-wire-has-two-ends', 'Only the remote adapter and the service speak it.', {
    from: {
      path: '^storage-adapters/',
      pathNot: ['^storage-adapters/src/(remote|service|wire)/', TEST],
    },
    to: { path: '^storage-adapters/src/wire/' },
  }),
  forbid('leveldb-adapter-has-one-library', 'One client library per adapter folder.', {
    from: { path: '^storage-adapters/src/leveldb/', pathNot: [TEST] },
    to: { path: [NPM, '^proto/'], pathNot: [`${NPM}classic-level/`] },
  }),
  forbid('redis-adapter-has-one-library', 'One client library per adapter folder.', {
    from: { path: '^storage-adapters/src/redis/', pathNot: [TEST] },
    to: { path: [NPM, '^proto/'], pathNot: [`${NPM}ioredis/`] },
  }),
  forbid('remote-storage-has-one-library', 'One client library per adapter folder.', {
    from: { path: '^storage-adapters/src/(remote|service|wire)/', pathNot: [TEST] },
    to: { path: NPM, pathNot: [`${NPM}@grpc/grpc-js/`] },
  }),
  forbid('rest-of-storage-has-no-library', 'Memory, record batches and the port need none.', {
    from: {
      path: '^storage-adapters/src/',
      pathNot: [
        '^storage-adapters/src/((leveldb|redis|remote|service|wire)/|main\\.ts$)',
        ...TEST_ONLY,
      ],
    },
    to: { path: [NPM, '^proto/'] },
  }),
]

const placement = [
  forbid('placement-knows-no-broker', 'The Placement Center speaks to brokers by gRPC only.', {
    from: { path: '^placement/' },
    to: { path: '^(broker|storage-adapters|cli)/' },
  }),
  forbid('metadata-is-pure', 'The replicated state machine must be the same on every node.', {
    from: { path: '^placement/src/metadata/', pathNot: [TEST] },
    to: { pathNot: ['^placement/src/metadata/', ASSERT] },
  }),
]

const broker = [
  forbid('broker-starts-no-other-role', 'A broker meets the other processes by gRPC only.', {
    from: { path: '^broker/' },
    to: { path: '^(raft|placement|cli)/' },
  }),
  forbid('core-is-pure', 'The core sees itself and the storage port; no I/O, no protocol.', {
    from: { path: '^broker/src/core/', pathNot: [TEST] },
    to: { pathNot: ['^broker/src/core/', STORAGE_ENTRY, ASSERT] },
  }),
  forbid('functions-see-core-only', 'A message function is written once, for all protocols.', {
    from: { path: '^broker/src/functions/', pathNot: [TEST] },
    // Of the storage port the records; of Node what computes a hash.
    to: { pathNot: ['^broker/src/(functions|core)/', STORAGE_ENTRY, '^(node:)?crypto$', ASSERT] },
  }),
  forbid('security-sees-core-only', 'Who may do what is no matter of a protocol.', {
    from: { path: '^broker/src/security/', pathNot: [TEST] },
    to: { path: `^(${WORKSPACES})/`, pathNot: ['^broker/src/(security|core)/'] },
  }),
  forbid('brokers-keep-no-files', 'A broker holds nothing that is lost with it.', {
    from: {
      path: '^broker/src/[^/]+/',
      // Certificates are read; a Unix socket is a name in a folder.
      pathNot: ['^broker/src/security/', '^broker/src/protocols/shared/unix-socket\\.ts$', TEST],
    },
    to: { path: FILES },
  }),
  forbid('protocols-do-not-know-each-other', 'A protocol is a folder that can be deleted.', {
    from: { path: '^broker/src/protocols/([^/]+)/' },
    to: { path: '^broker/src/protocols/', pathNot: ['^broker/src/protocols/($1|shared)/'] },
  }),
  forbid('protocols-see-the-waist', 'Of the core a protocol sees what is made for it.', {
    from: { path: '^broker/src/protocols/', pathNot: [TEST] },
    to: {
      dependencyTypesNot: ['core'],
      pathNot: [
        '^broker/src/(protocols|security)/',
        '^broker/src/core/(messaging|message|errors|attached-session|offset-ring|sessions/session)\\.ts$',
        '^broker/src/core/groups/(hosted-groups|shared-filter)\\.ts$',
        '^broker/src/core/queues/(queues|queue-policy|queue-requests|receipt|headers)\\.ts$',
        '^broker/src/core/topics/(topic-logs|committed-offsets)\\.ts$',
        '^broker/src/core/shares/share-partitions\\.ts$',
        '^broker/src/core/transactions/transactions\\.ts$',
        '^broker/src/core/ports/(clock|connections|group-administration|telemetry)\\.ts$',
        `${NPM}(re2js|ws)/`,
      ],
    },
  }),
  forbid('wire-code-is-pure', 'Bytes to packets and back: no socket, no service, no session.', {
    from: {
      path: '^broker/src/protocols/([^/]+)/(codec/|codec\\.ts|packets\\.ts)',
      pathNot: [TEST],
    },
    to: {
      pathNot: [
        '^broker/src/protocols/$1/(codec/|codec\\.ts|packets\\.ts)',
        '^broker/src/protocols/shared/(byte-reader|byte-writer|frame-splitter)\\.ts$',
        ASSERT,
      ],
    },
  }),
  forbid('only-the-connection-has-the-socket', 'Sessions and handlers are tested without one.', {
    from: {
      path: '^broker/src/protocols/(?!shared/)',
      pathNot: ['^broker/src/protocols/[^/]+/(server|(bridge/)?connection)\\.ts$', TEST],
    },
    to: { path: SOCKETS },
  }),
  forbid('cluster-sees-core-and-proto', 'Membership and peers know no protocol.', {
    from: { path: '^broker/src/cluster/', pathNot: [TEST] },
    to: {
      path: `^(${WORKSPACES})/`,
      pathNot: ['^broker/src/(cluster|core)/', PROTO_ENTRY, STORAGE_ENTRY],
    },
  }),
  forbid('grpc-sees-cluster-and-core', 'Our own interfaces know no protocol and no storage.', {
    from: { path: '^broker/src/grpc/', pathNot: [TEST] },
    to: { path: `^(${WORKSPACES})/`, pathNot: ['^broker/src/(grpc|cluster|core)/', PROTO_ENTRY] },
  }),
  forbid('http-sees-core-and-security', 'As grpc: it knows no protocol and no storage.', {
    from: { path: '^broker/src/http/', pathNot: [TEST] },
    to: {
      path: `^(${WORKSPACES})/`,
      pathNot: ['^broker/src/(http|core|security)/', PROTO_ENTRY],
    },
  }),
  forbid('fastify-stays-in-http', 'One folder knows the HTTP framework.', {
    from: { path: `^(${WORKSPACES})/`, pathNot: ['^broker/src/http/'] },
    to: { path: `${NPM}(fastify|@fastify/)` },
  }),
  forbid('prom-client-stays-in-observability', 'Everyone else counts in plain fields.', {
    from: { path: `^(${WORKSPACES})/`, pathNot: ['^broker/src/observability/'] },
    to: { path: `${NPM}prom-client/` },
  }),
  forbid('observability-sees-ports', 'It is told; it does not look inside.', {
    from: { path: '^broker/src/observability/', pathNot: [TEST] },
    to: {
      path: `^(${WORKSPACES})/`,
      pathNot: ['^broker/src/(observability|core/ports)/', PROTO_ENTRY],
    },
  }),
  forbid('pino-stays-in-observability', 'Everyone else is given a log.', {
    from: {
      path: '^(broker|placement)/src/',
      pathNot: ['^[^/]+/src/(observability/|main\\.ts$)', TEST],
    },
    to: { path: `${NPM}pino/` },
  }),
]

const chaos = [
  forbid(
    'chaos-is-outside',
    'It meets a cluster as its users do: by clients, and by whoever runs it.',
    {
      from: { path: '^chaos/' },
      to: { path: `^(${WORKSPACES})/`, pathNot: ['^chaos/'] },
    },
  ),
  forbid('checkers-are-pure', 'What is right is decided from histories alone.', {
    from: { path: '^chaos/src/(checkers/|history\\.ts$)', pathNot: [TEST] },
    to: { pathNot: ['^chaos/src/(checkers/|history\\.ts$)'] },
  }),
]

const cli = [
  forbid('cli-knows-no-raft', 'The command line starts roles and speaks gRPC.', {
    from: { path: '^cli/' },
    to: { path: '^raft/' },
  }),
]

export default {
  forbidden: [...everywhere, ...libraries, ...storage, ...placement, ...broker, ...chaos, ...cli],
  options: {
    // Type imports are imports: without this they are invisible here.
    tsPreCompilationDeps: true,
    doNotFollow: { path: ['node_modules', '/src/gen/'] },
    exclude: { path: ['/dist/', '^cli/bundle/', '^test/architecture/canaries/'] },
    moduleSystems: ['es6'],
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'types', 'import', 'node', 'default'],
      extensions: ['.ts', '.mts', '.mjs', '.js', '.json'],
    },
    skipAnalysisNotInRules: true,
  },
}
