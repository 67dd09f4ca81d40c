// breaks: protocols-do-not-know-each-other
import '../mqtt/packets.ts'
