// breaks: functions-see-core-only
import '../protocols/shared/listener.ts'
