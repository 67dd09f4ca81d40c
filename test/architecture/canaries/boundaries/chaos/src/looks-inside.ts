// breaks: chaos-is-outside
import '../../broker/src/index.ts'
