// breaks: broker-starts-no-other-role
import 'raft-ts'
