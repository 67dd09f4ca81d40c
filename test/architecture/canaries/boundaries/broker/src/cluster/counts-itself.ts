// breaks: prom-client-stays-in-observability
import 'prom-client'
