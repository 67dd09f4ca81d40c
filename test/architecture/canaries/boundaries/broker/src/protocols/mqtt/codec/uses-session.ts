// breaks: wire-code-is-pure
import '../session.ts'
