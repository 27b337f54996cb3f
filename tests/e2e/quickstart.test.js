// Do the newcomer's two commands do what the README says? deploy/quickstart, and that the README names what is there.
import fs from 'node:fs'
import path from 'node:path'
import { spawn } from 'node:child_process'
import { test, assert, sleep } from './lib/suite.js'
import { ROOT, BUILD } from './lib/broker.js'
import { readText } from './lib/wire.js'

function run (command, args, env = {}) {
  const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, BATON_BUILDDIR: BUILD, ...env } })
  let out = ''
  let all = ''
  child.stdout.on('data', (d) => { out += d; all += d })
  child.stderr.on('data', (d) => { all += d })
  return new Promise((done) => child.on('close', (code) => done({ code, out, all })))
}

test('E1 E8 deploy/quickstart --smoke hands a task over, sees the replay and the missing scope refused, and cleans up', async () => {
  const dir = fs.mkdtempSync('/tmp/bq-')
  const r = await run('deploy/quickstart', ['--smoke'], { BATON_DEV_DIR: path.join(dir, 'dev'), BATON_NO_INSTALL: '1' })
  assert.equal(r.code, 0, r.all)
  const last = JSON.parse(r.out.trim().split('\n').at(-1))
  assert.deepEqual(Object.keys(last), ['handoff_id', 'state', 'trace_id', 'replay', 'no_scope'])
  assert.deepEqual([last.state, last.replay, last.no_scope], ['completed', 'replayed_nonce', 'missing_scope'])
  assert.equal(last.handoff_id.length, 27)
  assert.match(last.trace_id, /^[0-9a-f]{32}$/)
  assert.ok(r.out.includes(last.trace_id))
  assert.deepEqual(fs.readdirSync(dir), [], 'nothing is left behind')
  fs.rmSync(dir, { recursive: true })
}, 120000)

// The README's blocks as they stand, but for the installation of modules, which are here already.
for (const [language, done] of [['node', /result \{"refund":"draft"/], ['python', /HANDOFF_STATE_COMPLETED/]]) {
  test(`the README's commands run the ${language} agents against the broker of baton dev up`, async () => {
    const dir = fs.mkdtempSync('/tmp/bq-')
    const env = { BATON_DEV_DIR: path.join(dir, 'dev'), NODE_PATH: path.join(ROOT, 'tests/e2e/node_modules'), PATH: `${BUILD}:${process.env.PATH}` }
    const block = [...readText(path.join(ROOT, 'README.md')).matchAll(/^```sh\n(.*?)^```/gms)].map((m) => m[1]).find((t) => t.includes(`deploy/examples/${language}/`))
    const up = await run('baton', ['dev', 'up'], env)
    assert.equal(up.code, 0, up.all)
    await sleep(2500) // a new store takes what is stamped after its first clock skew
    const commands = block.replace(/^npm .*\n/m, '').replaceAll('build/stubs', path.join(dir, 'stubs'))
    const r = await run('bash', ['-c', `${commands}\nkill %1`], env)
    const down = await run('baton', ['dev', 'down', '--purge', '--yes', '-q'], env)
    fs.rmSync(dir, { recursive: true })
    assert.match(r.all, done)
    assert.equal(down.code, 0, down.all)
  }, 60000)
}

test('the README\'s two commands and the files that it names are there', () => {
  const readme = readText(path.join(ROOT, 'README.md'))
  for (const command of ['deploy/quickstart', 'tests/run']) {
    assert.ok(new RegExp(`^${command}$`, 'm').test(readme), command)
    assert.ok(fs.statSync(path.join(ROOT, command)).mode & 0o100, command)
  }
  for (const [, file] of readme.matchAll(/\]\(([^)#:]+)\)/g)) assert.ok(fs.existsSync(path.join(ROOT, file)), `README.md links to ${file}`)
})
