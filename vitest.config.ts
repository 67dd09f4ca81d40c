import { defineConfig } from 'vitest/config'

// Sources are tested directly: the `source` condition leads from a workspace name to its src/index.ts.
const source = { resolve: { conditions: ['source'] }, ssr: { resolve: { conditions: ['source'] } } }

export default defineConfig({
  test: {
    // Files wait more than they compute, for disks and for each other's processes.
    maxWorkers: 2,
    projects: [
      {
        ...source,
        test: {
          name: 'unit',
          include: [
            '*/src/**/*.test.ts',
            'raft/examples/*.test.ts',
            'test/architecture/*.test.ts',
            'test/performance/*.test.ts',
            'test/support/*.test.ts',
            'test/soak/*.test.ts',
            'test/chaos/*-check.test.ts',
          ],
          // Long, and the same on every Node: a project of its own.
          exclude: ['raft/src/simulation/**', '**/{fuzz,soak}.test.ts'],
          testTimeout: 20_000,
          hookTimeout: 30_000,
        },
      },
      {
        ...source,
        test: {
          name: 'simulation',
          include: [
            'raft/src/simulation/**/*.test.ts',
            'broker/src/**/fuzz.test.ts',
            'broker/src/soak.test.ts',
          ],
          testTimeout: 60_000,
        },
      },
      {
        ...source,
        test: {
          name: 'end-to-end',
          // Generous: a condition that holds is seen at once, and a slow machine is no defect.
          expect: { poll: { timeout: 30_000 } },
          include: ['test/{end-to-end,cluster,storage}/**/*.test.ts'],
          globalSetup: ['test/support/debian-tools.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        ...source,
        test: {
          name: 'chaos',
          expect: { poll: { timeout: 30_000 } },
          include: ['test/containers/**/*.test.ts', 'test/chaos/{mutants,*-chaos}.test.ts'],
          globalSetup: ['test/support/docker-engine.ts'],
          // What removes containers after a crash of the tests would have to be pulled.
          env: { TESTCONTAINERS_RYUK_DISABLED: 'true' },
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
