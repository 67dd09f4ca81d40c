// breaks: brokers-keep-no-files
import 'node:fs/promises'
