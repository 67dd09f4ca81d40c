// breaks: proto-imports-nothing-of-ours
import 'raft-ts'
