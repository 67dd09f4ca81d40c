// breaks: no-deep-workspace-imports
import '../../proto/src/contracts.ts'
