// breaks: leveldb-library-stays-in-its-adapter
import 'classic-level'
