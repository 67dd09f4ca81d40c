// breaks: fastify-stays-in-http
import 'fastify'
