// breaks: observability-sees-ports
import '../core/messaging.ts'
