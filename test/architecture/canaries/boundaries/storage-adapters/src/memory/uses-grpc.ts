// breaks: rest-of-storage-has-no-library
import '@grpc/grpc-js'
