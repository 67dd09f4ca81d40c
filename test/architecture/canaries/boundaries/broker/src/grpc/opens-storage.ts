// breaks: grpc-sees-cluster-and-core
import '@robust/storage-adapters'
