import { defineConfig } from 'vitest/config'

// Sources are tested directly: the `source` condition leads from a workspace name to its src/index.ts.
const source = { resolve: { conditions: ['source'] }, ssr: { resolve: { conditions: ['source'] } } }

export default defineConfig({
  test: {
    projects: [
      {
        ...source,
        test: {
          name: 'unit',
          include: [
            '*/src/**/*.test.ts',
            'test/architecture/*.test.ts',
            'test/performance/*.test.ts',
            'test/support/*.test.ts',
          ],
          testTimeout: 20_000,
          hookTimeout: 30_000,
        },
      },
      {
        ...source,
        test: {
          name: 'end-to-end',
          expect: { poll: { timeout: 10_000 } },
          include: ['test/{end-to-end,cluster,storage}/**/*.test.ts'],
          globalSetup: ['test/support/debian-tools.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
