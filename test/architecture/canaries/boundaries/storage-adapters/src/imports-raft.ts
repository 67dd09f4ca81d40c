// breaks: storage-knows-no-product
import 'raft-ts'
