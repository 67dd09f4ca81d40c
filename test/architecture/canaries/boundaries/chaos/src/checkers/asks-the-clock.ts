// breaks: checkers-are-pure
import 'node:timers'
