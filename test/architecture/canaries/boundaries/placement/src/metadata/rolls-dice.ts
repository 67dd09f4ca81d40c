// breaks: metadata-is-pure
import 'node:crypto'
