// breaks: raft-imports-nothing-of-ours
import '@robust/proto'
