// breaks: only-the-connection-has-the-socket
import 'node:net'
