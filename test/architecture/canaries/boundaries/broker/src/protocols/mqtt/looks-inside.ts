// breaks: protocols-see-the-waist
import '../../core/shard-writer.ts'
