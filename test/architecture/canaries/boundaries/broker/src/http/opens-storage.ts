// breaks: http-sees-core-and-security
import '@robust/storage-adapters'
