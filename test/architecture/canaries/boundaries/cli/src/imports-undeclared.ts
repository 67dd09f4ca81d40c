// breaks: declared-dependencies-only
import 'undeclared-package'
