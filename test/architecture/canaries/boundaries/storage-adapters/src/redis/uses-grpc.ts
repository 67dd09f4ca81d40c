// breaks: redis-adapter-has-one-library
import '@grpc/grpc-js'
