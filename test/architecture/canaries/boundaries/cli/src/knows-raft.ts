// breaks: cli-knows-no-raft
import 'raft-ts'
