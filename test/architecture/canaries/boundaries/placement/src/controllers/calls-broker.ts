// breaks: placement-knows-no-broker
import '@robust/broker'
