// breaks: pino-stays-in-observability
import 'pino'
