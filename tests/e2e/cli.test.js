// Does the command line do what it says, with the exit codes that it promises? `baton` against a real broker.
import fs from 'node:fs'
import path from 'node:path'
import { spawn } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, ROUTE } from './lib/broker.js'

const b = new Broker()
let tokens

before(async () => {
  await b.start()
  tokens = {}
  for (const name of ['planner', 'worker']) {
    tokens[name] = b.path(`${name}.token`)
    fs.writeFileSync(tokens[name], await b.issuer.mint(b.leaves[name]) + '\n', { mode: 0o600 })
  }
})
after(() => b.remove())

function start (args, { agent = 'planner', input, env = {} } = {}) {
  const leaf = b.leaves[agent]
  const child = spawn(BATON, args, {
    env: {
      PATH: process.env.PATH, HOME: b.dir, BATON_ADDR: b.addr, BATON_CA: b.serverCa.cert, BATON_CERT: leaf.cert, BATON_KEY: leaf.key,
      BATON_TOKEN_FILE: tokens[agent], BATON_METRICS: `127.0.0.1:${b.metricsPort}`, ASAN_OPTIONS: 'exitcode=99', ...env
    }
  })
  const p = { child, out: '', err: '' }
  child.stdout.on('data', (d) => { p.out += d })
  child.stderr.on('data', (d) => { p.err += d })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  p.done = new Promise((yes) => child.on('close', (code) => { p.code = code; yes(p) }))
  return p
}
const baton = (args, opts) => start(args, opts).done
const SEND = ['--route', ROUTE, '--tool', 'refunds.draft_refund', '--side-effect', 'draft', '--payload', '{"order":"A-1"}']
const key = () => ['--idempotency-key', `k-${Math.random()}`]

test('handoff run with serve: payload on standard input, clean environment, standard output is the result', async () => {
  const script = 'cat; printf " "; env | cut -d= -f1 | sort | tr "\\n" ","'
  const worker = start(['serve', '--route', ROUTE, '--once', '--', '/bin/sh', '-c', script], { agent: 'worker', env: { LEAK_ME: 'secret' } })
  const r = await baton(['handoff', 'run', ...SEND, ...key(), '-o', 'json'])
  assert.equal(r.code, 0, r.err)
  const story = JSON.parse(r.out)
  assert.equal(story.state, 'completed')
  assert.match(story.trace_id, /^[0-9a-f]{32}$/)
  const w = await worker.done
  assert.equal(w.code, 0, w.err)
  const shown = await baton(['handoff', 'get', story.handoff_id])
  assert.equal(shown.code, 0, shown.err)
  const result = Buffer.from(story.result.payload, 'base64').toString() || story.result.payload
  const said = /order/.test(result) ? result : JSON.stringify(story.result)
  assert.match(said, /A-1/)
  assert.match(said, /TRACEPARENT/)
  assert.ok(!/LEAK_ME|BATON_TOKEN|BATON_KEY/.test(said), said)
})

test('send, list, watch, cancel', async () => {
  const sent = await baton(['handoff', 'send', ...SEND, ...key(), '-o', 'name'])
  assert.equal(sent.code, 0, sent.err)
  const id = sent.out.trim()
  assert.equal(id.length, 27)
  assert.ok((await baton(['handoff', 'list'])).out.includes(id))
  const cancelled = await baton(['handoff', 'cancel', id, '--reason', 'enough', '--yes'])
  assert.equal(cancelled.code, 0, cancelled.err)
  const watched = await baton(['handoff', 'watch', id])
  assert.equal(watched.code, 1, 'a cancelled handoff is a valid "no"')
  assert.match(watched.out, /cancelled/)
})

test('E8 a replay from an envelope file is refused: exit 77, the reason, the first handoff', async () => {
  const file = b.path('envelope.bin')
  const first = await baton(['handoff', 'send', ...SEND, ...key(), '--envelope-file', file, '-o', 'name'])
  assert.equal(first.code, 0, first.err)
  const again = await baton(['handoff', 'send', '--replay', file])
  assert.equal(again.code, 77)
  assert.match(again.err, /^denied: replayed_nonce/)
  assert.ok(again.err.includes(first.out.trim()))
})

test('E1 a denial: exit 77, what was seen, what to do, policy and trace', async () => {
  const narrow = b.path('narrow.token')
  fs.writeFileSync(narrow, await b.issuer.mint(b.leaves.planner, { scope: 'orders:read' }), { mode: 0o600 })
  const r = await baton(['handoff', 'send', ...SEND, ...key(), '--token-file', narrow])
  assert.equal(r.code, 77)
  assert.match(r.err, /^denied: missing_scope/)
  assert.match(r.err, /refunds:draft/)
  assert.match(r.err, new RegExp(`Ask ${b.issuer.url} for that scope`))
  assert.match(r.err, /trace [0-9a-f]{32}/)
})

test('exit codes: usage 64, missing file 66, unreachable 69', async () => {
  assert.equal((await baton(['handoff', 'sned'])).code, 64)
  assert.equal((await baton(['handoff', 'send', '--no-such-flag'])).code, 64)
  assert.equal((await baton(['whoami', '--token', 'x'])).code, 64, 'there is no --token: argv is public')
  assert.equal((await baton(['whoami', '--cert', b.path('nowhere.pem')])).code, 66)
  assert.equal((await baton(['whoami', '--addr', '127.0.0.1:1'])).code, 69)
  assert.equal((await baton(['handoff', 'get', 'A'.repeat(27)])).code, 1)
})

test('whoami and doctor', async () => {
  const me = await baton(['whoami', '-o', 'json'])
  assert.equal(me.code, 0, me.err)
  assert.match(me.out, /spiffe:\/\/acme\.example\/planner/)
  const d = await baton(['doctor'])
  assert.equal(d.code, 0, d.out + d.err)
  for (const word of ['clock', 'certificate', 'token', 'ALPN', 'token binding', 'Redis']) assert.match(d.out, new RegExp(word, 'i'))
  for (const check of ['store', 'registry', 'audit', 'keys', 'certificate', 'trust', 'listeners', 'draining']) assert.match(d.out, new RegExp(`^broker ${check} +(ok|warn) `, 'm'))
  assert.doesNotMatch(d.out, /newer than this baton/)
})

test('whoami and doctor with a token that does not verify: exit 77 and the reason', async () => {
  const file = b.path('audience.token')
  fs.writeFileSync(file, await b.issuer.mint(b.leaves.planner, { iss: 'https://nobody.example' }), { mode: 0o600 })
  const me = await baton(['whoami', '--token-file', file])
  assert.equal(me.code, 77, me.out + me.err)
  assert.match(me.out, /^agent: +planner/)
  assert.match(me.err, /^denied: wrong_issuer\n {4}.*\n {4}Use a token of an issuer/)
  const d = await baton(['doctor', '--token-file', file])
  assert.equal(d.code, 77, d.out + d.err)
  assert.match(d.out, /^token +FAIL +wrong_issuer/m)
})

test('results are carried to the byte, and say what they are', async () => {
  const bytes = Buffer.from([0, 255, 10, 13, 0x78])
  const file = b.path('bytes')
  fs.writeFileSync(file, bytes)
  const as = async (script, options = []) => {
    const worker = start(['serve', '--route', ROUTE, ...options, '--', '/bin/sh', '-c', script], { agent: 'worker' })
    const p = start(['handoff', 'run', ...SEND, ...key(), '-q'])
    const out = []
    p.child.stdout.on('data', (d) => out.push(d))
    const r = await p.done
    assert.equal(r.code, 0, r.err)
    worker.child.kill('SIGTERM')
    assert.equal((await worker.done).code, 0)
    const id = (await baton(['handoff', 'list', '-o', 'name', '--limit', '1'])).out.trim()
    return [Buffer.concat(out), JSON.parse((await baton(['handoff', 'get', id, '-o', 'json'])).out).result.content_type]
  }
  assert.deepEqual(await as(`cat ${file}`), [bytes, 'application/octet-stream'])
  assert.deepEqual(await as('cat'), [Buffer.from('{"order":"A-1"}'), 'application/json'])
  assert.deepEqual(await as('echo done'), [Buffer.from('done\n'), 'text/plain'])
  assert.deepEqual(await as('echo done', ['--content-type', 'text/csv']), [Buffer.from('done\n'), 'text/csv'])
})

test('what ended otherwise cannot be cancelled: exit 1; its envelope is shown field by field', async () => {
  const worker = start(['serve', '--route', ROUTE, '--', 'cat'], { agent: 'worker' })
  const mark = key()
  const r = await baton(['handoff', 'run', ...SEND, ...mark])
  assert.equal(r.code, 0, r.err)
  worker.child.kill('SIGTERM')
  await worker.done
  const [, id, trace] = r.err.match(/^handoff (\S+) trace ([0-9a-f]{32})\n$/)
  const c = await baton(['handoff', 'cancel', id])
  assert.equal(c.code, 1)
  assert.match(c.err, /had already ended as completed/)
  const g = await baton(['handoff', 'get', id, '--envelope'])
  for (const line of [`trace: +${trace}`, 'nonce: +\\S{22}', 'side effect: +draft', `idempotency: +${mark[1]}`, 'issued: +2', 'payload: +{"order":"A-1"}']) assert.match(g.out, new RegExp(`^${line}`, 'm'))
})

test('standard output: full is exit 74 with the reason, a reader that has gone ends it silently', async () => {
  const sh = (script) => {
    const p = spawn('/bin/bash', ['-c', script, '-', BATON], { env: { PATH: process.env.PATH, HOME: b.dir } })
    let err = ''
    p.stderr.on('data', (d) => { err += d })
    return new Promise((yes) => p.on('close', (code) => yes([code, err])))
  }
  assert.deepEqual(await sh('"$1" completion bash >/dev/full'), [74, 'standard output cannot be written: No space left on device\n'])
  assert.deepEqual(await sh('"$1" version >&-'), [74, 'standard output cannot be written: Bad file descriptor\n'])
  assert.deepEqual(await sh('exec 3> >(true); wait $!; "$1" completion bash >&3; exit $?'), [141, ''])
})

test('an interrupted run leaves the handoff in force and says how to watch it: exit 130', async () => {
  const p = start(['handoff', 'run', ...SEND, ...key()])
  await until('the first event', () => /queued/.test(p.out))
  p.child.kill('SIGINT')
  const r = await p.done
  assert.equal(r.code, 130)
  const id = r.err.match(/^handoff (\S+) trace/)[1]
  assert.match(r.err, new RegExp(`left in force: baton handoff watch ${id}\n$`))
  assert.equal((await baton(['handoff', 'cancel', id])).code, 0)
})

test('dev: up says what it is before what to try, -q nothing; a purge asks before it stops anything', async () => {
  const env = { BATON_DEV_DIR: b.path('dev'), BATON_ADDR: '', BATON_CA: '', BATON_CERT: '', BATON_KEY: '', BATON_TOKEN_FILE: '', BATON_METRICS: '' }
  const both = (script) => new Promise((yes) => {
    const p = spawn('/bin/bash', ['-c', script, '-', BATON], { env: { PATH: process.env.PATH, HOME: b.dir, ...env } })
    let out = ''
    p.stdout.on('data', (d) => { out += d })
    p.on('close', (code) => yes({ code, out }))
  })
  try {
    const up = await both('"$1" dev up 2>&1')
    assert.equal(up.code, 0, up.out)
    assert.match(up.out, /^batond is ready\n[^]*\nTry: /)
    const again = await baton(['dev', 'up', '-q'], { env })
    assert.deepEqual([again.code, again.out, again.err], [0, '', ''])
    const purge = await baton(['dev', 'down', '--purge'], { env })
    assert.equal(purge.code, 64)
    assert.match(purge.err, /--yes/)
    const status = await baton(['dev', 'status'], { env })
    assert.deepEqual([status.code, status.out.split('\n')[0]], [0, 'batond is running and ready'])
    const drain = (...more) => baton(['node', 'drain', 'dev', '--reason', 'x', ...more], { env })
    assert.match((await baton(['node', 'list'], { env })).out, /^dev +yes /m)
    assert.equal((await drain()).code, 1)
    assert.equal((await drain('--last')).code, 0)
    await until('it to be down', async () => (await baton(['dev', 'status'], { env })).code === 1)
    assert.equal((await baton(['dev', 'up', '-q'], { env })).code, 0)
    assert.match((await baton(['node', 'list'], { env })).out, /^dev +yes /m)
  } finally {
    assert.equal((await baton(['dev', 'down', '--purge', '--yes'], { env })).code, 0)
  }
  assert.equal((await baton(['dev', 'status'], { env })).code, 66)
})

test('token verify: 0, or 77 and the reason alone on standard output', async () => {
  const args = ['token', 'verify', '--jwks', b.issuer.file, '--issuer', b.issuer.url, '--audience', 'support-agent-runtime', '--cert', b.leaves.planner.cert]
  const bare = { BATON_CERT: '', BATON_TOKEN_FILE: '' }
  const good = await baton(args, { input: fs.readFileSync(tokens.planner), env: bare })
  assert.equal(good.code, 0, good.out + good.err)
  for (const [change, reason] of [[{ aud: 'x' }, 'wrong_audience'], [{ iat: Math.floor(Date.now() / 1000) - 600, exp: Math.floor(Date.now() / 1000) - 100 }, 'expired_token'], [{ iss: 'https://x.example' }, 'wrong_issuer'],
    [{ cnf: { 'x5t#S256': b.leaves.worker.thumbprint } }, 'token_binding']]) {
    const r = await baton(args, { input: await b.issuer.mint(b.leaves.planner, change), env: bare })
    assert.deepEqual([r.code, r.out], [77, reason + '\n'], r.err)
  }
  const file = b.path('a.token')
  fs.writeFileSync(file, 'not.a.token')
  assert.deepEqual(await baton([...args, file], { env: bare }).then((r) => [r.code, r.out]), [77, 'invalid_token\n'])
})

test('version --protos writes the contract', async () => {
  const dir = b.path('protos')
  const r = await baton(['version', '--protos', dir])
  assert.equal(r.code, 0, r.err)
  for (const f of ['handoff', 'decision']) {
    assert.equal(fs.readFileSync(path.join(dir, `baton/v1/${f}.proto`), 'utf8'), fs.readFileSync(new URL(`../../proto/baton/v1/${f}.proto`, import.meta.url), 'utf8'))
  }
})

test('serve: a command that fails is a failed attempt, delivered again', async () => {
  const once = b.path('tried')
  const script = `if [ -e ${once} ]; then cat; else touch ${once}; exit 75; fi`
  const worker = start(['serve', '--route', ROUTE, '--', '/bin/sh', '-c', script], { agent: 'worker' })
  const r = await baton(['handoff', 'run', ...SEND, ...key(), '-o', 'json'])
  worker.child.kill('SIGTERM')
  await worker.done
  assert.equal(r.code, 0, r.err)
  assert.equal(JSON.parse(r.out).state, 'completed')
  assert.ok(fs.existsSync(once))
})

test('--help on every level', async () => {
  for (const args of [['--help'], ['handoff', '--help'], ['handoff', 'send', '--help'], ['serve', '--help'], ['bench', '--help']]) {
    const r = await baton(args)
    assert.equal(r.code, 0, r.err)
    assert.ok(r.out.length > 100)
  }
})

const NOBODY = { BATON_ADDR: '', BATON_CA: '', BATON_CERT: '', BATON_KEY: '', BATON_TOKEN_FILE: '', BATON_METRICS: '' }
test('bench brings up its own broker and prints one object: nothing lost, nothing twice', async () => {
  const p = start(['bench', '--cycles', '500', '--warmup', '50', '--window', '16', '-o', 'json'], { env: NOBODY })
  await until('bench to end', () => p.code !== undefined, 60000)
  assert.equal(p.code, 0, p.err)
  const o = JSON.parse(p.out)
  assert.deepEqual(Object.keys(o), ['cycles', 'rate_per_s', 'p50_us', 'p99_us', 'p999_us', 'batond_us_per_cycle', 'redis_us_per_cycle', 'fsync', 'lost', 'duplicated', 'rate_asked'])
  assert.deepEqual([o.cycles, o.lost, o.duplicated, o.rate_asked, o.fsync], [500, 0, 0, 0, 'always'])
})

test('bench --rate begins cycles by the clock and says so, under everysec too: its route has a tool that reads', async () => {
  const p = start(['bench', '--rate', '100', '--cycles', '60', '--warmup', '10', '--fsync', 'everysec', '-o', 'json'], { env: NOBODY })
  await until('bench to end', () => p.code !== undefined, 60000)
  assert.equal(p.code, 0, p.err)
  const o = JSON.parse(p.out)
  assert.deepEqual([o.cycles, o.lost, o.duplicated, o.rate_asked, o.fsync], [60, 0, 0, 100, 'everysec'])
  assert.ok(o.rate_per_s < 200, `${o.rate_per_s}`) // sixty take at least half a second, however fast the broker is
})
