// breaks: security-sees-core-only
import '../cluster/members.ts'
