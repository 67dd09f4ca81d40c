// breaks: core-is-pure
import 'node:net'
