// Does the broker work with secrets that it cannot read? The keeper has them, as a user of its own: Redis' password, and by what the broker asks about opaque tokens. And what is
// it that does not stand still while the keeper does?
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createHash, randomBytes } from 'node:crypto'
import { execFileSync, spawnSync } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { BATON, BATOND, Broker, profile, ROUTE } from './lib/broker.js'
import { Idp } from './lib/idp.js'
import { denied, read, refused, shutOut } from './lib/agent.js'
import { remembers } from './lib/memory.js'
import { Operator } from './lib/operator.js'
import { RedisServer } from './lib/redisd.js'
import { content, files } from './lib/shown.js'
import { ROOT, readText } from './lib/wire.js'

const ROOTED = process.getuid() === 0 // else everything is one user's, and the rest holds all the same
const KEEPER = ROOTED ? Number(execFileSync('id', ['-u', 'daemon'], { encoding: 'utf8' })) : process.getuid(), BROKER = ROOTED ? 12345 : undefined
const word = () => randomBytes(24).toString('base64url')
const CORP = word(), LIVE = word()
const LINE = readText(`${ROOT}/docs/redis.md`).match(/^user baton on .*$/m)[0]
let password = word(), planner, worker, auditor, op, server
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ks-')), at = (...p) => path.join(dir, ...p)

const b = new Broker({
  as: BROKER,
  becoming: ROOTED,
  idp: (x) => new Idp({ ca: x.serverCa.cert, agentsCa: x.acme.cert, server: x.server, agents: ['planner', 'auditor'].map((n) => x.leaves[n]),
    asking: [{ name: 'corp', secret: CORP }, { name: 'live', secret: LIVE }] }).start()
})

// A file, replaced as an operator would.
function put (name, text, { mode = 0o600, uid = KEEPER } = {}) {
  fs.writeFileSync(at(`${name}.new`), text, { mode })
  fs.chmodSync(at(`${name}.new`), mode)
  fs.chownSync(at(`${name}.new`), uid, uid)
  fs.renameSync(at(`${name}.new`), at(name))
}
function folder (name, mode) {
  fs.mkdirSync(at(name), { mode })
  fs.chmodSync(at(name), mode)
  fs.chownSync(at(name), KEEPER, KEEPER)
}
// Of configured issuers it is asked whose secret stands in this file.
const config = (secret = at('own', 'corp.secret')) => (t) => t.replace('url: ""', [`url: redis://127.0.0.1:${server.port}`, 'user: baton', `password_file: ${at('own', 'redis.password')}`, `keys_file: ${b.path('state', 'seal.keys')}`].join('\n  '))
  .replace('{name: corp,', `{name: corp, introspection: {url: "${b.idp.url}/token/introspection", client_id: corp, secret_file: "${secret}", cache: 2s},`) +
  `registry: {allow_private_fetches: true, secrets: "${at('registered')}"}\n` +
  (ROOTED ? `keeper: {user: daemon, record: "${at('own', 'record.jsonl')}"}\nassertion: {key_file: "${at('own', 'assertion.key')}"}\n` : '')

const keeper = () => Number(execFileSync('pgrep', ['-P', String(b.process.pid), 'batond-keeper'], { encoding: 'utf8' }))
const record = () => readText(ROOTED ? at('own', 'record.jsonl') : b.path('state', 'keeper', 'record.jsonl')).trim().split('\n').filter(Boolean).map((l) => JSON.parse(l)).filter((l) => 'secrets' in l)
const metric = async (result) => Number((await b.http('/metrics')).body.split('\n').find((l) => l.startsWith(`baton_secrets_total{result="${result}"}`))?.split(' ').pop() || 0)
const store = async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'store')
const cut = async () => { for (const kind of ['normal', 'pubsub']) await server.call('CLIENT', 'KILL', 'TYPE', kind, 'SKIPME', 'yes') }
const submit = (agent, token) => agent.submit(read(ROUTE), { token, timeout: 15000 })
const opaque = (name = 'planner') => b.idp.opaque(b.leaves[name])
const tool = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}` } })
const asBroker = ROOTED ? ['setpriv', `--reuid=${BROKER}`, `--regid=${BROKER}`, '--clear-groups'] : []
const checked = () => {
  const [program, ...args] = [...asBroker, ROOTED ? b.path('batond') : BATOND, '--check-config', '--config', b.path('baton.yaml')]
  const r = spawnSync(program, args, { encoding: 'utf8', env: { PATH: process.env.PATH } })
  return r.stdout + r.stderr
}
async function carried () {
  const { handoff_id } = await until('new work to be taken', () => planner.submit(read(ROUTE)), 20000)
  const s = await worker.subscribe({ routes: [ROUTE], max_in_flight: 10 })
  await until('its end', async () => {
    const d = await s.delivery(15000)
    await s.complete(d)
    return d.lease.handoff_id === handoff_id
  })
  await s.leave()
}
// The keeper stands still while fn runs.
async function still (fn) {
  const pid = keeper()
  process.kill(pid, 'SIGSTOP')
  try { return await fn() } finally { process.kill(pid, 'SIGCONT') }
}

before(async () => {
  await b.prepare()
  fs.chmodSync(dir, 0o755)
  folder('own', 0o700) // nobody else even sees what is in it
  folder('registered', 0o755)
  folder(path.join('registered', new URL(b.idp.url).host), 0o755)
  put('own/redis.password', `${password}\n`)
  put('own/corp.secret', `${CORP}\n`)
  const host = path.join('registered', new URL(b.idp.url).host)
  put(path.join(host, 'live'), LIVE)
  put(path.join(host, 'ca.pem'), fs.readFileSync(b.serverCa.cert), { mode: 0o644 })
  server = new RedisServer(at('redis'), { acl: [LINE.replace('SHA256', createHash('sha256').update(password).digest('hex')), 'user default off'] })
  await (await server.choosePort()).start()
  b.profiles[ROUTE] = profile(ROUTE, {}, [b.issuer.url, b.idp.url])
  b.writeProfiles()
  b.writeConfig(config())
  ;[planner, worker, auditor] = await b.startWith('planner', 'worker', 'auditor')
  op = new Operator(b.adminSocket)
}, 60000)
after(async () => {
  op?.close()
  await b.remove()
  await server?.kill()
  fs.rmSync(dir, { recursive: true, force: true })
})

test('I-5 T3 With files of the keeper alone, that the user of the broker cannot open, Redis is used and opaque tokens are asked about / what the keeper handed out is counted', async () => {
  if (ROOTED) {
    for (const f of [at('own', 'redis.password'), at('own', 'corp.secret'), at('registered', new URL(b.idp.url).host, 'live')]) {
      const [program, ...args] = [...asBroker, 'cat', f], r = spawnSync(program, args, { encoding: 'utf8' })
      assert.match(r.stderr, /Permission denied/)
      assert.equal(r.stdout, '')
    }
    const uid = (pid) => fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^Uid:\t(\d+)/m)[1]
    assert.deepEqual([uid(b.process.pid), uid(keeper())], [String(BROKER), String(KEEPER)])
  }
  await carried()
  await submit(planner, await opaque())
  assert.equal(askedAs(), `corp:${CORP}`)
  assert.ok(await metric('ok') >= 3 + 1 + 1, 'two workers, the control thread, one that listens; one issuer')
  assert.equal(await metric('refused'), 0)
  assert.match(checked(), /: fine/) // what the broker's user cannot see it passes over
})

// Nobody in the configuration speaks for the provider: it is registered.
const bare = (t) => config()(t).replace(/^ {2}- \{name: corp,.*\n/m, '')
const register = (...more) => tool('issuer', 'add', 'live', '--url', b.idp.url, '--tenant', 'acme', '--issuer-ca', b.serverCa.cert, '--allow-private', 'yes', '--introspection-url', `${b.idp.url}/token/introspection`,
  '--introspection-client', 'live', '--introspection-secret', 'live', '--reason', 'a test', ...more)
const askedAs = () => Buffer.from(b.idp.questions.at(-1).split(' ')[1], 'base64').toString()
async function unregister () {
  await op.call('Delete', { ref: { kind: 'issuer', name: 'live' }, version: (await op.call('Get', { kind: 'issuer', name: 'live' })).version, reason: 'a test' })
}

test('I-2 I-5 An issuer that is registered is asked with what the keeper has for its host, from the first token on', async () => {
  b.writeConfig(bare)
  await b.reloaded()
  const r = register()
  assert.equal(r.status, 0, r.stdout + r.stderr)
  await submit(planner, await opaque())
  assert.equal(askedAs(), `live:${LIVE}`)
})

test('I-5 T3 The certificate that is shown, and its key, belong to the user of the broker, the secret beside them to the one of the keeper: as another one they are refused by name / each to its own, both are used', async () => {
  if (!ROOTED) return
  const host = path.join('registered', new URL(b.idp.url).host)
  const put2 = (crt, key, secret) => {
    put(path.join(host, 'live.crt'), fs.readFileSync(b.leaves.auditor.cert), { mode: 0o644, uid: crt })
    put(path.join(host, 'live.key'), fs.readFileSync(b.leaves.auditor.key), { uid: key })
    put(path.join(host, 'live'), LIVE, { uid: secret })
  }
  put2(BROKER, BROKER, KEEPER)
  const r = register('--introspection-cert', 'live')
  assert.equal(r.status, 0, r.stdout + r.stderr)
  const failure = async () => (await op.call('Get', { kind: 'issuer', name: 'live' })).issuer.introspection_failure
  for (const [crt, key, secret, says] of [[KEEPER, BROKER, KEEPER, /live\.crt belongs to uid .*; it must belong to uid 12345 or to root/], [BROKER, KEEPER, KEEPER, /cannot open the secret .*live\.key: uid 12345 may not/],
    [BROKER, BROKER, BROKER, new RegExp(`cannot open the secret .*live: uid ${KEEPER} may not`)]]) {
    put2(crt, key, secret)
    await b.reloaded()
    await denied(submit(planner, await opaque()), 'keys_unavailable')
    assert.match(await failure(), says)
    put2(BROKER, BROKER, KEEPER)
    await b.reloaded()
    await submit(planner, await opaque())
    assert.equal(askedAs(), `live:${LIVE}`)
    assert.equal(await failure(), '')
  }
  fs.rmSync(at(host, 'live.crt'))
  fs.rmSync(at(host, 'live.key'))
  const off = register('--introspection-cert', '')
  assert.equal(off.status, 0, off.stdout + off.stderr)
  await submit(planner, await opaque())
})

test('T3 attack 30: The password of Redis is in no memory of the broker once it was shown, nor of the keeper; no secret is in log, audit, metrics, record or state folder', async () => {
  if (ROOTED) {
    assert.ok(remembers(b.process.pid, Buffer.from(`live:${LIVE}`).toString('base64')), 'the test finds what is there')
    for (const pid of [b.process.pid, keeper()]) assert.ok(!remembers(pid, password))
    for (const secret of [CORP, LIVE]) assert.ok(!remembers(keeper(), secret))
  }
  const all = { log: b.log(), audit: b.auditLines().join('\n'), metrics: (await b.http('/metrics')).body, ready: (await b.http('/readyz')).body, record: JSON.stringify(record()) }
  for (const f of files(b.path('state'))) all[f] = content(f)
  for (const [where, text] of Object.entries(all)) for (const s of [password, CORP, LIVE]) assert.ok(!text.includes(s), where)
})

test('I-5 T3 A password that is replaced serves the next connection, without a restart / one of another user, or that others can read, is refused by name, and mended it serves', async () => {
  fs.chmodSync(at('own'), 0o711) // from now on it can look at them
  const next = word()
  await server.call('ACL', 'SETUSER', 'baton', 'resetpass', `>${next}`)
  put('own/redis.password', next)
  password = next
  await cut()
  await b.ready()
  await carried()
  for (const [wrong, says] of [[{ mode: 0o644 }, /redis\.password has mode 0644, others can reach it: chmod 0600 .*: see store\.password_file/],
    ...(ROOTED ? [[{ uid: BROKER }, new RegExp(`cannot open the secret .*redis\\.password: uid ${KEEPER} may not`)]] : [])]) {
    put('own/redis.password', password, wrong)
    await cut()
    await until('/readyz to tell', async () => { const c = await store(); return !c.ok && says.test(c.remedy) })
    const out = checked()
    assert.match(out, wrong.uid ? new RegExp(`store\\.password_file: .* belongs to uid ${BROKER}; a secret must belong to uid ${KEEPER} or to root`) : /store\.password_file: .*0600/)
    assert.ok(!out.includes(password))
    put('own/redis.password', password)
    await b.ready()
  }
  assert.ok(await metric('refused') > 0)
  await carried()
  assert.match(checked(), /: fine/)
})

test('I-5 A reload names another file beside the one that the keeper was told of / one in another folder wants a restart, and a key is handed to nobody: what ran goes on', async () => {
  put('own/next.secret', CORP)
  b.writeConfig(config(at('own', 'next.secret')))
  await unregister()
  await b.reloaded()
  await submit(planner, await opaque())
  put('other.secret', CORP)
  const refusedBy = async (file, says) => {
    b.writeConfig(config(file))
    assert.match(await b.reloaded('deny'), says)
    await submit(planner, await opaque())
  }
  await refusedBy(at('other.secret'), /introspection\.secret_file: .* outside the folders in which the keeper .* restart to allow it/)
  fs.linkSync(ROOTED ? at('own', 'assertion.key') : b.path('state', 'assertion.key'), at('own', 'linked.secret'))
  await refusedBy(at('own', 'linked.secret'), /issuer corp: introspection: .*linked\.secret is a file of the keeper's own/)
  fs.unlinkSync(at('own', 'linked.secret'))
  put('own/pem.secret', fs.readFileSync(b.server.key))
  await refusedBy(at('own', 'pem.secret'), /pem\.secret holds PEM/)
  put('own/long.secret', 'x'.repeat(5000))
  await refusedBy(at('own', 'long.secret'), /long\.secret is larger than 4096 bytes/)
  b.writeConfig(config())
  await b.reloaded()
})

test('R-3 R-5 A keeper that stands still while Redis has to be reached anew: no worker stands, a revocation is in force at once, and it is said what is missing / then all goes on', async () => {
  await still(async () => {
    await cut()
    await denied(planner.submit(read(ROUTE)), 'store_unavailable', 'UNAVAILABLE')
    await auditor.whoami()
    const r = tool('revoke', 'agent', 'auditor', '--tenant', 'acme', '--local', '--reason', 'no keeper')
    assert.equal(r.status, 0, r.stdout + r.stderr)
    await shutOut(() => auditor.whoami())
    await until('/readyz to tell', async () => { const c = await store(); return !c.ok && /the password did not come in time: .*batond-keeper/.test(c.remedy) }, 20000)
  })
  await b.ready(30000)
  await carried()
  await shutOut(() => auditor.whoami())
  await until('the revocation to be lifted', async () => {
    for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
    return (await op.call('ListRevocations')).revocations.length === 0
  })
}, 90000)

test('R-3 A reload that needs a secret from a keeper that stands still is refused within seconds, and holds nothing up: what ran goes on, also a revocation / then it is taken', async () => {
  await still(async () => {
    const said = b.reload()
    const r = await op.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'auditor' } })
    assert.equal(r.nodes_missing, 0)
    await submit(planner, await b.idp.token(b.leaves.planner))
    const { outcome, message } = await said
    assert.equal(outcome, 'deny')
    assert.match(message, /issuer corp: introspection: the keeper did not answer in time/)
  })
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
  await b.reloaded()
  await submit(planner, await opaque())
})

test('I-2 R-3 An issuer that is registered while the keeper stands still: others and revocations go on, its opaque tokens are refused, and are taken once the keeper goes on, without a reload', async () => {
  b.writeConfig(bare)
  await b.reloaded()
  await still(async () => {
    const r = register()
    assert.equal(r.status, 0, r.stdout + r.stderr)
    await denied(submit(planner, await opaque()), 'keys_unavailable')
    assert.equal((await op.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'auditor' } })).nodes_missing, 0)
    await until('the node to say so', async () => /issuer live cannot be asked .*the keeper did not answer in time/.test((await b.http('/readyz')).body), 15000)
  })
  const n = b.idp.questions.length
  await until('the question', async () => { await submit(planner, await opaque()).catch(() => {}); return b.idp.questions.length > n }, 15000)
  assert.equal(askedAs(), `live:${LIVE}`)
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
}, 60000)

test('I-2 R-3 Another issuer is registered while the keeper stands still: opaque tokens of the one that was there are taken all the same / a secret that was replaced meanwhile serves once the keeper goes on, and one that is gone is not used', async () => {
  const file = path.join('registered', new URL(b.idp.url).host, 'live'), next = word()
  const issuer = { name: 'other', url: 'https://other.example', tenants: ['globex'], introspection_url: 'https://other.example/i', introspection_client_id: 'asker', introspection_secret: 'asker' }
  folder(path.join('registered', 'other.example'), 0o755)
  put(path.join('registered', 'other.example', 'asker'), word())
  await submit(planner, await opaque())
  await still(async () => {
    await op.call('Apply', { resources: [{ issuer }], reason: 'a test' })
    await submit(planner, await opaque())
    assert.equal(askedAs(), `live:${LIVE}`)
    put(file, next)
  })
  await until('the new secret to be shown', async () => { await submit(planner, await opaque()).catch(() => {}); return askedAs() === `live:${next}` }, 15000)
  fs.rmSync(at(file))
  await op.call('Delete', { ref: { kind: 'issuer', name: 'other' }, version: (await op.call('Get', { kind: 'issuer', name: 'other' })).version, reason: 'a test' })
  await denied(submit(planner, await opaque()), 'keys_unavailable')
  put(file, LIVE)
  await b.reloaded()
  await submit(planner, await opaque())
}, 60000)

test('O-1 T3 The keeper writes down how many secrets it handed out, and how often it did not', async () => {
  const ok = await metric('ok')
  await b.stop()
  const sum = (what) => record().reduce((n, l) => n + l[what], 0)
  assert.ok(sum('secrets') >= ok && ok > 10, `${sum('secrets')} ${ok}`)
  assert.ok(sum('refused') > 0)
  ;[planner, worker, auditor] = await b.startWith('planner', 'worker', 'auditor')
})

test('R-3 What changes while a reload waits for its secrets is in force with it, and many reloads at once end in one: another issuer, a revocation, the new configuration', async () => {
  await unregister()
  const pid = keeper(), reloads = () => b.audit().filter((r) => r.event === 'config.reloaded').length, n = reloads()
  b.writeConfig(config())
  process.kill(pid, 'SIGSTOP')
  for (let i = 0; i < 200; i++) {
    b.signal('SIGHUP')
    if (i % 20 === 0) await auditor.whoami().catch(() => {})
  }
  await op.call('Apply', { resources: [{ issuer: { name: 'late', url: 'https://late.example', tenants: ['globex'], jwks: fs.readFileSync(b.issuer.file) } }], reason: 'a test' })
  assert.equal((await op.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'auditor' } })).nodes_missing, 0)
  assert.equal(reloads(), n)
  process.kill(pid, 'SIGCONT')
  const done = await until('the reload', () => b.audit().filter((r) => r.event === 'config.reloaded')[n])
  assert.equal(done.outcome, 'allow', done.message)
  assert.equal((await op.call('Get', { kind: 'issuer', name: 'late' })).issuer.keys > 0, true)
  await shutOut(() => auditor.whoami())
  await submit(planner, await opaque())
  assert.equal(askedAs(), `corp:${CORP}`)
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
  await op.call('Delete', { ref: { kind: 'issuer', name: 'late' }, version: (await op.call('Get', { kind: 'issuer', name: 'late' })).version, reason: 'a test' })
  assert.equal(reloads(), n + 1)
}, 60000)

test('R-3 A bundle or a certificate that is replaced while the keeper stands still is refused, and taken once it goes on, by itself', async () => {
  const said = () => b.audit().filter((r) => r.event === 'config.reloaded'), n = said().length
  await still(async () => {
    fs.writeFileSync(b.acme.cert, `${fs.readFileSync(b.acme.cert)}\n`)
    const { outcome, message } = await until('the refusal', () => said()[n], 15000)
    assert.equal(outcome, 'deny')
    assert.match(message, /issuer corp: introspection: the keeper did not answer in time/)
  })
  await until('the reload', () => said().at(-1).outcome === 'allow', 20000)
  await submit(planner, await opaque())
}, 60000)

test('R-3 R-5 A node that is told to end, or whose keeper is killed, while a reload, a question and a connection to Redis wait for secrets, ends in order / started again all is as it was', async () => {
  for (const [end, code] of [['SIGTERM', 0], ['SIGKILL', 1]]) {
    const pid = keeper(), over = b.exited
    process.kill(pid, 'SIGSTOP')
    await op.call('Apply', { resources: [{ issuer: { name: 'other', url: 'https://other.example', tenants: ['globex'], introspection_url: 'https://other.example/i', introspection_client_id: 'asker', introspection_secret: 'asker' } }], reason: 'a test' })
    const asked = submit(planner, await opaque()).catch(() => {})
    await cut()
    b.signal('SIGHUP')
    await until('the connections to be missed', async () => !(await store()).ok)
    if (code) process.kill(pid, end)
    else b.signal(end)
    await over
    try { process.kill(pid, 'SIGCONT') } catch {}
    await until('the end of the keeper', () => !fs.existsSync(`/proc/${pid}`))
    await asked
    await b.stop({ expect: code })
    ;[planner, worker, auditor] = await b.startWith('planner', 'worker', 'auditor')
    op.close()
    op = new Operator(b.adminSocket)
    await until('the node to have heard', async () => { try { await op.call('Delete', { ref: { kind: 'issuer', name: 'other' }, version: (await op.call('Get', { kind: 'issuer', name: 'other' })).version, reason: 'a test' }); return true } catch { return false } })
    await submit(planner, await opaque())
    await carried()
  }
}, 90000)
