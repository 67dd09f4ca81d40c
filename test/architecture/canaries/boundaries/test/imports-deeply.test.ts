// breaks: no-deep-workspace-imports
import '../broker/src/core/messaging.ts'
