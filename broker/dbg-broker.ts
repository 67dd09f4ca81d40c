import { brokerMain } from './src/index.ts'
void brokerMain(process.argv.slice(2))
