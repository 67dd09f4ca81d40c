// breaks: adapters-do-not-know-each-other
import '../leveldb/engine.ts'
