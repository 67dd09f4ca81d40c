// breaks: storage-wire-has-two-ends
import '../wire/channel.ts'
