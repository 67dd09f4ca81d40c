// breaks: only-the-top-composes
import '../placement.ts'
