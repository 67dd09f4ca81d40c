// breaks: leveldb-adapter-has-one-library
import '@grpc/grpc-js'
