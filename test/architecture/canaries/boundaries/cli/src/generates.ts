// breaks: protobuf-stays-in-proto
import '@bufbuild/protobuf'
