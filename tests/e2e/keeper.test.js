// The process that holds the key of assertions: what the broker has of it, what it signs, and what becomes of work while it stands still, and when it is gone.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createPublicKey } from 'node:crypto'
import { execFileSync, spawnSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { BATOND, Broker, profile } from './lib/broker.js'
import { read } from './lib/agent.js'
import { remembers } from './lib/memory.js'
import { Operator } from './lib/operator.js'
import { jose } from './lib/tokens.js'

const b = new Broker({
  profiles: {
    signed: profile('signed'), many: profile('many', { delivery: { ...profile('x').delivery, lease_ms: 30000, resume_ms: 30000 } }), progress: profile('progress', { delivery: { ...profile('x').delivery, lease_ms: 3000, max_attempts: 2, keepalive: 'progress' } }), once: profile('once', { delivery: { ...profile('x').delivery, max_attempts: 1 } }), bare: profile('bare', { delivery: { ...profile('x').delivery, assertion: 'none' } })
  }
})
const key = () => b.path('state', 'assertion.key')
const keeper = () => Number(execFileSync('pgrep', ['-P', String(b.process.pid), 'batond-keeper'], { encoding: 'utf8' }))
const record = () => fs.readFileSync(b.path('state', 'keeper', 'record.jsonl'), 'utf8').trim().split('\n').filter(Boolean).map((l) => JSON.parse(l))
const metric = async (line) => (await b.http('/metrics')).body.split('\n').find((l) => l.startsWith(line))?.split(' ').pop()
let planner, worker

before(async () => { [planner, worker] = await b.startWith('planner', 'worker') })
after(() => b.remove())

const verified = async (d) => (await jose.jwtVerify(d.assertion, createPublicKey(fs.readFileSync(key())), {
  issuer: `baton:${b.node ?? 'n1'}`, audience: 'spiffe://acme.example/worker', typ: 'baton-delivery+jwt'
})).payload

test('T6 I-8 The key of assertions is in the keeper, and in no memory of the broker, though it has signed / what is delivered verifies by its public half', async () => {
  const s = await worker.subscribe({ routes: ['signed'] })
  const { handoff_id } = await planner.submit(read('signed'))
  const d = await s.delivery()
  const claims = await verified(d)
  assert.equal(claims.handoff_id, handoff_id)
  assert.equal(claims.cnf['x5t#S256'], worker.thumbprint)
  assert.ok(claims.exp - claims.iat <= 300)
  await s.complete(d)
  await s.leave()
  assert.equal(fs.statSync(key()).mode & 0o777, 0o600)
  // the private number, in the order of bytes of memory that OpenSSL keeps it in
  const scalar = Buffer.from(execFileSync('openssl', ['pkey', '-in', key(), '-text', '-noout'], { encoding: 'utf8' }).match(/priv:\s*([0-9a-f:\s]+)pub:/)[1].replace(/[^0-9a-f]/g, ''), 'hex').subarray(-32)
  const little = Buffer.from(scalar).reverse()
  if (process.getuid() === 0) {
    assert.ok(remembers(keeper(), little) || remembers(keeper(), scalar), 'the test finds what is there')
    assert.ok(!remembers(b.process.pid, little) && !remembers(b.process.pid, scalar))
  }
  assert.equal(b.audit().filter((r) => r.event === 'handoff.leased' && r.assertion_jti === claims.jti).length, 1)
})

test('T6 A keeper that stands still: nothing goes out without its assertion, what is sent is taken in all the same, and routes that want none go on / then all of it is delivered, once', async () => {
  const s = await worker.subscribe({ routes: ['many', 'bare'], max_in_flight: 200 })
  process.kill(keeper(), 'SIGSTOP')
  const ids = []
  for (let i = 0; i < 50; i++) ids.push((await planner.submit(read('many'))).handoff_id)
  const { handoff_id } = await planner.submit(read('bare'))
  const bare = await s.delivery()
  assert.deepEqual([bare.lease.handoff_id, bare.assertion], [handoff_id, ''])
  await s.complete(bare)
  await sleep(1000)
  assert.ok(!s.items.some((f) => f.delivery))
  await until('the broker to give up waiting', () => b.log().includes('keeper.unanswered'), 15000)
  assert.ok(Number(await metric('baton_assertions_total{result="failed"}')) > 0)
  process.kill(keeper(), 'SIGCONT')
  const seen = new Set()
  while (seen.size < ids.length) {
    const d = await s.delivery(15000)
    assert.ok(!seen.has(d.lease.handoff_id))
    seen.add(d.lease.handoff_id)
    assert.equal(d.attempt, 1)
    assert.equal((await verified(d)).handoff_id, d.lease.handoff_id)
    await s.complete(d)
  }
  assert.deepEqual([...seen].sort(), ids.sort())
  await s.leave()
}, 60000)

test('T6 Many deliveries at once: each has its own assertion', async () => {
  const n = 600
  for (let i = 0; i < n; i += 50) await Promise.all(Array.from({ length: 50 }, () => planner.submit(read('many'))))
  const s = await worker.subscribe({ routes: ['many'], max_in_flight: n })
  const ids = new Set(), jtis = new Set()
  while (ids.size < n) {
    const d = await s.delivery(20000), c = await verified(d)
    assert.equal(c.handoff_id, d.lease.handoff_id)
    ids.add(c.handoff_id)
    jtis.add(c.jti)
    await s.complete(d)
  }
  assert.equal(jtis.size, n)
  await s.leave()
}, 90000)

test('T6 What the pipe does not take while the keeper stands still waits, in its order, and is signed when it goes on: nothing of it is tried again', async () => {
  const n = 500, ids = []
  for (let i = 0; i < n; i += 50) ids.push(...(await Promise.all(Array.from({ length: 50 }, () => planner.submit(read('many'))))).map((r) => r.handoff_id))
  const failed = await metric('baton_assertions_total{result="failed"}'), pid = keeper(), begun = Date.now()
  process.kill(pid, 'SIGSTOP')
  let s, soon
  try {
    s = await worker.subscribe({ routes: ['many'], max_in_flight: n })
    await until('all of it to be leased', async () => await metric('baton_deliveries_in_flight{route="many"}') === String(n)) // none goes back because the pipe is full
    await sleep(1000)
    soon = Date.now() - begun < 4500 // it is given up after 5 s
    if (soon) assert.equal(await metric('baton_deliveries_in_flight{route="many"}'), String(n))
  } finally { process.kill(pid, 'SIGCONT') }
  const seen = new Set()
  while (seen.size < n) {
    const d = await s.delivery(20000)
    assert.equal(d.attempt, 1)
    assert.equal((await verified(d)).handoff_id, d.lease.handoff_id)
    seen.add(d.lease.handoff_id)
    await s.complete(d)
  }
  assert.deepEqual([...seen].sort(), ids.sort())
  if (soon) assert.equal(await metric('baton_assertions_total{result="failed"}'), failed)
  await s.leave()
}, 60000)

test('R-3 R-5 T6 A keeper that stands still holds no revocation up: it is confirmed at once, and what waited for its assertion is put aside, not sent / of another sender it is sent', async () => {
  const op = new Operator(b.adminSocket), pid = keeper(), auditor = await b.agent('auditor')
  const s = await worker.subscribe({ routes: ['signed'], max_in_flight: 10 })
  process.kill(pid, 'SIGSTOP')
  try {
    const { handoff_id } = await auditor.submit(read('signed')), other = await planner.submit(read('signed'))
    await until('both to be leased', async () => await metric('baton_deliveries_in_flight{route="signed"}') === '2')
    const failed = await metric('baton_assertions_total{result="failed"}')
    const r = await op.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'auditor' } })
    assert.equal(r.nodes_missing, 0)
    assert.equal(await metric('baton_assertions_total{result="failed"}'), failed) // it did not wait until they were given up
    process.kill(pid, 'SIGCONT')
    const d = await s.delivery()
    assert.equal(d.lease.handoff_id, other.handoff_id)
    await s.complete(d)
    await sleep(500)
    assert.deepEqual(s.items, [])
    const [h] = (await op.call('ListHandoffs', { tenant: 'acme', sender: 'auditor', filter: { page_size: 10 } })).handoffs
    assert.deepEqual([h.handoff_id, h.state], [handoff_id, 'HANDOFF_STATE_QUARANTINED'])
  } finally { process.kill(pid, 'SIGCONT') }
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
  op.close()
  await s.leave()
})

test('T6 A delivery whose stream is cut, that is cancelled, or whose node goes away while it waits for its assertion: it costs no attempt, and nothing is sent twice', async () => {
  let pid = keeper(), s = await worker.subscribe({ routes: ['signed'], max_in_flight: 10 })
  const waiting = (n) => until(`${n} in flight`, async () => await metric('baton_deliveries_in_flight{route="signed"}') === String(n))
  process.kill(pid, 'SIGSTOP')
  const cut = (await planner.submit(read('signed'))).handoff_id, cancelled = (await planner.submit(read('signed'))).handoff_id
  await waiting(2)
  await planner.cancel(cancelled)
  await planner.state(cancelled, 'CANCELLED')
  await waiting(1)
  s.cut()
  await waiting(0)
  process.kill(pid, 'SIGCONT')
  s = await worker.subscribe({ routes: ['signed'], max_in_flight: 10 })
  const d = await s.delivery()
  assert.deepEqual([d.lease.handoff_id, d.attempt], [cut, 1])
  await s.complete(d)
  pid = keeper()
  process.kill(pid, 'SIGSTOP')
  const left = (await planner.submit(read('signed'))).handoff_id
  await waiting(1)
  const begun = Date.now()
  await b.stop({ ms: 30000 })
  assert.ok(Date.now() - begun < 25000)
  ;[planner, worker] = await b.startWith('planner', 'worker')
  s = await worker.subscribe({ routes: ['signed'], max_in_flight: 10 })
  const e = await s.delivery(15000)
  assert.deepEqual([e.lease.handoff_id, e.attempt], [left, 1])
  await s.complete(e)
  await sleep(300)
  assert.deepEqual(s.items, [])
  await s.leave()
}, 60000)

test('T6 Where only a worker\'s words renew a lease, nobody is held silent before he has the work: what waits for its assertion loses no attempt / what is silent then does', async () => {
  const s = await worker.subscribe({ routes: ['progress'] }), pid = keeper()
  process.kill(pid, 'SIGSTOP')
  const { handoff_id } = await planner.submit(read('progress'))
  await sleep(3800)
  process.kill(pid, 'SIGCONT')
  const d = await s.delivery()
  assert.deepEqual([d.lease.handoff_id, d.attempt], [handoff_id, 1])
  assert.equal((await s.stop()).reason, 'REASON_LEASE_LOST')
  const again = await s.delivery()
  assert.deepEqual([again.lease.handoff_id, again.attempt], [handoff_id, 2])
  await s.complete(again)
  await s.leave()
})

test('T6 R-5 When the keeper is gone the node says so, drains and ends with 1 / work that waited is there when it is started again', async () => {
  process.kill(keeper(), 'SIGSTOP')
  const s = await worker.subscribe({ routes: ['signed'] })
  const { handoff_id } = await planner.submit(read('signed'))
  const over = b.process
  const code = new Promise((done) => over.on('exit', done))
  process.kill(keeper(), 'SIGKILL')
  assert.equal(await code, 1)
  assert.ok(b.log().includes('keeper.lost'))
  assert.match(b.log(), /nobody holds the keys/)
  s.cut?.()
  b.process = null
  ;[planner, worker] = await b.startWith('planner', 'worker')
  const t = await worker.subscribe({ routes: ['signed'] })
  const d = await t.delivery(15000)
  assert.equal(d.lease.handoff_id, handoff_id)
  await verified(d)
  await t.complete(d)
  await t.leave()
}, 60000)

test('O-1 The keeper writes down how much it signed', async () => {
  const s = await worker.subscribe({ routes: ['signed'] })
  for (let i = 0; i < 5; i++) {
    await planner.submit(read('signed'))
    await s.complete(await s.delivery())
  }
  await s.leave()
  await b.stop()
  const lines = record().filter((l) => 'assertions' in l)
  const signed = lines.reduce((sum, l) => sum + l.assertions, 0)
  const audited = b.audit().filter((r) => ['handoff.leased', 'assertion.issued'].includes(r.event) && r.assertion_jti).length
  assert.ok(audited > 650 && signed >= 6, `${signed} ${audited}`) // those of the run whose keeper was killed may be missing
  assert.ok(lines.at(-1).assertions >= 6 && lines.at(-1).since < lines.at(-1).at)
  assert.equal(fs.statSync(b.path('state', 'keeper', 'record.jsonl')).mode & 0o777, 0o600)
  ;[planner, worker] = await b.startWith('planner', 'worker')
})

test('O-1 What it signed since its last line is written down also when the broker is killed', async () => {
  await b.stop() // a broker in a Landlock domain that holds signals back kills nobody when it dies: here it could
  const before = b.change
  b.writeConfig((t) => before(t) + 'hardening: {landlock: off}\n')
  ;[planner, worker] = await b.startWith('planner', 'worker')
  const sums = () => record().reduce((sum, l) => sum + (l.assertions || 0), 0), had = sums(), pid = keeper()
  const s = await worker.subscribe({ routes: ['signed'] })
  for (let i = 0; i < 3; i++) {
    await planner.submit(read('signed'))
    await s.complete(await s.delivery())
  }
  process.kill(pid, 'SIGSTOP') // it does not hear that its pipes have ended before the kernel says that its parent has
  b.signal('SIGKILL')
  await b.exited
  try { process.kill(pid, 'SIGCONT') } catch {}
  await until('the end of the keeper', () => { try { return /State:.Z/.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) } catch { return true } })
  assert.equal(sums(), had + 3)
  b.process = null
  b.writeConfig(before)
  ;[planner, worker] = await b.startWith('planner', 'worker')
})

test('I-1 Work that would outlive its assertion, for its deadline is within the second, expires: it is no failed attempt, and no error / with a second more it is delivered', async () => {
  const s = await worker.subscribe({ routes: ['once'] })
  const within = async (ms) => {
    await until('the beginning of a second', () => Date.now() % 1000 < 50)
    return (await planner.submit(read('once', { deadline_ms: Date.now() - Date.now() % 1000 + ms }))).handoff_id
  }
  const id = await until('one that is taken in time', () => within(900))
  await until('its end', async () => /EXPIRED|DEAD/.test((await planner.get(id)).state))
  assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_EXPIRED')
  assert.ok(!b.log().includes('assertion.refused'))
  assert.ok(!s.items.some((f) => f.delivery))
  const later = await within(9000), d = await s.delivery()
  assert.equal(d.lease.handoff_id, later)
  await s.complete(d)
  await s.leave()
})

test('I-8 With a user of its own the keeper makes and keeps the key where the broker cannot read it; a key that others can read, or of another kind, refuses start and says which / then it starts', async () => {
  await b.stop()
  const before = b.change
  const starts = () => spawnSync(BATOND, ['--config', b.path('baton.yaml')], { encoding: 'utf8', timeout: 20000, env: { PATH: process.env.PATH } })
  fs.chmodSync(key(), 0o640)
  assert.match(starts().stderr, /assertion\.key_file: .*assertion\.key.*0600/)
  fs.chmodSync(key(), 0o600)
  execFileSync('openssl', ['genpkey', '-algorithm', 'RSA', '-out', b.path('rsa.key')], { stdio: 'pipe' })
  fs.chmodSync(b.path('rsa.key'), 0o600)
  b.writeConfig((t) => before(t) + `assertion: {key_file: "${b.path('rsa.key')}"}\n`)
  assert.match(starts().stderr, /assertion\.key_file: .*an assertion key is P-256 or Ed25519/)
  const check = (more) => {
    b.writeConfig((t) => before(t) + more)
    return spawnSync(BATOND, ['--check-config', '--config', b.path('baton.yaml')], { encoding: 'utf8', env: { PATH: process.env.PATH } }).stderr
  }
  assert.match(check('keeper: {user: daemon}\n'), /baton\.yaml:\d+:\d+: keeper\.user: name keeper\.record too/)
  assert.match(check('keeper: {user: daemon, record: /tmp/record.jsonl}\n'), /keeper\.user: name assertion\.key_file too/)
  assert.match(check('issuing: {user: daemon}\n'), /It is keeper\.user/)
  if (process.getuid() === 0) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'keeper-')), uid = Number(execFileSync('id', ['-u', 'daemon'], { encoding: 'utf8' }))
    fs.chownSync(dir, uid, uid)
    b.writeConfig((t) => before(t) + `keeper: {user: daemon, record: "${dir}/record.jsonl"}\nassertion: {key_file: "${dir}/a.key"}\n`)
    ;[planner, worker] = await b.startWith('planner', 'worker')
    const s = await worker.subscribe({ routes: ['signed'] })
    await planner.submit(read('signed'))
    const d = await s.delivery()
    await jose.jwtVerify(d.assertion, createPublicKey(fs.readFileSync(`${dir}/a.key`)))
    await s.complete(d)
    assert.deepEqual([fs.statSync(`${dir}/a.key`).uid, fs.statSync(`${dir}/a.key`).mode & 0o777], [uid, 0o600])
    await s.leave()
    await b.stop()
    fs.rmSync(dir, { recursive: true })
  }
  b.writeConfig(before)
  await b.start()
}, 60000)
