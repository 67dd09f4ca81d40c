// breaks: no-test-code-in-products
import '../../test/support/eventually.ts'
