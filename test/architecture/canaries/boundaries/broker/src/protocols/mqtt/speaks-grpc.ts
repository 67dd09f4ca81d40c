// breaks: protocols-see-the-waist
import '@grpc/grpc-js'
