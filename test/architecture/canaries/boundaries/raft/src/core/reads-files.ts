// breaks: raft-core-is-pure
import 'node:fs/promises'
