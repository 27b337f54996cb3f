// Does Baton work on a Redis of the operator's own that has TLS, client certificates and users, with no right more than docs/redis.md says? And
// when something of that is wrong, is nothing accepted, is the key named, and is it enough to mend it?
import fs from 'node:fs'
import { createHash, randomBytes } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, ROUTE } from './lib/broker.js'
import { denied } from './lib/agent.js'
import { remembers } from './lib/memory.js'
import { Ca } from './lib/pki.js'
import { RedisServer } from './lib/redisd.js'
import { NAME, Sentinel } from './lib/sentinels.js'
import { ROOT, readText } from './lib/wire.js'

const password = randomBytes(24).toString('base64url')
const LINE = readText(`${ROOT}/docs/redis.md`).match(/^user baton on .*$/m)[0]
const COMMANDS = LINE.match(/(?<=\+)\S+/g)

const b = new Broker({ fsync: 'always', workers: 1 })
let second, bare, server, ca, honest, planner, worker, planner2, worker2
const file = (name) => b.path('redis-tls', name)
const store = (lines) => (t) => t.replace('url: ""', [`url: rediss://localhost:${server.port}`, ...lines].join('\n  '))
const asUser = () => ['user: baton', `password_file: ${file('password')}`, `ca: ${file('trust.pem')}`, `keys_file: ${b.path('state', 'seal.keys')}`]
const withCert = () => [`cert: ${file('ours.pem')}`, `key: ${file('ours.key')}`]

// What the node reads: replaced as an operator would.
function put (name, content, mode = 0o600) {
  fs.writeFileSync(file(`${name}.new`), content, { mode })
  fs.chmodSync(file(`${name}.new`), mode)
  fs.renameSync(file(`${name}.new`), file(name))
}
const ours = (leaf) => { put('ours.pem', fs.readFileSync(leaf.cert)); put('ours.key', fs.readFileSync(leaf.key)) }
const serve = (leaf) => server.call('CONFIG', 'SET', 'tls-cert-file', leaf.cert, 'tls-key-file', leaf.key)
const cut = async () => { for (const kind of ['normal', 'pubsub']) await server.call('CLIENT', 'KILL', 'TYPE', kind, 'SKIPME', 'yes') }
const check = async (node) => JSON.parse((await node.http('/readyz')).body).checks.find((c) => c.check === 'store')

before(async () => {
  await b.prepare()
  fs.mkdirSync(file('.'), { mode: 0o700 })
  ca = new Ca(file('.'), 'redis-ca')
  ca.other = new Ca(file('.'), 'stranger')
  const leaf = (name, host, days, by = ca) => by.leaf(name, { sans: [`DNS:${host}`, 'IP:127.0.0.1'], eku: 'serverAuth', days })
  honest = { server: leaf('server', 'localhost'), ours: ca.leaf('client') }
  honest.elsewhere = leaf('elsewhere', 'redis.elsewhere.example')
  honest.expired = leaf('expired', 'localhost', -1)
  honest.stranger = ca.other.leaf('stranger-client')
  put('trust.pem', fs.readFileSync(ca.cert), 0o644)
  put('password', password + '\n')
  ours(honest.ours)
  const tls = ['--tls-cert-file', honest.server.cert, '--tls-key-file', honest.server.key, '--tls-ca-cert-file', ca.cert, '--tls-auth-clients', 'yes']
  server = new RedisServer(b.path('ext'), {
    args: tls, acl: [LINE.replace('SHA256', createHash('sha256').update(password).digest('hex')), 'user default off']
  })
  await (await server.choosePort('--tls-port')).start()
  b.writeConfig(store([...asUser(), ...withCert()]))
  ;[planner, worker] = await b.startWith('planner', 'worker')
  second = await b.twin('second', { config: store([...asUser(), ...withCert()]) })
  ;[planner2, worker2] = await second.startWith('planner', 'worker')
}, 60000)
after(async () => {
  await b.stop()
  await second?.remove()
  await bare?.remove()
  await server?.kill()
  await b.remove()
})

async function carried (from, to) { // a handoff, from acceptance to its result
  const { handoff_id } = await until('new work to be taken', () => from.submit(), 20000)
  const s = await to.subscribe()
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  assert.equal((await s.complete(d, { done: 'over TLS' })).ok, true)
  await s.leave()
  assert.match((await from.get(handoff_id)).result.payload.toString(), /over TLS/)
}

test('rediss: handoffs go through a Redis with TLS, client certificates and a user with the rights of docs/redis.md, and between two nodes', async () => {
  await carried(planner, worker)
  await carried(planner, worker2)
  await carried(planner2, worker)
  const users = new Set((await server.call('CLIENT', 'LIST')).toString().match(/(?<=user=)\S+/g))
  assert.deepEqual([...users].sort(), ['admin', 'baton'])
})

test('rediss: a node hears at once, by the channels of docs/redis.md, of work that another one accepted', async () => {
  const s = await worker2.subscribe()
  const counted = async () => Number((await second.http('/metrics')).body.match(/^baton_store_calls_total\{function="lease",result="ok"\} (\d+)/m)?.[1] || 0)
  const run = (await server.call('GET', '{/}:node:second')).toString()
  const armed = () => server.call('HGET', `{acme/${ROUTE}}:m`, 'arm')
  await until('the node to wait', async () => (await armed())?.includes(run) && await counted())
  const heard = await server.with(async (r) => {
    r.call('SUBSCRIBE', `baton:wake:${run}`)
    const said = new Promise((done) => { r.waiting.push({ yes: done, no: done }) })
    await planner.submit()
    return said
  })
  assert.equal(heard[2].toString(), `{acme/${ROUTE}}:m`)
  await s.complete(await s.delivery())
  await s.leave()
})

// Broken while it runs; each is told in /readyz and in the log, nothing is accepted, and it works again once it is mended.
async function broken (what, text, smash, mend) {
  let last
  await smash()
  await cut()
  try {
    await until('the node to be down', async () => !(last = await check(b)).ok)
    await until(`/readyz to tell of ${what}`, async () => { last = await check(b); return !last.ok && text.test(last.remedy) }, 15000)
      .catch((e) => { throw new Error(`${e.message}; it tells: ${last.remedy}`) })
    await until('the log to tell', () => b.log().split('\n').some((l) => l.includes('"store.unavailable"') && text.test(JSON.parse(l).why)))
    const held = await server.call('DBSIZE')
    await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
    assert.equal(await server.call('DBSIZE'), held)
  } finally {
    await mend()
  }
  await b.ready()
}

const FAULTS = {
  'a CA that did not sign the server\'s certificate': [/^TLS: certificate: .*: store\.ca must name the CA/,
    () => put('trust.pem', fs.readFileSync(ca.other.cert), 0o644), () => put('trust.pem', fs.readFileSync(ca.cert), 0o644)],
  'no CA': [/^TLS: .*trust\.pem: .*store\.ca must name a file/, () => put('trust.pem', 'none\n'), () => put('trust.pem', fs.readFileSync(ca.cert), 0o644)],
  'a server\'s certificate for another host': [/^TLS: certificate: hostname mismatch: the host of store\.url must be/, () => serve(honest.elsewhere), () => serve(honest.server)],
  'a server\'s certificate that has expired': [/^TLS: certificate: certificate has expired: renew the certificate of the Redis server that store\.url names/,
    () => serve(honest.expired), () => serve(honest.server)],
  'a client certificate of another CA': [/^TLS: .*alert unknown ca: .*store\.cert/, () => ours(honest.stranger), () => ours(honest.ours)],
  'a key of another certificate': [/^TLS: .*ours\.key: .*mismatch: see store\.cert and store\.key/, () => put('ours.key', fs.readFileSync(honest.stranger.key)), () => ours(honest.ours)],
  'a wrong password': [/^redis: WRONGPASS .*: set store\.user and store\.password_file/, () => put('password', `${password}x`), () => put('password', password)],
  'a password that others may read': [/password has mode 0644, others can reach it: chmod 0600 .*: see store\.password_file/,
    () => put('password', password, 0o644), () => put('password', password)],
  'a user that is switched off': [/^redis: WRONGPASS .*store\.user/, () => server.call('ACL', 'SETUSER', 'baton', 'off'), () => server.call('ACL', 'SETUSER', 'baton', 'on')],
  'keys that the user may not touch': [/^store\.user lacks ~\{\*\/\*\}:\*: .*docs\/redis\.md/,
    () => server.call('ACL', 'SETUSER', 'baton', 'resetkeys', '~other:*'), () => server.call('ACL', 'SETUSER', 'baton', 'resetkeys', '~{*/*}:*')],
  'some keys that the user may not touch': [/^store\.user lacks ~\{\*\/\*\}:b:1/, // and no other
    () => server.call('ACL', 'SETUSER', 'baton', 'resetkeys', '~{*}:?', '~{*}:q?', '~{*}:e:*'), () => server.call('ACL', 'SETUSER', 'baton', 'resetkeys', '~{*/*}:*')],
  'channels that the user may not use': [/^store\.user lacks \+publish &baton:wake:\* \+subscribe &baton:wake:\*: .*docs\/redis\.md/,
    () => server.call('ACL', 'SETUSER', 'baton', 'resetchannels'), () => server.call('ACL', 'SETUSER', 'baton', '&baton:wake:*')]
}
for (const [what, [text, smash, mend]] of Object.entries(FAULTS)) {
  test(`rediss: ${what} is refused, in /readyz, in the log and to who submits / mended, it serves without a restart`, async () => {
    await broken(what, text, smash, mend)
    await carried(planner, worker)
  })
}

test('rediss: every right of the line in docs/redis.md is needed: without it the node is not ready and names it / given back, it serves', async () => {
  assert.ok(COMMANDS.length > 30)
  for (const c of COMMANDS) {
    await broken(`a user without +${c}`, new RegExp(`(lacks .*\\+${c.replace('|', '\\|')}( |:)|NOPERM .*'${c}').*docs/redis\\.md`),
      () => server.call('ACL', 'SETUSER', 'baton', `-${c}`), () => server.call('ACL', 'SETUSER', 'baton', `+${c}`))
  }
  // it may have heard of no change to agents in all that time, and is ready in the moment before it says so
  await until('it serves', () => planner.whoami().then(() => true, () => false), 20000)
  await carried(planner, worker)
}, 180000)

test('rediss: a right that is taken away while it works: not ready, named / given back, it serves', async () => {
  await server.call('ACL', 'SETUSER', 'baton', '-hmget')
  await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
  await until('/readyz to name it', async () => / lacks \+hmget: /.test((await check(b)).remedy))
  await server.call('ACL', 'SETUSER', 'baton', '+hmget')
  await b.ready()
  await carried(planner, worker)
})

test('rediss: without a client certificate: refused, store.cert named / demanded no longer, it serves', async () => {
  bare = await b.twin('bare', { config: store(asUser()) })
  const up = bare.start().then(() => 'ready', (e) => e.message)
  await until('/readyz to tell', async () => { const c = await check(bare); return !c.ok && /certificate required: .* set store\.cert and store\.key/.test(c.remedy) }, 20000)
  const p = await bare.agent('planner')
  await denied(p.submit(), 'store_unavailable', 'UNAVAILABLE')
  assert.match(bare.log(), /"store\.unavailable".*set store\.cert and store\.key/)
  await server.call('CONFIG', 'SET', 'tls-auth-clients', 'optional')
  assert.equal(await up, 'ready')
  await carried(p, worker)
  await server.call('CONFIG', 'SET', 'tls-auth-clients', 'yes')
})

test('R-3 rediss: a client certificate that nears its end is said beside ready, and that it has ended, while what is connected goes on / replaced, the next connection takes it', async () => {
  const certificate = async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'certificate')
  const ends = async () => Number((await b.http('/metrics')).body.match(/^baton_certificate_expiry_timestamp_seconds\{subject="store"\} (\d+)$/m)[1]) * 1000
  const at = new Date(Math.floor(Date.now() / 1000 + 20) * 1000)
  ours(ca.leaf('far', { days: 20 }))
  await until('it to be far', async () => !/store\.cert/.test((await certificate()).remedy || ''))
  ours(ca.leaf('brief', { until: at }))
  await until('it to be said', async () => /the certificate for Redis \(store\.cert\) ends soon/.test((await certificate()).remedy))
  assert.equal(await ends(), at.getTime())
  await until('its end', async () => /the certificate for Redis \(store\.cert\) has ended/.test((await certificate()).remedy), 30000)
  assert.equal((await b.http('/readyz')).status, 200)
  assert.ok(b.log().split('\n').filter((l) => /"certificate\.expiry".*"store"/.test(l)).length >= 2)
  await carried(planner, worker)
  ours(honest.ours)
  await until('it to be replaced', async () => !/has ended/.test((await certificate()).remedy))
  await cut()
  await until('it serves', () => planner.whoami().then(() => true, () => false), 20000)
  await b.ready()
  await carried(planner, worker)
})

test('rediss: sentinels over TLS, with a user who may ask for the primary and nothing else: they are followed / a wrong CA is refused', async () => {
  const word = randomBytes(12).toString('hex')
  const tls = [`tls-cert-file ${honest.server.cert}`, `tls-key-file ${honest.server.key}`, `tls-ca-cert-file ${ca.cert}`, 'tls-auth-clients yes', 'tls-replication yes']
  const rights = readText(`${ROOT}/docs/redis.md`).match(/^user baton-sentinel on .*$/m)[0].replace('#SHA256', `>${word}`)
  const sentinel = new Sentinel(b.path('s0'), word, { quorum: 1, tls: true, lines: [...tls, `sentinel auth-user ${NAME} admin`, `sentinel auth-pass ${NAME} x`, rights] })
  await sentinel.start(server.port)
  fs.writeFileSync(b.path('sentinel.password'), word, { mode: 0o600 })
  const lines = [`sentinels: ["${sentinel.url}"]`, `sentinel_master: ${NAME}`, 'sentinel_user: baton-sentinel', `sentinel_password_file: ${b.path('sentinel.password')}`]
  const node = await b.twin('followed', { config: (t) => t.replace('url: ""', [...lines, ...asUser(), ...withCert()].join('\n  ')) })
  try {
    put('trust.pem', fs.readFileSync(ca.other.cert), 0o644)
    const up = node.start().then(() => 'ready', (e) => e.message)
    await until('/readyz to tell', async () => /^sentinel localhost:\d+: TLS: certificate: .*: store\.ca must name the CA/.test((await check(node)).remedy), 20000)
    put('trust.pem', fs.readFileSync(ca.cert), 0o644)
    assert.equal(await up, 'ready')
    await carried(await node.agent('planner'), await node.agent('worker'))
    assert.ok(!node.log().includes(word))
    if (process.getuid() === 0) for (const shown of [word, password]) assert.ok(!remembers(node.process.pid, shown), 'a password stays in memory')
  } finally {
    put('trust.pem', fs.readFileSync(ca.cert), 0o644)
    await node.remove()
    await sentinel.kill()
  }
}, 60000)

test('rediss: the password is in no log, no audit, no metric, no argument and no environment', async () => {
  const seen = { log: b.log() + second.log(), audit: b.auditLines().join('\n'), metrics: (await b.http('/metrics')).body, ready: (await b.http('/readyz')).body }
  seen.ps = execFileSync('ps', ['-eww', '-o', 'args']).toString()
  try { seen.environ = fs.readFileSync(`/proc/${b.process.pid}/environ`, 'latin1') } catch (e) { assert.equal(e.code, 'EACCES') } // undumpable
  assert.ok(seen.ps.includes('batond'))
  for (const [where, text] of Object.entries(seen)) assert.ok(!text.includes(password), where)
})
