// Do operators see how each node does, and does a node go when they say so? Three nodes on one Redis: what is wrong with each, whoever may write to Redis
// writes nonsense there, and drains, during which nothing is lost.
import fs from 'node:fs'
import path from 'node:path'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { BATON, Broker, ROUTE, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { denied, read, refusalOf } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { Idp } from './lib/idp.js'
import { ROOT } from './lib/wire.js'

const delivery = { ...profile('x').delivery, lease_ms: 30000, resume_ms: 10000 }
const cluster = new Cluster(3, { admin: true, profiles: { [ROUTE]: profile(ROUTE, { delivery }) } })
const [a, b, c] = cluster.nodes
const made = []
const run = promisify(execFile)
const at = (node, ...args) => run(BATON, args, { env: { PATH: process.env.PATH, HOME: node.dir, BATON_ADMIN_ADDR: `unix:${node.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  .then((r) => ({ code: 0, ...r }), (e) => e)
const says = async (code, node, ...args) => { const r = await at(node, ...args); assert.equal(r.code, code, `${args.join(' ')}: ${r.stdout}${r.stderr}`); return r.stdout + r.stderr }
const status = async (by = op) => Object.fromEntries((await by.call('Status')).nodes.map((n) => [n.node, n]))
const drain = (by, node, more = {}) => by.call('Drain', { node: node.name, timeout_s: 20, reason: 'a test', ...more }, { timeout: 60000 })
const operator = (...args) => { const o = new Operator(...args); made.push(o); return o }
const agentOf = async (node, name) => node.agent(name, { token: await cluster.first.issuer.mint({ ...cluster.first.leaves[name], name }) })
let op, there

before(async () => {
  await cluster.start()
  op = operator(a.adminSocket)
  there = operator(b.adminSocket)
})
after(async () => {
  for (const o of made) o.close()
  for (const n of cluster.nodes) { try { n.signal('SIGCONT') } catch { /* it is gone */ } }
  try { await cluster.stop() } finally { await cluster.remove() }
})

async function back (node) { // it was ended
  node.launch()
  await node.ready()
  await until('it to be seen ready, alone under its name', async () => { const n = (await op.call('Status')).nodes.filter((x) => x.node === node.name); return n.length === 1 && n[0].ready }, 20000)
}

test('Status shows each node, the one that is asked first, and what it has: version, connections, when what of it ends', async () => {
  await until('all to be seen', async () => Object.values(await status()).filter((n) => n.ready).length === 3)
  const m = await there.call('Status')
  assert.deepEqual(m.nodes.map((n) => n.node), [b.name, a.name, c.name])
  assert.match(m.store_epoch, /^[1-9][0-9]*$/)
  assert.deepEqual([m.not_shown, m.drained], [0, false])
  for (const n of m.nodes) {
    assert.deepEqual([n.ready, n.not_ready, n.store_ok, n.draining, Number(n.next_crl_expiry_ms), Number(n.keys_good_until_ms)], [true, [], true, false, 0, 0])
    assert.ok(Number(n.started_at_ms) <= Date.now() && Number(n.certificate_expires_at_ms) > Date.now() + 86400000 && n.feed_lag_ms < 10000)
  }
  const planner = await agentOf(c, 'planner')
  await planner.submit(read(ROUTE))
  await until('its connection to be counted', async () => Number((await status())[c.name].peers) === 1)
  planner.close()
  await until('its end', async () => Number((await status())[c.name].peers) === 0)
  const version = (await says(0, a, 'version')).trim().split(/\s+/).find((w) => /^\d/.test(w))
  assert.equal((await status())[b.name].version, version)
})

test('baton node list and node show: columns, forms, exit codes', async () => {
  const lines = (await says(0, a, 'node', 'list')).trim().split('\n')
  assert.deepEqual(lines[0].split(/\s+/), ['NODE', 'READY', 'VERSION', 'PEERS', 'FEED-LAG', 'STORE', 'CERT-LEFT', 'CRL-LEFT', 'KEYS-LEFT'])
  assert.deepEqual(lines.slice(1).map((l) => l.split(/\s+/)[0]), [a.name, b.name, c.name])
  for (const l of lines.slice(1)) assert.match(l, /^Node-\d +yes +\S+ +0 +\d+(ms|s) +ok +4[0-9]h +- +-$/)
  assert.match(await says(0, a, 'node', 'list', '-o', 'wide'), /KEYS-LEFT +UP\n/)
  assert.deepEqual((await says(0, a, 'node', 'list', '-o', 'name')).trim().split('\n'), [a.name, b.name, c.name])
  assert.equal(JSON.parse(await says(0, a, 'node', 'list', '-o', 'json'))[1].node, b.name)
  const shown = await says(0, a, 'node', 'show', b.name)
  assert.match(shown, new RegExp(`^node: +${b.name}\nready: +yes\nversion: .*\nstarted: .*\npeers: +0\nfeed lag: +\\d+m?s\nstore: +ok\ncertificate: .* \\(\\d+h\\)\n$`))
  assert.match(await says(1, a, 'node', 'show', 'nobody'), /no such node/)
  assert.match(await says(64, a, 'node', 'drain', b.name), /needs --reason/)
  assert.match(await says(64, a, 'node', 'drain', b.name, '--reason', 'x', '--timeout', '11m'), /10 minutes at most/)
  assert.match(await says(1, a, 'node', 'drain', 'nobody', '--reason', 'x'), /there is none of this name/)
})

test('What is wrong with a node is seen: a certificate that ends, one that stands still is fenced / once it goes on it is ready', async () => {
  const until1h = new Date(Date.now() + 3600000)
  const short = cluster.first.serverCa.leaf('short', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth', until: until1h })
  c.writeConfig((t) => cluster.config(c, t).replace(cluster.first.server.cert, short.cert).replace(cluster.first.server.key, short.key))
  await c.reloaded()
  await until('its end to be seen', async () => Math.abs(Number((await status())[c.name].certificate_expires_at_ms) - until1h.getTime()) < 2000)
  assert.match(await says(0, a, 'node', 'list'), new RegExp(`${c.name} +yes .* ok +(59|60)m +`))
  b.signal('SIGSTOP')
  try {
    const n = await until('it to be fenced', async () => { const s = (await status())[b.name]; return !s.ready && s }, 20000)
    assert.ok(n.not_ready.includes('fenced') && n.feed_lag_ms >= 10000)
    assert.match(await says(0, a, 'node', 'list'), new RegExp(`${b.name} +no: fenced `))
    assert.match(await says(0, a, 'node', 'show', b.name), /ready: +no: fenced\n/)
    assert.match((await denied(drain(op, b), 'wrong_state')).message, /it was not heard of for 10 seconds.*SIGKILL/)
  } finally { b.signal('SIGCONT') }
  await until('it to be back', async () => (await status())[b.name].ready, 20000)
  c.writeConfig()
  await c.reloaded()
})

test('A node that is cut off from the store says so of itself, and the others say it of it; nothing is drained without the store', async () => {
  b.toStore.set('reset')
  try {
    const n = await until('it to say so', async () => { const s = (await status(there))[b.name]; return !s.store_ok && s }, 20000)
    assert.ok(!n.ready && n.not_ready.includes('store'))
    await denied(drain(there, a), 'store_unavailable')
    await until('it to say that it is fenced', async () => (await status(there))[b.name].not_ready.includes('fenced'), 20000)
    assert.ok((await status(there))[a.name].not_ready.includes('fenced'), 'what it knows of the others is as old')
    await until('the others to say so', async () => (await status())[b.name].not_ready.includes('fenced'), 20000)
    await denied(drain(there, a), 'store_unavailable')
    assert.match(await says(75, b, 'node', 'drain', a.name, '--reason', 'x'), /store_unavailable/)
  } finally { b.toStore.set('pass') }
  await until('it to be back', async () => (await status())[b.name].ready, 20000)
  assert.equal((await status())[a.name].draining, false)
  assert.equal(a.exit, null)
}, 90000)

test('I-5 A-4 Nodes belong to no tenant: who has his role for a tenant alone is refused both calls, and who is no sre the drain / for all tenants he has them', async () => {
  const person = (name) => cluster.first.person(name)
  const as = (name) => operator(a.adminAddr, person(name))
  const root = as('root')
  await op.init(person('root').spiffe)
  await root.grant('bound', ['platform', 'sre', 'auditor'], person('bound').spiffe, { tenant: 'acme' })
  for (const role of ['platform', 'sre', 'auditor']) await root.grant(role, role, person(role).spiffe)
  const bound = as('bound')
  for (const call of [bound.call('Status'), drain(bound, b), drain(bound, { name: 'nobody' })]) assert.match((await denied(call, 'role_denied')).message, /nodes are no tenant's.*single tenants alone/)
  for (const role of ['platform', 'auditor']) {
    assert.equal((await as(role).call('Status')).nodes.length, 3)
    await denied(drain(as(role), b), 'role_denied')
  }
  await denied(drain(as('sre'), { name: 'nobody' }), 'not_found')
  await denied(as('nobody').call('Status'), 'role_denied')
})

test('What a Drain asks for is refused by its field when it is wrong', async () => {
  const bad = [[{ reason: '' }, 'reason'], [{ reason: 'x\ny' }, ''], [{ timeout_s: 601 }, 'timeout_s'], [{ node: '' }, 'node'], [{ node: '../a' }, 'node'], [{ node: 'x'.repeat(64) }, 'node']]
  for (const [more, field] of bad) assert.match((await denied(drain(op, b, more), 'malformed_envelope')).message, new RegExp(field))
  assert.equal((await status())[b.name].draining, false)
})

// ---- whoever may write to Redis ----

const u = (n, v) => { const x = Buffer.alloc(n); x.writeUIntBE(v, 0, n); return x }
const record = (report, name, time = Date.now() + 60000) => Buffer.concat([u(6, time), u(6, 2 ** 47), u(2, report.length), report, Buffer.from(name)])
const field = (n, text) => Buffer.concat([Buffer.from([n << 3 | 2, Buffer.byteLength(text)]), Buffer.from(text)])

test('attack 24 Nonsense that somebody writes to Redis as what a node tells of itself: the node is shown with what is known, no control character comes to a terminal, nothing crashes', async () => {
  const lies = [
    ['garbage', Buffer.from('ff'.repeat(40), 'hex')], ['cut', Buffer.from('0a', 'hex')], ['escape', Buffer.concat([field(3, 'r1'), field(4, '\x1b[2J\x1b]0;owned\x07')])],
    ['long', Buffer.concat([field(3, 'r1'), field(4, 'v'.repeat(90))])], ['twice', Buffer.concat([field(4, 'a'), field(4, 'b'), field(3, 'r1')])], ['full', Buffer.alloc(512, 0x78)],
    ['time', Buffer.concat([field(3, 'r1'), Buffer.from([7 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])])], ['bytes', Buffer.concat([field(3, 'r1'), Buffer.from([0x22, 2, 0xc3, 0x28])])]
  ]
  for (const [name, report] of lies) await cluster.redis.call('HSET', '{/}:n', `lie-${name}`, record(report, name))
  await cluster.redis.call('HSET', '{/}:n', 'lie-name', record(Buffer.alloc(0), 'evil\x1b[31m'), 'lie-huge', record(Buffer.alloc(600), 'huge'), 'lie-short', 'x')
  await cluster.redis.call('HSET', '{/}:n', 'lie-true', record(Buffer.concat([field(3, 'r2'), field(4, '9.9'), Buffer.from([5 << 3, 0x80, 0x80, 4])]), 'newer'))
  try {
    const seen = await until('them to be seen', async () => { const s = await status(); return s.newer && lies.every(([name]) => s[name]) && s })
    for (const [name] of lies) assert.deepEqual([name, seen[name].ready, seen[name].not_ready, seen[name].version, seen[name].store_ok, Number(seen[name].started_at_ms)], [name, false, ['unknown'], '', false, 0])
    assert.deepEqual([seen.newer.version, seen.newer.not_ready], ['9.9', ['other']], 'a check that this version does not know')
    assert.deepEqual(Object.keys(seen).filter((n) => /evil|huge/.test(n)), [])
    const text = await says(0, a, 'node', 'list') + await says(0, a, 'node', 'show', 'escape') + await says(0, a, 'node', 'list', '-o', 'json')
    assert.ok(!/[\x00-\x09\x0b-\x1f\x7f]/.test(text), JSON.stringify(text))
    assert.match((await denied(drain(op, { name: 'garbage' }), 'wrong_state')).message, /tells nothing of itself that can be read/)
    const run = (await cluster.redis.call('GET', `{/}:node:${b.name}`)).toString() // a second node of its name, that is heard of
    await cluster.redis.call('HSET', '{/}:n', 'lie-twin', record(field(3, run), b.name))
    await until('it to be seen', async () => (await op.call('Status')).nodes.filter((n) => n.node === b.name).length === 2)
    assert.match((await denied(drain(op, b), 'wrong_state')).message, /two nodes have this name/)
  } finally { await cluster.redis.call('HDEL', '{/}:n', ...lies.map(([name]) => `lie-${name}`), 'lie-name', 'lie-huge', 'lie-short', 'lie-true', 'lie-twin') }
  await until('only those that there are', async () => Object.values(await status()).length === 3)
  for (const n of cluster.nodes) assert.equal(n.exit, null)
})

test('R-3 Of two nodes of one name, one that confirms a revocation and one that is silent, the command shows both and says which is which', async () => {
  const ghost = (confirmed) => Buffer.concat([u(6, Date.now()), u(6, confirmed), u(2, 0), Buffer.from('ghost')])
  await cluster.redis.call('HSET', '{/}:n', 'ghost-1', ghost(2 ** 47), 'ghost-2', ghost(0))
  try {
    await until('them to be seen', async () => (await op.call('Status')).nodes.filter((n) => n.node === 'ghost').length === 2)
    const text = await says(0, a, 'revoke', 'agent', 'gplanner', '--tenant', 'globex', '--reason', 'a test')
    assert.match(text, /^ghost +\d+ ms +0 +0 +true$/m)
    assert.match(text, /^ghost +- +0 +0 +silent for \d+ s: it has fenced itself/m)
    assert.match(text, /true on 4\/5 nodes/)
  } finally { await cluster.redis.call('HDEL', '{/}:n', 'ghost-1', 'ghost-2') }
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
  await until('only those that there are', async () => Object.values(await status()).length === 3)
})

test('More nodes than 64: the rest is counted', async () => {
  const names = Array.from({ length: 70 }, (_, i) => `many-${i}`)
  await cluster.redis.call('HSET', '{/}:n', ...names.flatMap((n) => [n, record(field(3, n), n)]))
  try {
    const m = await until('them to be seen', async () => { const s = await op.call('Status'); return s.not_shown && s })
    assert.deepEqual([m.nodes.length, m.not_shown, m.nodes[0].node], [64, 9, a.name])
    assert.match(await says(0, a, 'node', 'list'), /9 more nodes are not shown/)
  } finally { await cluster.redis.call('HDEL', '{/}:n', ...names) }
  await until('only those that there are', async () => Object.values(await status()).length === 3)
})

// ---- Drain ----

test('T7 Drain: agents work through two nodes while one of them goes; nothing is lost or done twice, its workers go on at the other, its process ends with 0 / started again it stays', async () => {
  const planners = [await agentOf(a, 'planner'), await agentOf(b, 'planner')], workers = [await agentOf(a, 'worker'), await agentOf(b, 'worker2')]
  const sent = [], done = new Map()
  let going = true
  const send = async (agent, i) => {
    while (going && sent.length < 2000) {
      await agent.submit(read(ROUTE)).then(({ handoff_id }) => sent.push(handoff_id), () => { if (i) agent = planners[0] })
      await sleep(3)
    }
  }
  const work = async (agent) => {
    let resume = []
    for (;;) {
      const s = await agent.subscribe({ routes: [ROUTE], max_in_flight: 4, ...(resume.length ? { resume } : {}) })
      const held = []
      while (!s.ended) {
        const notice = s.items.find((f) => f.notice?.kind === 'NOTICE_KIND_DRAINING')
        if (notice) break
        const d = await s.delivery(500).catch(() => null)
        if (!d) { if (!going && done.size >= sent.length) { s.cut(); return } continue }
        held.push(d.lease)
        await sleep(5)
        const r = await s.complete(d).catch(() => ({ ok: false }))
        if (r.ok) done.set(d.lease.handoff_id, (done.get(d.lease.handoff_id) || 0) + 1)
      }
      resume = held.filter((l) => !done.has(l.handoff_id))
      s.cut()
      agent = workers[0]
    }
  }
  const loops = [...planners.map(send), ...workers.map(work)]
  await until('work through both', () => done.size > 50, 20000)
  const before = sent.length
  const m = await drain(op, b)
  assert.deepEqual([m.drained, m.nodes.map((n) => n.node)], [true, [a.name, c.name]])
  assert.deepEqual(await b.exited, { code: 0, signal: null })
  assert.match(b.log(), /"event":"node\.drain".*\n(.*\n)*.*"event":"node\.draining"/)
  await until('more to be sent', () => sent.length > before + 20, 20000)
  going = false
  await until('all to be done', () => done.size >= sent.length, 30000)
  await Promise.all(loops)
  const planner = planners[0]
  for (const id of sent) assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_COMPLETED')
  assert.deepEqual([...done.values()].filter((n) => n !== 1), [])
  await a.audited({ event: 'node.drain', outcome: 'allow', message: `node ${b.name} drains: a test` })
  await a.audited({ event: 'rpc', rpc: 'Drain', message: `node ${b.name} has gone` })
  await back(b)
  await cluster.redis.call('HSET', '{/}:m', 'inc', 'another') // all that there is comes again, the old drain too
  await sleep(3000)
  assert.deepEqual([b.exit, (await status())[b.name].draining], [null, false])
  for (const agent of [...planners, ...workers]) agent.close()
}, 120000)

test('T7 An old drain, and one whose record somebody puts back into Redis, does nothing / the next one that is asked for does', async () => {
  const old = await cluster.redis.call('HGET', '{/}:s', `drain/${b.name}`)
  const m = await drain(op, b)
  assert.equal(m.drained, true)
  assert.deepEqual(await b.exited, { code: 0, signal: null })
  await back(b)
  const now = await cluster.redis.call('HGET', '{/}:s', `drain/${b.name}`)
  assert.notDeepEqual(old, now)
  for (const one of [old, now]) {
    await cluster.redis.call('HSET', '{/}:s', `drain/${b.name}`, one, `drain/${c.name}`, one)
    await cluster.redis.call('HINCRBY', '{/}:m', 'g', 5)
    const g = Number(await cluster.redis.call('HGET', '{/}:m', 'g'))
    await cluster.redis.call('ZADD', '{/}:z', g, `drain/${b.name}`, g, `drain/${c.name}`)
    await sleep(1500)
  }
  assert.deepEqual([b.exit, c.exit, (await status())[b.name].draining, (await status())[c.name].draining], [null, null, false, false])
}, 90000)

test('A node that is asked to drain itself answers before it goes; asked again it is said too, and no other way', async () => {
  const self = operator(c.adminSocket)
  const m = await drain(self, c, { timeout_s: 0 })
  assert.deepEqual([m.drained, m.nodes[0].node, m.nodes[0].draining, m.nodes[0].ready], [false, c.name, true, false])
  assert.deepEqual(await c.exited, { code: 0, signal: null })
  await back(c)
  const worker = await agentOf(c, 'worker') // holds it up
  const s = await worker.subscribe({ routes: [ROUTE] })
  const first = await drain(op, c, { timeout_s: 0 })
  assert.equal(first.drained, false)
  const shown = first.nodes.find((n) => n.node === c.name)
  assert.deepEqual([shown.draining, shown.not_ready.includes('draining')], [true, true])
  assert.match(await says(75, a, 'node', 'drain', c.name, '--reason', 'again', '--timeout', '1s'), /the node has not gone yet/)
  const said = () => a.audit().filter((r) => r.event === 'node.drain' && r.message.startsWith(`node ${c.name} `)).length
  assert.equal(said(), 1, 'it drains already')
  s.cut()
  worker.close()
  const last = await at(a, 'node', 'drain', c.name, '--reason', 'again')
  assert.match(last.stdout + last.stderr, /Node-2 drained|there is none of this name/) // it may be off before it is asked
  assert.equal(said(), 1)
  assert.deepEqual(await c.exited, { code: 0, signal: null })
  await back(c)
}, 90000)

test('A node that stands still when it is told to go does so once it goes on; until then it is said to drain', async () => {
  c.signal('SIGSTOP')
  let m
  try {
    m = await drain(op, c, { timeout_s: 1 })
    assert.equal(m.drained, false)
    assert.match(await says(75, a, 'node', 'drain', c.name, '--reason', 'x', '--timeout', '1s'), /it drains all the same/)
    assert.match(await says(0, a, 'node', 'show', c.name), /ready: +no: draining(, fenced)?\ndraining: +yes\n/)
  } finally { c.signal('SIGCONT') }
  assert.equal(await drain(op, c).then((r) => r.drained, (e) => refusalOf(e).reason === 'not_found'), true) // it may be off before it is asked
  assert.deepEqual(await c.exited, { code: 0, signal: null })
  await back(c)
}, 60000)

test('A store that was emptied knows no drain of before: a node that is drained then goes at once, and another one next', async () => {
  for (const node of [b, c, b]) {
    const { store_epoch } = await op.call('Status')
    await cluster.redis.call('DEL', '{/}:s', '{/}:z', '{/}:m')
    await until('them to have heard of it', async () => { const m = await op.call('Status'); return m.store_epoch !== store_epoch && m.nodes.length === 3 && m.nodes.every((n) => n.ready) }, 20000)
    assert.equal((await drain(op, node)).drained, true)
    assert.deepEqual(await node.exited, { code: 0, signal: null })
    await back(node)
  }
  for (const n of cluster.nodes) assert.equal(n.exit, null)
}, 90000)

test('A store that is emptied while a node is to go is not taken for its end / asked again, it goes', async () => {
  c.signal('SIGSTOP')
  try {
    const asked = denied(drain(op, c, { reason: 'emptied' }), 'store_unavailable')
    await a.audited({ event: 'node.drain', outcome: 'allow', message: `node ${c.name} drains: emptied` })
    await cluster.redis.call('DEL', '{/}:s', '{/}:z', '{/}:m', '{/}:n')
    assert.match((await asked).message, /the store was emptied, or failed over, meanwhile.*ask again/)
  } finally { c.signal('SIGCONT') }
  await until('it to be seen as ready', async () => (await status())[c.name]?.ready, 30000)
  // who had heard of it gives the store what it lost, which is a change by somebody else: then he who asks is told to ask again, and it may be off by that
  const again = (e) => { const { reason } = refusalOf(e); if (reason === 'not_found') return true; assert.equal(reason, 'wrong_state', e.message) }
  await until('it to go', () => drain(op, c).then((r) => r.drained, again))
  assert.deepEqual(await c.exited, { code: 0, signal: null })
  await back(c)
}, 90000)

test('The commands of the README for nodes do what it says', async () => {
  const block = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/```sh\n(baton node [^`]*)```/)[1].replaceAll('node-b', b.name)
  const { stdout } = await run('/bin/bash', ['-ec', block], { env: { PATH: `${path.dirname(BATON)}:${process.env.PATH}`, HOME: a.dir, BATON_ADMIN_ADDR: `unix:${a.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  assert.match(stdout, new RegExp(`^NODE [^]*\n${b.name} drained\n$`))
  assert.deepEqual(await b.exited, { code: 0, signal: null })
  await back(b)
})

test('The last node that is ready is not drained, unless that is said; a node that is not ready does not count', async () => {
  await drain(op, b)
  await b.exited
  c.signal('SIGSTOP')
  try {
    await until('only one to be ready', async () => Object.values(await status()).filter((n) => n.ready).length === 1, 20000)
    assert.match((await denied(drain(op, a), 'wrong_state')).message, /last: it is the last node that is ready, nothing would be served/)
    assert.match(await says(1, a, 'node', 'drain', a.name, '--reason', 'x'), /--last/)
  } finally { c.signal('SIGCONT') }
  await until('the other to be back', async () => (await status())[c.name].ready, 20000)
  // two who ask at once, each for the node that the other leaves
  const at2 = operator(c.adminSocket)
  const both = await Promise.allSettled([drain(op, c, { timeout_s: 0 }), drain(at2, a, { timeout_s: 0 })])
  assert.deepEqual(both.map((r) => r.status).sort(), ['fulfilled', 'rejected'])
  const gone = both[0].status === 'fulfilled' ? c : a, left = gone === c ? a : c
  assert.deepEqual(await gone.exited, { code: 0, signal: null })
  assert.match(await says(0, left, 'node', 'drain', left.name, '--reason', 'the end', '--last'), new RegExp(`${left.name} drained\n`))
  assert.deepEqual(await left.exited, { code: 0, signal: null })
  for (const n of cluster.nodes) n.launch()
  for (const n of cluster.nodes) await n.ready()
  await until('all to be back', async () => Object.values(await status()).filter((n) => n.ready).length === 3, 20000)
}, 90000)

test('A single node with its own Redis: it shows itself, is drained by --last alone, ends with 0, and serves when it is started again', async () => {
  const one = new Broker()
  try {
    const [planner] = await one.startWith('planner')
    const { handoff_id } = await planner.submit(read(ROUTE))
    assert.match(await says(0, one, 'node', 'list', '--no-headers'), /^test-node +yes /)
    assert.match(await says(1, one, 'node', 'drain', 'test-node', '--reason', 'x'), /the last node/)
    assert.match(await says(0, one, 'node', 'drain', 'test-node', '--reason', 'x', '--last'), /test-node drained/)
    assert.deepEqual(await one.exited, { code: 0, signal: null })
    await one.start()
    assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
    await sleep(2500)
    assert.equal(one.exit, null)
  } finally { await one.remove() }
})

test('The CRL and the keys of an issuer that end first are shown, and a certificate that has ended keeps a node from being ready', async () => {
  const [sooner, later] = [3600000, 7200000].map((ms) => new Date(Math.floor((Date.now() + ms) / 1000) * 1000))
  let cert
  const one = new Broker({
    idp: async (x) => new Idp({ ca: x.serverCa.cert, agentsCa: x.acme.cert, server: x.server, agents: [x.leaves.planner] }).start(),
    config: (t) => ['acme', 'globex'].reduce((text, d) => text.replace(`{domain: ${d}.example, bundle: ${JSON.stringify(one[d].cert)}}`, `{domain: ${d}.example, bundle: ${JSON.stringify(one[d].cert)}, crl: ${JSON.stringify(one.path(`${d}.crl`))}}`), cert ? t.replace(one.server.cert, cert.cert).replace(one.server.key, cert.key) : t)
  })
  const op = operator(one.adminSocket)
  try {
    await one.prepare()
    one.acme.crl(one.path('acme.crl'), [], { to: later })
    one.globex.crl(one.path('globex.crl'), [], { to: sooner })
    await one.start()
    const own = async () => (await op.call('Status')).nodes[0]
    const n = await until('its keys', async () => { const s = await own(); return Number(s.keys_good_until_ms) && s })
    assert.equal(Number(n.next_crl_expiry_ms), sooner.getTime())
    const { issuer } = await op.call('Get', { kind: 'issuer', name: 'corp' }, { service: 'ResourceService' })
    assert.equal(n.keys_good_until_ms, issuer.keys_good_until_ms)
    assert.match(await says(0, one, 'node', 'list', '--no-headers'), /^test-node +yes +\S+ +0 +\S+ +ok +\d+h +(59|60)m +\d+[hm]$/m)
    cert = one.serverCa.leaf('brief', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth', until: new Date(Date.now() + 12000) })
    one.writeConfig()
    await one.reloaded()
    const bad = await until('its end', async () => { const s = await own(); return !s.ready && s }, 25000)
    assert.deepEqual(bad.not_ready, ['certificate'])
    assert.match(await says(0, one, 'node', 'list'), /^test-node +no: certificate .* ended +/m)
    assert.match(await says(0, one, 'node', 'drain', 'test-node', '--reason', 'nobody gets in', '-q'), /drained/) // it is not ready: nothing is lost by it
    assert.deepEqual(await one.exited, { code: 0, signal: null })
  } finally { await one.remove() }
})
