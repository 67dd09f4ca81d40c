// `npm run image -- [--base IMAGE] [--tag TAG]`: builds the image from this tree. Without --base the standard Node
// image is pulled; where no registry can be reached, `--base host` makes one from the Node of this machine.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const HOST_BASE = 'robust-node-of-this-machine'

const { values } = parseArgs({
  options: { base: { type: 'string' }, tag: { type: 'string', default: 'robust:latest' } },
})

const stage = mkdtempSync(join(tmpdir(), 'robust-image-'))
try {
  const base = values.base === 'host' ? importHost() : values.base
  stageTree()
  const args = ['build', '--tag', values.tag, '--file', join(ROOT, 'compose/Dockerfile')]
  if (base !== undefined) args.push('--build-arg', `BASE=${base}`)
  docker([...args, stage])
  process.stdout.write(`${values.tag} is built\n`)
} finally {
  rmSync(stage, { recursive: true, force: true })
}

function docker(args, input) {
  execFileSync('docker', args, { stdio: [input === undefined ? 'ignore' : 'pipe', 2, 2], input })
}

/** What runs: compiled code, and the packages that it needs when it runs. */
function stageTree() {
  const target = join(stage, 'robust')
  mkdirSync(join(stage, 'data'))
  const { workspaces } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const copy = (path) => cpSync(join(ROOT, path), join(target, path), { recursive: true })
  copy('package.json')
  copy('LICENSE')
  for (const file of ['compose/health.mjs', 'cli/bin', 'cli/faults', 'chaos/scenarios']) copy(file)
  for (const workspace of workspaces) {
    copy(join(workspace, 'package.json'))
    copy(join(workspace, 'dist'))
    const generated = join(workspace, 'src/gen')
    if (existsSync(join(ROOT, generated))) copy(generated)
  }
  // Last of what is built: it is what runs while nothing is newer.
  copy('cli/bundle')
  for (const folder of packagesAtRunTime()) copy(folder)
  for (const workspace of workspaces) linkWorkspace(target, workspace)
}

function packagesAtRunTime() {
  const list = ['ls', '--omit=dev', '--all', '--parseable']
  const lines = execFileSync('npm', list, { cwd: ROOT, maxBuffer: 2 ** 26 })
    .toString()
    .split('\n')
  const modules = join(ROOT, 'node_modules')
  return [...new Set(lines.filter((line) => line.startsWith(modules)))]
    .map((path) => relative(ROOT, path))
    .filter((path) => !isWorkspaceLink(path))
}

function isWorkspaceLink(path) {
  return /^node_modules\/(@robust\/[^/]+|raft-ts)$/.test(path)
}

/** As npm does: a name in node_modules that leads to the workspace. */
function linkWorkspace(target, workspace) {
  const { name } = JSON.parse(readFileSync(join(ROOT, workspace, 'package.json'), 'utf8'))
  const link = join(target, 'node_modules', name)
  mkdirSync(dirname(link), { recursive: true })
  cpSync(join(ROOT, 'node_modules', name), link, { verbatimSymlinks: true })
}

/** A root with nothing but Node and what it links to. */
function importHost() {
  const node = process.execPath
  const linked = execFileSync('ldd', [node]).toString()
  const libraries = [...linked.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path)
  const root = mkdtempSync(join(tmpdir(), 'robust-base-'))
  try {
    for (const path of libraries) {
      mkdirSync(join(root, dirname(path)), { recursive: true })
      cpSync(path, join(root, path), { dereference: true })
    }
    mkdirSync(join(root, 'usr/bin'), { recursive: true })
    mkdirSync(join(root, 'tmp'), { mode: 0o777 })
    cpSync(node, join(root, 'usr/bin/node'), { dereference: true })
    const tar = execFileSync('tar', ['--create', '--directory', root, '.'], { maxBuffer: 2 ** 30 })
    const path = 'PATH=/usr/bin'
    docker(['import', '--change', `ENV ${path}`, '-', HOST_BASE], tar)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
  return HOST_BASE
}
