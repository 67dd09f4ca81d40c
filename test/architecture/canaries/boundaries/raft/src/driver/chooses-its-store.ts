// breaks: raft-driver-sees-ports
import '../files/store.ts'
