/** Whether a storage that many may use is free for a new cluster. */
import { withoutPassword } from '../cluster/topology.ts'
import type { Context } from '../context.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { withStorage } from './storage-open.ts'

/** An import for a new cluster leaves this epoch; a cluster's own begin above it. */
const importedEpoch = 1

/** The fences of another cluster would keep a new one out for ever: that is said before anything starts. */
export async function refuseForeignData(context: Context, storageUrl: string): Promise<void> {
  await withStorage(context, { url: storageUrl, forReading: true }, async (adapter) => {
    const [shard] = await adapter.shards()
    const epoch = shard === undefined ? 0 : (await adapter.stats(shard)).epoch
    if (epoch <= importedEpoch) return exitCodes.ok
    const url = withoutPassword(storageUrl)
    throw new CliError('CLUSTER_EXISTS', {
      message: `${url} holds the data of another cluster`,
      cause: `shard ${shard} has epoch ${epoch}`,
      hint: `another prefix (?prefix=NAME), or robust storage purge --yes ${url}`,
      exit: exitCodes.cannotCreate,
    })
  })
}
