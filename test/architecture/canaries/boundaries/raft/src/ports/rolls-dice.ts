// breaks: raft-core-is-pure
import 'node:crypto'
