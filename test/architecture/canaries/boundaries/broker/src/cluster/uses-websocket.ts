// breaks: websocket-library-stays-in-its-file
import 'ws'
