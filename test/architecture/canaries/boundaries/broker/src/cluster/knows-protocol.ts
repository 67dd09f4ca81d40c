// breaks: cluster-sees-core-and-proto
import '../protocols/shared/listener.ts'
