// What could somebody do who got into the running broker, or sits beside it? seccomp(2), landlock(7), the closed process, its environment;
// what a reload and a kernel that lacks a part make of it.
import fs from 'node:fs'
import path from 'node:path'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { test, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BUILD, profile, ROUTE } from './lib/broker.js'
import { denied, read } from './lib/agent.js'
import { modeOf } from './lib/shown.js'

const PROBE = path.join(BUILD, 'confine_probe')
const probe = (...args) => { const r = spawnSync(PROBE, args, { encoding: 'utf8' }); return { code: r.status, text: (r.stdout + r.stderr).trim() } }
const ABI = Number(probe('landlock').text)
const ROOT = process.getuid() === 0
const NOBODY = 65534
const SIGSYS = 31
const LANDLOCK = ABI ? `abi ${ABI}` : 'unavailable'
const brokers = []
after(async () => { for (const b of brokers) await b.remove() })

const hardening = (words) => (t) => `${t}hardening: ${words}\n`
const made = (options) => { const b = new Broker(options); brokers.push(b); return b }
const skipped = (why) => console.log(`# not tested here: ${why}`)

const status = (pid, task = pid) => Object.fromEntries(fs.readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8').split('\n').map((l) => l.split(/:\s*/)))
const threads = (pid) => fs.readdirSync(`/proc/${pid}/task`)
const events = (b, event) => b.log().split('\n').filter((l) => l.includes(`"event":"${event}"`)).map((l) => JSON.parse(l))
const gauge = async (b, part) => Number((await b.http('/metrics')).body.match(new RegExp(`^baton_confinement\\{part="${part}"\\} (\\d+)$`, 'm'))[1])
const alive = (pid) => { try { return !/^[ZX]/.test(status(pid).State) } catch { return false } }

// batond itself, the process that supervises redis-server, and redis-server.
async function processes (b) {
  const redis = await b.redisPid()
  return { batond: b.process.pid, supervisor: Number(status(redis).PPid), redis }
}

// And the one that holds the keys.
const keeperOf = (b) => Number(execFileSync('pgrep', ['-P', String(b.process.pid), 'batond-keeper'], { encoding: 'utf8' }))

// redis-server writes its log anew: a fork, files, renaming.
async function rewritten (b) {
  await b.redis((r) => r.call('BGREWRITEAOF'))
  const want = { aof_rewrites: '1', aof_rewrite_in_progress: '0', aof_last_bgrewrite_status: 'ok' }
  await until('the rewritten log', () => b.redis(async (r) => { for (const [k, v] of Object.entries(want)) if ((await r.info(k)) !== v) return false; return true }))
}

test('seccomp(2) every thread of batond is filtered and gains no privileges, as are its redis-server and who supervises it; log and metrics say so', async () => {
  const b = made()
  const [planner] = await b.startWith('planner')
  const all = await processes(b)
  assert.equal(Number(status(all.supervisor).PPid), all.batond)
  for (const pid of Object.values(all)) {
    for (const t of threads(pid)) assert.deepEqual([status(pid, t).Seccomp, status(pid, t).NoNewPrivs], ['2', '1'], `${pid}/${t}`)
  }
  assert.ok(threads(all.batond).length >= 4, 'workers, audit, Redis')
  const [said] = events(b, 'confine.done')
  assert.deepEqual([said.seccomp, said.landlock, said.level], ['on', LANDLOCK, ABI ? 'info' : 'warn'])
  assert.deepEqual([await gauge(b, 'seccomp'), await gauge(b, 'landlock')], [1, ABI])
  const { handoff_id } = await planner.submit()
  await rewritten(b)
  process.kill(all.redis, 'SIGKILL')
  await until('another redis-server', async () => (await b.redisPid()) !== all.redis)
  await until('the handoff', async () => (await planner.get(handoff_id)).state === 'HANDOFF_STATE_QUEUED')
  await b.stop()
})

test('A shell-out from inside the running broker ends it, and what was acknowledged is there at the next start / a harmless call returns', async () => {
  const b = made()
  const [planner] = await b.startWith('planner')
  const { handoff_id } = await planner.submit()
  const all = await processes(b)
  const harmless = probe('inject', String(b.process.pid), 'getpid')
  if (harmless.code) return skipped(harmless.text)
  assert.equal(harmless.text, `returned ${b.process.pid}`)
  await planner.submit()
  assert.equal(probe('inject', String(b.process.pid), 'execve').text, `killed by ${SIGSYS}`)
  await b.exited
  assert.deepEqual(b.exit, { code: null, signal: 'SIGSYS' })
  await until('its processes to go with it', () => !alive(all.supervisor) && !alive(all.redis))
  planner.close()
  b.process = null
  await b.start()
  assert.equal((await (await b.agent('planner')).get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
  await b.stop()
})

test('hardening.seccomp: off is warned of; Landlock alone refuses the program (landlock(7)); with neither the intruder has it', async () => {
  for (const [words, seccomp, landlock, seen] of [
    ['{seccomp: "off"}', 0, ABI, ABI ? 'returned -13' : 'became another program'],
    ['{seccomp: "off", landlock: "off"}', 0, 0, 'became another program'],
    ['{landlock: "off"}', 1, 0, `killed by ${SIGSYS}`]
  ]) {
    const b = made({ config: hardening(words) })
    const [planner] = await b.startWith('planner')
    await planner.submit()
    const [said] = events(b, 'confine.done')
    assert.deepEqual([said.level, said.seccomp, said.landlock], ['warn', seccomp ? 'on' : 'off', landlock ? LANDLOCK : words.includes('landlock') ? 'off' : LANDLOCK])
    assert.deepEqual([await gauge(b, 'seccomp'), await gauge(b, 'landlock')], [seccomp, landlock])
    for (const pid of Object.values(await processes(b))) assert.equal(status(pid).Seccomp, seccomp ? '2' : '0')
    const r = probe('inject', String(b.process.pid), 'execve')
    if (r.code) { skipped(r.text); await b.stop(); continue }
    assert.equal(r.text, seen)
    if (seen.startsWith('returned')) {
      await planner.submit()
      await b.stop()
    } else {
      await b.exited
      planner.close()
      b.process = null
    }
  }
})

test('A kernel without seccomp: batond does not start and says how to go on / with hardening.seccomp: off it does', async () => {
  const wrap = [PROBE, 'without', 'seccomp']
  const b = made({ wrap })
  await b.prepare()
  for (const url of ['', 'unix:///nowhere/redis.sock']) { // the process that supervises redis-server is confined first, then batond itself
    b.writeConfig((t) => t.replace('url: ""', `url: "${url}"`))
    await assert.rejects(b.start(), /seccomp: no filter can be installed: .*; hardening\.seccomp: off goes without \(batond\(8\), CONFINEMENT\)/)
    assert.equal((await b.exited).code, 78)
    b.process = null
  }
  b.writeConfig(hardening('{seccomp: "off"}'))
  await b.start()
  const planner = await b.agent('planner')
  await until('a receipt', () => planner.submit())
  assert.equal(await gauge(b, 'seccomp'), 0)
  await b.stop()
})

test('A kernel without Landlock: batond starts, and says that it is unavailable', async () => {
  const b = made({ wrap: [PROBE, 'without', 'landlock_create_ruleset'] })
  const [planner] = await b.startWith('planner')
  await planner.submit()
  assert.deepEqual(events(b, 'confine.done').map((e) => [e.level, e.seccomp, e.landlock]), [['warn', 'on', 'unavailable']])
  assert.deepEqual([await gauge(b, 'seccomp'), await gauge(b, 'landlock')], [1, 0])
  await b.stop()
})

test('The process that supervises redis-server is killed: batond says so, drains and ends with 1, leaves nothing behind / the next start is well', async () => {
  const b = made()
  const [planner] = await b.startWith('planner')
  const { handoff_id } = await planner.submit()
  const all = await processes(b)
  process.kill(all.supervisor, 'SIGKILL')
  await b.exited
  assert.deepEqual(b.exit, { code: 1, signal: null })
  assert.match(events(b, 'node.failed')[0].why, /nobody supervises redis-server/)
  await until('redis-server to end', () => !alive(all.redis))
  await b.stop({ expect: 1 })
  await b.start()
  assert.equal((await (await b.agent('planner')).get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
  await b.stop()
})

test('Signals that a terminal sends to the whole group are batond\'s alone: redis-server serves until the last receipt', async () => {
  const b = made()
  const [planner, worker] = await b.startWith('planner', 'worker')
  await planner.submit()
  const s = await worker.subscribe()
  const d = await s.delivery()
  const all = await processes(b)
  for (const pid of [all.batond, all.supervisor]) process.kill(pid, 'SIGINT')
  await s.take('a notice', (f) => f.notice)
  assert.equal((await s.complete(d)).ok, true)
  s.cut()
  await b.exited
  assert.deepEqual(b.exit, { code: 0, signal: null })
  await b.stop()
})

test('Landlock: a reload may name files in the folders of the start, replaced ones too / one outside is refused by its key, and the old configuration stays', async () => {
  if (!ABI) return skipped('this kernel has no Landlock')
  const outside = fs.mkdtempSync('/tmp/bt-outside-')
  const b = made()
  try {
    const [planner] = await b.startWith('planner')
    const bundle = path.join(outside, 'acme.pem')
    fs.copyFileSync(b.acme.cert, bundle)
    fs.symlinkSync(bundle, b.path('pki', 'astray.pem'))
    for (const named of [bundle, b.path('pki', 'astray.pem')]) {
      b.writeConfig((t) => t.replace(JSON.stringify(b.acme.cert), JSON.stringify(named)).replace('level: info', 'level: debug'))
      assert.equal(await b.reloaded('deny'), `tls.trust[0].bundle: ${named} is outside the folders that batond was confined to at its start; restart to allow it`)
    }
    fs.mkdirSync(path.join(outside, 'profiles'))
    b.writeConfig((t) => t.replace(JSON.stringify(b.path('profiles')), JSON.stringify(path.join(outside, 'profiles'))))
    assert.match(await b.reloaded('deny'), /^profiles: .*outside the folders/)
    await planner.submit()
    await (await b.agent('planner')).submit()
    assert.ok(!b.log().includes('"level":"debug"'))
    // what is inside is taken: another file there, one renamed into the place of another, the audit after a rotation
    fs.copyFileSync(b.acme.cert, b.path('pki', 'fresh.pem'))
    fs.copyFileSync(b.server.cert, b.path('pki', 'renewed.pem'))
    fs.renameSync(b.path('pki', 'renewed.pem'), b.server.cert)
    fs.renameSync(b.path('audit.jsonl'), b.path('audit.1'))
    b.writeConfig((t) => t.replace(JSON.stringify(b.acme.cert), JSON.stringify(b.path('pki', 'fresh.pem'))))
    b.signal('SIGHUP')
    await b.audited({ event: 'config.reloaded', outcome: 'allow' })
    await (await b.agent('planner')).submit()
    // after a restart the folder outside is one of those that are named
    await b.stop()
    b.writeConfig((t) => t.replace(JSON.stringify(b.acme.cert), JSON.stringify(bundle)))
    await b.start()
    const again = await b.agent('planner')
    await until('a receipt', () => again.submit())
    fs.copyFileSync(b.globex.cert, `${bundle}.new`)
    fs.renameSync(`${bundle}.new`, bundle)
    await b.reloaded()
    await assert.rejects(b.agent('planner').then((a) => a.submit()), /UNAVAILABLE/) // the replaced bundle is in force
    await b.stop()
  } finally {
    fs.rmSync(outside, { recursive: true })
  }
})

test('Configuration, certificates and profiles that are links to where they are kept are read, at start and at a reload', async () => {
  const b = made()
  await b.prepare()
  const kept = fs.mkdtempSync('/tmp/bt-kept-')
  const file = path.join(kept, 'profiles', `${ROUTE}.json`)
  try {
    for (const f of [b.server.cert, b.server.key, b.acme.cert, b.path('profiles', `${ROUTE}.json`), b.path('baton.yaml')]) {
      const to = path.join(kept, path.basename(path.dirname(f)), path.basename(f)) // a folder of their own each: pki, profiles, the configuration
      fs.mkdirSync(path.dirname(to), { recursive: true })
      fs.copyFileSync(f, to)
      fs.chmodSync(to, 0o600)
      fs.rmSync(f)
      fs.symlinkSync(to, f)
    }
    await b.start()
    const planner = await b.agent('planner')
    await planner.submit()
    fs.writeFileSync(`${file}.new`, JSON.stringify(profile(ROUTE, { tools: { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } } })))
    fs.renameSync(`${file}.new`, file)
    await b.reloaded()
    await denied(planner.submit(), 'tool_denied')
    await b.stop()
  } finally {
    fs.rmSync(kept, { recursive: true })
  }
})

test('attack 30: nothing of what batond was given in its environment is left in it or in its Redis; no core file; no secret in argv', async () => {
  const secret = 'planted-in-the-environment'
  const b = made({ env: { AWS_SECRET_ACCESS_KEY: secret, https_proxy: `http://${secret}.example:1`, OPENSSL_CONF: '/nonexistent/openssl.cnf', LOCALDOMAIN: secret } })
  const [planner] = await b.startWith('planner')
  await planner.submit()
  const twin = spawn('sleep', ['60'], { env: b.env, stdio: 'ignore' })
  await until('an ordinary process to show it', () => fs.readFileSync(`/proc/${twin.pid}/environ`, 'latin1').includes(secret))
  twin.kill()
  for (const [name, pid] of Object.entries({ ...await processes(b), keeper: keeperOf(b) })) {
    assert.match(fs.readFileSync(`/proc/${pid}/environ`, 'latin1'), /^\0*$/, name)
    assert.match(fs.readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size +0 +0 /m, name)
    assert.ok(!/planted|password|secret|BEGIN|eyJ/i.test(fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1')), name)
  }
  for (const f of [b.path('batond.log'), b.path('audit.jsonl')]) assert.ok(!fs.readFileSync(f, 'utf8').includes(secret))
  assert.ok(!(await b.http('/metrics')).body.includes(secret))
  await b.stop()
})

test('attack 30: another process of batond\'s own user sees neither its memory nor its files and leaves no core of it / of an ordinary process it does', async () => {
  const as = ROOT ? NOBODY : undefined
  const b = made({ as })
  const [planner] = await b.startWith('planner')
  await planner.submit()
  const other = spawn('sleep', ['60'], { uid: as, gid: as, stdio: 'ignore' })
  const all = await processes(b), closed = [all.batond, all.supervisor, keeperOf(b)]
  const look = (pid, what) => spawnSync('/bin/sh', ['-c', what], { uid: as, gid: as, encoding: 'utf8', env: { PATH: process.env.PATH, P: `/proc/${pid}` } }).status
  for (const what of ['cat $P/environ >/dev/null', 'cat $P/maps >/dev/null', 'ls $P/fd/ >/dev/null', 'readlink $P/exe', 'head -c 0 $P/mem']) {
    assert.equal(look(other.pid, what), 0, what)
    for (const pid of closed) assert.notEqual(look(pid, what), 0, `${pid}: ${what}`)
  }
  if (ROOT) for (const pid of closed) assert.deepEqual([fs.statSync(`/proc/${pid}/mem`).uid, Number(status(pid).Uid.split('\t')[0])], [0, NOBODY])
  other.kill()
  b.signal('SIGQUIT') // its default is to dump core
  await b.exited
  assert.equal(b.exit.signal, 'SIGQUIT')
  assert.deepEqual(fs.readdirSync(b.dir).filter((f) => /^core/.test(f)), [])
  for (const a of b.made) a.close()
  b.process = null
})

test('attack 30: what batond and its Redis write is for their user alone', async () => {
  const b = made()
  const [planner, worker] = await b.startWith('planner', 'worker')
  await planner.submit()
  const s = await worker.subscribe()
  await s.complete(await s.delivery())
  await s.leave()
  await rewritten(b)
  const walk = (dir) => [dir, ...fs.readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? walk(path.join(dir, e.name)) : [path.join(dir, e.name)]))]
  const files = [...walk(b.path('state')), b.path('audit.jsonl')]
  for (const name of ['seal.keys', 'assertion.key', 'running', 'redis.sock', 'redis.log', 'redis.conf', 'appendonly.aof.manifest']) assert.ok(files.some((f) => path.basename(f) === name), name)
  for (const f of files) assert.equal(modeOf(f) & 0o077, 0, f)
  await b.stop()
})

test('attack 17: a reload when descriptors are exhausted, at whatever point, keeps the old policy as a whole / with descriptors the new one is taken', async () => {
  const b = made({ profiles: { [ROUTE]: profile(ROUTE), other: profile('other') } })
  const [planner] = await b.startWith('planner')
  const open = () => new Set(fs.readdirSync(`/proc/${b.process.pid}/fd`).map(Number))
  const limit = (soft) => execFileSync('prlimit', ['--pid', String(b.process.pid), `--nofile=${soft}:`])
  const most = Number(fs.readFileSync(`/proc/${b.process.pid}/limits`, 'utf8').match(/^Max open files +(\d+)/m)[1])
  const spare = (n) => { const used = open(); let fd = 0; for (let free = 0; free <= n; fd++) free += !used.has(fd); return fd - 1 } // so many can be opened under it
  const old = async () => {
    await planner.submit()
    await denied(planner.submit({ tool: 'nobody.knows' }), 'tool_denied')
    await denied(planner.submit(read('added')), 'route_denied')
  }
  await old()
  b.profiles = { [ROUTE]: profile(ROUTE, { tools: { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } } }), other: profile('other'), added: profile('added') }
  b.writeProfiles()
  b.writeConfig()
  for (let n = 0, done = false; !done; n++) { // so many files can be opened
    assert.ok(n < 10)
    limit(spare(n))
    try {
      const r = await b.reload()
      done = r.outcome === 'allow'
      assert.ok(n || !done)
      if (done) continue
      assert.match(r.message, /Too many open files/)
      await old()
    } finally {
      limit(most)
    }
  }
  await denied(planner.submit(), 'tool_denied')
  await until('a receipt of the new route', () => planner.submit(read('added')))
  await planner.submit(read(ROUTE))
  await (await b.agent('planner')).submit(read('other'))
  await b.stop()
})
