// breaks: core-is-pure
import '@grpc/grpc-js'
