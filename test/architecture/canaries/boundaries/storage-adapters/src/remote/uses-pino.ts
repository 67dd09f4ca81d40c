// breaks: remote-storage-has-one-library
import 'pino'
