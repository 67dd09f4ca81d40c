// breaks: raft-driver-sees-ports
import '../level/store.ts'
