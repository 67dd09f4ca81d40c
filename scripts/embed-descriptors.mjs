// Writes the descriptor set of all .proto files as a TypeScript module, for gRPC reflection. Run in proto/.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

const set = execFileSync('buf', ['build', '--as-file-descriptor-set', '-o', '-#format=bin'])
writeFileSync(
  'src/gen/descriptors.ts',
  `// Code generated from the .proto files. DO NOT EDIT.\nexport const descriptorSet =\n  '${set.toString('base64')}'\n`,
)
