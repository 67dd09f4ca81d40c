// breaks: no-unresolvable
import './nowhere.ts'
