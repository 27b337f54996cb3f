// Who hears what becomes of agents, role bindings, issuers, tenants and trust bundles? Watches of them, on one node and on two, until they may no longer.
import fs from 'node:fs'
import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import path from 'node:path'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { denied, refusalOf } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { Operator } from './lib/operator.js'
import { ROOT } from './lib/wire.js'

const AUDIENCE = 'baton-operators'
const options = { admin: true, workers: 1, profiles: { [ROUTE]: profile(ROUTE), second: profile('second') }, config: (t) => t.replace('tls:\n', `admin:\n  audience: ${AUDIENCE}\ntls:\n`) }
const b = new Broker(options)
const made = []
const people = {}
const all = ['platform', 'sre', 'auditor']
let local, root

const person = (name) => (people[name] ||= b.person(name))
const operator = (name, at = b, more) => { const o = new Operator(at.adminAddr, person(name), more); made.push(o); return o }
before(async () => {
  await b.start()
  local = new Operator(b.adminSocket)
  made.push(local)
  await local.init(person('root').spiffe)
  root = operator('root')
})
after(async () => { for (const o of made) o.close(); await b.remove() })

const kinds = { agent: 'agent', role: 'role', issuer: 'issuer', tenant: 'tenant', trust: 'bundle' }
const nameOf = (r) => { const s = r.agent || r.role || r.issuer || r.tenant || r.bundle; return s.trust_domain && r.bundle ? s.trust_domain : s.name }
const spec = (name, more = {}) => ({ tenant: 'acme', name, spiffe_id: `spiffe://acme.example/${name}`, owner: 'team-w', ...more })
const put = (kind, value, version = '', by = root) => by.call('Apply', { resources: [{ version, [kind]: value }], reason: 'a test' })
const get = (name, kind = 'agent', by = root, tenant = 'acme') => by.call('Get', { kind, tenant: kind === 'agent' ? tenant : '', name }, { service: 'ResourceService' })
const change = async (name, more, by = root, tenant = 'acme') => { const r = await get(name, 'agent', by, tenant); return put('agent', { ...r.agent, ...more }, r.version, by) }
const remove = async (name, kind, by = root) => by.call('Delete', { ref: { kind, name, tenant: kind === 'agent' ? 'acme' : '' }, version: (await get(name, kind, by)).version, reason: 'a test' })

// What a watch says, as it comes: `now` by name what is there, `said` all of it, `whole` once it was told that this was all.
class Watch {
  constructor (by, kind, more = {}, opts = {}) {
    Object.assign(this, { said: [], now: new Map(), whole: false, end: null })
    this.call = by.clients.find((c) => c.Rollback).Watch({ kind, ...more }, by.meta(opts))
    this.call.on('data', (r) => this.take(r)).on('error', (e) => { this.end = refusalOf(e) }).on('end', () => { this.end ||= { code: 'OK' } })
    made.push(this)
  }

  take (r) {
    if (!r.spec) { this.whole = true; return }
    const key = r.agent ? `${r.agent.tenant}/${r.agent.name}` : nameOf(r)
    this.said.push(r)
    if (r.removed) this.now.delete(key)
    else this.now.set(key, r)
  }

  get names () { return [...this.now.keys()].sort() }
  all () { return until('all of it', () => this.whole || this.end).then(() => { assert.equal(this.end, null, JSON.stringify(this.end)); return this }) }
  has (what, fn) { return until(what, () => { assert.equal(this.end, null, JSON.stringify(this.end)); return fn(this) }) }
  ended () { return until('its end', () => this.end) }
  close () { this.call.cancel() }
}
const listed = async (by, kind, more = {}) => (await by.call('List', { kind, page_size: 200, ...more })).resources.map((r) => (r.agent ? `${r.agent.tenant}/${r.agent.name}` : nameOf(r))).sort()

test('A-5 What a watch says first is what List shows, of each kind; then each change, and what goes by its name', async () => {
  await put('agent', spec('first', { labels: { stage: 'test' } }))
  const w = {}
  for (const kind of Object.keys(kinds)) {
    w[kind] = await new Watch(root, kind).all()
    assert.deepEqual(w[kind].names, await listed(root, kind), kind)
  }
  assert.deepEqual(w.agent.now.get('acme/first').agent, (await get('first')).agent)
  assert.equal(w.agent.now.get('acme/planner').is_static, true)
  await change('first', { rate_per_s: 7 })
  await w.agent.has('the rate', (x) => x.now.get('acme/first').agent.rate_per_s === 7)
  assert.deepEqual(w.agent.now.get('acme/first').version, '2')
  await remove('first', 'agent')
  await w.agent.has('it to be retired, as List shows it', (x) => x.now.get('acme/first').agent.status === 'AGENT_STATUS_RETIRED')
  await root.grant('eyes', ['auditor'], person('eyes').spiffe)
  await w.role.has('the role', (x) => x.now.get('eyes')?.role.roles[0] === 'auditor')
  await root.ungrant('eyes')
  await w.role.has('it to go', (x) => !x.now.has('eyes'))
  const gone = w.role.said.at(-1)
  assert.deepEqual([gone.removed, gone.role.name, gone.role.roles, gone.version, gone.role.spiffe_id], [true, 'eyes', [], '', ''])
  await put('issuer', { name: 'corp', url: 'https://corp.issuer.example', tenants: ['acme'], jwks: fs.readFileSync(b.issuer.file) })
  await w.issuer.has('the issuer', (x) => x.now.has('corp'))
  await remove('corp', 'issuer')
  await w.issuer.has('it to go', (x) => !x.now.has('corp'))
  const ca = new Ca(b.path('pki'), 'umbrella', { uri: 'spiffe://umbrella.example' })
  await put('bundle', { trust_domain: 'umbrella.example', anchors_der: [new X509Certificate(fs.readFileSync(ca.cert)).raw] })
  await w.trust.has('the bundle', (x) => x.now.has('umbrella.example'))
  await remove('umbrella.example', 'trust')
  await w.trust.has('it to go', (x) => !x.now.has('umbrella.example'))
  await put('tenant', { name: 'newco', max_waiting: 3 })
  await w.tenant.has('the tenant', (x) => Number(x.now.get('newco')?.tenant.max_waiting) === 3)
  await put('agent', spec('ours', { tenant: 'later' }))
  await w.tenant.has('one that an agent names', (x) => x.now.has('later'))
  await root.call('Delete', { ref: { kind: 'agent', tenant: 'later', name: 'ours' }, version: '1', reason: 'x' })
  await w.tenant.has('it to go, when none does', (x) => !x.now.has('later') && x.said.at(-1).removed)
  for (const kind of Object.keys(kinds)) await until(kind, async () => { assert.deepEqual(w[kind].names, await listed(root, kind)); return true })
  assert.equal((await b.audited({ event: 'rpc', outcome: 'allow', rpc: 'Watch' })).spiffe_id, person('root').spiffe)
  for (const x of Object.values(w)) x.close()
})

test('Labels and a tenant choose: what no longer has them is removed, what never had them is not named / pages and unknown kinds are refused', async () => {
  await put('agent', spec('red', { labels: { colour: 'red' } }))
  await put('agent', spec('blue', { labels: { colour: 'blue' } }))
  const w = await new Watch(root, 'agent', { labels: { colour: 'red' } }).all()
  const acme = await new Watch(root, 'agent', { tenant: 'globex' }).all()
  assert.deepEqual(w.names, ['acme/red'])
  await change('blue', { rate_per_s: 1 })
  await change('red', { labels: { colour: 'green' } })
  await w.has('red to go', (x) => !x.now.size)
  assert.deepEqual(w.said.map((r) => [r.agent.name, r.removed, r.agent.spiffe_id]), [['red', false, 'spiffe://acme.example/red'], ['red', true, '']])
  await change('blue', { labels: { colour: 'red' } })
  await w.has('blue to come', (x) => x.now.has('acme/blue'))
  assert.deepEqual(acme.said.filter((r) => r.agent.tenant !== 'globex'), [])
  const none = await new Watch(root, 'role', { labels: { a: 'b' } }).all()
  assert.deepEqual(none.names, [])
  none.close()
  for (const [more, field] of [[{ page_size: 1 }, /page_size, page_token: a watch has no pages/], [{ page_token: 'x' }, /page_size, page_token/]]) {
    const { reason, message } = await new Watch(root, 'agent', more).ended()
    assert.equal(reason, 'malformed_envelope')
    assert.match(message, field)
  }
  assert.equal((await new Watch(root, 'route').ended()).reason, 'malformed_envelope')
  w.close()
  acme.close()
})

test('Of many changes the last state is told, not each: and what came and went in between need not be', async () => {
  await put('agent', spec('busy'))
  const w = await new Watch(root, 'agent').all()
  for (let i = 1; i <= 40; i++) await change('busy', { rate_per_s: i })
  await w.has('the last', (x) => x.now.get('acme/busy').agent.rate_per_s === 40)
  const told = w.said.filter((r) => r.agent.name === 'busy').map((r) => r.agent.rate_per_s)
  assert.deepEqual(told, [...told].sort((x, y) => x - y))
  assert.ok(told.length <= 41)
  w.close()
})

test('I-5 A-4 O-1 A watch is for the roles that its comment in admin.proto names, and for nobody else', async () => {
  const line = fs.readFileSync(path.join(ROOT, 'proto/baton/v1/admin.proto'), 'utf8').match(/rpc Watch\(ListResourcesRequest\).*\/\/ (.*)$/m)[1]
  assert.equal(line, 'P S U')
  await root.grant('app', ['platform', 'sre'], person('other').spiffe)
  for (const role of all) {
    await root.grant(`only-${role}`, [role], person(role).spiffe)
    const w = await new Watch(operator(role), 'agent').all()
    assert.ok(w.names.length)
    w.close()
  }
  const none = await new Watch(operator('nobody'), 'agent').ended()
  assert.deepEqual([none.reason, none.code], ['role_denied', 'PERMISSION_DENIED'])
  const agents = new Operator(b.adminAddr, { ...b.leaves.planner, trust: b.serverCa.cert })
  made.push(agents)
  assert.equal((await new Watch(agents, 'agent').ended()).reason, 'role_denied')
})

test('B1 attack 6: Of another tenant nothing is ever sent, not even that something went / what is his tenant\'s is', async () => {
  await root.grant('acme', ['platform'], person('acme').spiffe, { tenant: 'acme' })
  await put('agent', spec('theirs', { tenant: 'globex', spiffe_id: 'spiffe://globex.example/theirs' }))
  const by = operator('acme')
  const w = {}
  for (const kind of ['agent', 'tenant', 'issuer']) {
    w[kind] = await new Watch(by, kind).all()
    assert.deepEqual(w[kind].names, await listed(by, kind))
  }
  const named = await new Watch(by, 'agent', { tenant: 'globex' }).all()
  for (const kind of ['role', 'trust']) assert.match((await new Watch(by, kind).ended()).message, /of single tenants alone: a binding without a tenant is needed/)
  const issuer = (tenants) => ({ name: 'partner', url: 'https://partner.issuer.example', tenants, jwks: fs.readFileSync(b.issuer.file), tenant_values: Object.fromEntries(tenants.map((t) => [`${t}-outside`, t])) })
  await change('theirs', { rate_per_s: 3 }, root, 'globex')
  await put('issuer', issuer(['globex']))
  await put('issuer', issuer(['globex', 'acme']), '1')
  await w.issuer.has('the issuer, by what is his', (x) => x.now.has('partner'))
  assert.deepEqual([w.issuer.now.get('partner').issuer.tenants, w.issuer.now.get('partner').issuer.tenant_values, w.issuer.now.get('partner').updated_by], [['acme'], { 'acme-outside': 'acme' }, ''])
  await put('issuer', issuer(['globex']), '2')
  await w.issuer.has('it to go, for him', (x) => !x.now.has('partner'))
  await put('tenant', { name: 'globex', max_waiting: 5 })
  await root.call('Delete', { ref: { kind: 'agent', tenant: 'globex', name: 'theirs' }, version: '2', reason: 'x' })
  await remove('partner', 'issuer')
  await put('agent', spec('mine'))
  await w.agent.has('his own', (x) => x.now.has('acme/mine'))
  await sleep(700)
  for (const x of [...Object.values(w), named]) assert.doesNotMatch(JSON.stringify(x.said), /globex|theirs/)
  assert.deepEqual(w.issuer.said.filter((r) => r.issuer.name === 'partner').map((r) => r.removed), [false, true])
  assert.deepEqual(named.said, [])
  for (const x of [...Object.values(w), named]) x.close()
  await remove('globex', 'tenant')
})

test('I-7 O-4 attack 12: Who loses his roles in the middle is told nothing more: the watch ends with what a new one is denied with; who loses one tenant is told that it went', async () => {
  await root.grant('leaver', ['auditor'], person('leaver').spiffe)
  await root.grant('half-a', ['auditor'], person('half').spiffe, { tenant: 'acme' })
  await root.grant('half-g', ['auditor'], person('half').spiffe, { tenant: 'globex' })
  await put('agent', spec('theirs', { tenant: 'globex', spiffe_id: 'spiffe://globex.example/theirs2' }))
  await put('agent', spec('kept'))
  const w = await new Watch(operator('leaver'), 'agent').all(), half = await new Watch(operator('half'), 'agent').all(), stays = await new Watch(root, 'agent').all()
  assert.ok(half.now.has('globex/theirs'))
  await root.ungrant('leaver')
  const before = w.said.length
  const [ended, anew] = [await w.ended(), await new Watch(operator('leaver'), 'agent').ended()]
  assert.deepEqual([ended.reason, ended.code, ended.message], [anew.reason, anew.code, anew.message])
  assert.equal(ended.reason, 'role_denied')
  await b.audited({ event: 'decision', outcome: 'deny', reason: 'role_denied', rpc: 'Watch', spiffe_id: person('leaver').spiffe })
  await root.ungrant('half-g')
  await half.has('the tenant to go', (x) => ![...x.now.keys()].some((k) => k.startsWith('globex/')))
  await change('theirs', { rate_per_s: 9 }, root, 'globex')
  await change('kept', { rate_per_s: 9 })
  await half.has('his own', (x) => x.now.get('acme/kept')?.agent.rate_per_s === 9)
  await stays.has('both', (x) => x.now.get('globex/theirs').agent.rate_per_s === 9)
  assert.deepEqual(half.names, await listed(operator('half'), 'agent'))
  assert.equal(w.said.length, before)
  assert.ok(!half.now.has('globex/theirs'))
  half.close()
  stays.close()
})

test('I-1 I-2 A watch ends when its token does, and when the person is revoked / with a token that lasts it goes on', async () => {
  await root.grant('by-token', ['auditor'], { issuer: 'static', claim: 'sub', value: 'user-ana' })
  await put('agent', spec('lasting'))
  const p = person('tokened')
  const mint = (seconds) => b.issuer.mint(p, { aud: AUDIENCE, sub: 'user-ana', exp: Math.floor(Date.now() / 1000) + seconds })
  const [brief, long] = [await mint(20), await mint(600)]
  const a = await new Watch(operator('tokened', b, { token: brief }), 'agent').all(), z = await new Watch(operator('tokened', b, { token: long }), 'agent').all()
  const ended = await until('its end', () => a.end, 90000)
  assert.deepEqual([ended.reason, ended.code], ['expired_token', 'UNAUTHENTICATED'])
  await change('lasting', { rate_per_s: 11 })
  await z.has('the other goes on', (x) => x.now.get('acme/lasting').agent.rate_per_s === 11)
  await root.revoke({ subject: 'user-ana', within: 'static' })
  assert.equal((await z.ended()).reason, 'revoked')
  await root.ungrant('by-token')
}, 120000)

test('T2 Who does not read is told the last state alone once he does, and the node keeps no queue for him; no more watches are kept than it says', async () => {
  const big = { owner: 'x'.repeat(200), labels: Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`l${i}`, 'y'.repeat(250)])) }
  for (let i = 0; i < 320; i += 16) await root.call('Apply', { reason: 'x', resources: Array.from({ length: 16 }, (_, k) => ({ agent: spec(`slow-${i + k}`, big) })) })
  const by = operator('root', b, { options: { 'grpc-node.flow_control_window': 65535 } })
  const w = new Watch(by, 'agent')
  w.call.pause()
  await sleep(300)
  const rss = () => Number(fs.readFileSync(`/proc/${b.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1])
  const early = rss()
  for (let round = 1; round <= 3; round++) {
    for (let i = 0; i < 320; i += 16) {
      await root.call('Apply', { reason: 'x', resources: Array.from({ length: 16 }, (_, k) => ({ version: String(round), agent: spec(`slow-${i + k}`, { ...big, rate_per_s: round }) })) })
    }
  }
  const grown = rss() - early
  w.call.resume()
  await until('all of it as it is now', () => [...w.now.values()].filter((r) => r.agent.name.startsWith('slow-') && r.agent.rate_per_s === 3).length === 320, 20000)
  assert.ok(w.said.length < 320 * 3, `${w.said.length} were sent`)
  if (!process.env.SANITIZE) assert.ok(grown < 64 * 1024, `${grown} KiB`)
  w.close()
  const many = []
  await until('the last one to be gone', async () => {
    for (const x of many.splice(0)) x.close()
    for (let i = 0; i < 32; i++) many.push(new Watch(i % 2 ? root : by, 'tenant'))
    for (const x of many) await until('an answer', () => x.whole || x.end)
    return many.every((x) => x.whole)
  }, 20000)
  const { reason, code, message } = await new Watch(root, 'tenant').ended()
  assert.deepEqual([reason, code], ['quota_exceeded', 'RESOURCE_EXHAUSTED'])
  assert.match(message, /as many watches as this worker of the node keeps: 32/)
  for (const x of many.splice(0, 4)) x.close() // 28: room for who sees all tenants alone
  await until('room', async () => { const x = new Watch(root, 'tenant'); await until('an end', () => x.whole || x.end); x.close(); return x.whole })
  assert.equal((await new Watch(operator('half'), 'agent').ended()).reason, 'quota_exceeded')
  many[0].close()
  await until('room', async () => { const x = new Watch(root, 'tenant'); await until('an end', () => x.whole || x.end); x.close(); return x.whole })
  for (const x of many) x.close()
  await root.grant('of-globex', ['auditor'], person('gwatch').spiffe, { tenant: 'globex' })
  const same = []
  await until('8 of those who see the same', async () => {
    for (const x of same.splice(0)) x.close()
    for (let i = 0; i < 8; i++) same.push(new Watch(operator('half'), 'agent'))
    for (const x of same) await until('an answer', () => x.whole || x.end)
    return same.every((x) => x.whole)
  }, 20000)
  assert.match((await new Watch(operator('half'), 'agent').ended()).message, /of those who see the same of them 8/)
  same.push(await new Watch(operator('gwatch'), 'agent').all())
  for (const x of same) x.close()
}, 120000)

test('A reload that changes what stands in the configuration is told too, and a drain ends each watch', async () => {
  const w = await until('a watch', async () => { const x = new Watch(root, 'agent'); await until('an answer', () => x.whole || x.end); return x.whole ? x : null })
  assert.ok(w.now.has('acme/planner'))
  const rows = b.agentRows
  b.agentRows = rows.map((r) => (r.name === 'planner' && r.tenant === 'acme' ? { ...r, call: false, serve: true } : r))
  b.writeConfig()
  assert.equal((await b.reload()).outcome, 'allow')
  await w.has('planner to serve', (x) => x.now.get('acme/planner')?.agent.may_serve.length)
  b.agentRows = rows.filter((r) => !(r.name === 'planner' && r.tenant === 'acme'))
  b.writeConfig()
  assert.equal((await b.reload()).outcome, 'allow')
  await w.has('planner to go', (x) => !x.now.has('acme/planner'))
  b.agentRows = rows
  b.writeConfig()
  await b.reload()
  await w.has('planner to be back', (x) => x.now.get('acme/planner')?.agent.may_call.length)
  await b.stop()
  assert.match((await w.ended()).code, /UNAVAILABLE|CANCELLED/)
  await b.start()
}, 60000)

// baton in the background: what it printed so far.
const baton = (at, ...args) => {
  const p = spawn(BATON, args, { env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${at.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  const r = { out: '', err: '', p, lines: () => r.out.trim().split('\n') }
  p.stdout.on('data', (d) => { r.out += d })
  p.stderr.on('data', (d) => { r.err += d })
  r.exit = new Promise((done) => p.on('close', (code) => done(code)))
  return r
}

test('list --watch prints a line for each change, as a table and as JSON; takes it up again after a restart, and says what went meanwhile; ^C ends it with 130', async () => {
  const op = new Operator(b.adminSocket)
  made.push(op)
  await put('agent', spec('shown'), '', op)
  const table = baton(b, 'agent', 'list', '--watch'), json = baton(b, 'agent', 'list', '--watch', '-o', 'jsonl'), roles = baton(b, 'role', 'list', '--watch'), name = baton(b, 'trust', 'list', '--watch', '-o', 'name')
  await until('the tables', () => /^planner +acme +active/m.test(table.out) && json.out.includes('"planner"') && /^first +platform/m.test(roles.out) && name.out.includes('acme.example'))
  assert.match(table.out, /^NAME +TENANT +STATUS/)
  await change('shown', { status: 'AGENT_STATUS_QUARANTINED' }, op)
  await until('the line', () => /^shown +acme +quarantined/m.test(table.out))
  await until('the line of JSON', () => json.lines().map((l) => JSON.parse(l)).some((r) => r.agent?.name === 'shown' && /quarantined/i.test(r.agent.status)))
  root = operator('root')
  await root.grant('brief', ['auditor'], person('brief').spiffe)
  await until('the role', () => /^brief +auditor/m.test(roles.out))
  await root.ungrant('brief')
  await until('it to go', () => /^brief +removed/m.test(roles.out))
  await root.grant('offline', ['auditor'], person('brief').spiffe)
  await until('it', () => /^offline +auditor/m.test(roles.out))
  const lines = table.lines().length
  for (const x of [table, json, roles, name]) x.p.kill('SIGSTOP')
  await root.ungrant('offline') // while nobody reads; then the connection goes too
  await b.stop()
  await b.start()
  for (const x of [table, json, roles, name]) x.p.kill('SIGCONT')
  await until('what went meanwhile', () => /^offline +removed/m.test(roles.out), 60000)
  const again = new Operator(b.adminSocket)
  made.push(again)
  await change('shown', { status: 'AGENT_STATUS_ACTIVE' }, again)
  await until('it to be taken up again', () => /^shown +acme +active/m.test(table.out.slice(table.out.lastIndexOf('quarantined'))), 60000)
  assert.match(table.err, /watching anew/)
  assert.equal((table.out.match(/^NAME /mg) || []).length, 1)
  assert.ok(table.lines().length <= lines + 1 + b.agentRows.length, 'what was the same is not printed again')
  for (const x of [table, json, roles, name]) {
    x.p.kill('SIGINT')
    assert.equal(await x.exit, 130, x.err)
  }
  const bad = baton(b, 'agent', 'list', '--watch', '-o', 'json')
  assert.equal(await bad.exit, 64)
}, 180000)

test('Two nodes: a watch on one tells what was changed by the other; while Redis is away an operator is told that this node does not know / when it is back a new one has it all', async () => {
  const cluster = new Cluster(2, { ...options, config: (n, t) => options.config(t) })
  try {
    await cluster.start()
    const [one, two] = cluster.nodes
    const [here, there] = cluster.nodes.map((n) => new Operator(n.adminSocket))
    made.push(here, there)
    const p = one.person('root')
    await here.init(p.spiffe)
    const remote = new Operator(two.adminAddr, { ...p, trust: one.serverCa.cert })
    made.push(remote)
    await until('the role to be known', () => remote.call('List', { kind: 'role' }).then(() => true, () => false))
    const w = await new Watch(remote, 'agent').all(), at = await new Watch(there, 'agent').all()
    await put('agent', spec('new'), '', here)
    for (const x of [w, at]) await x.has('what the other node registered', (y) => y.now.has('acme/new'))
    await here.call('Rollback', { ref: { kind: 'agent', tenant: 'acme', name: 'new' }, to_version: '1', reason: 'x' })
    await change('new', { rate_per_s: 4 }, here)
    for (const x of [w, at]) await x.has('and changed', (y) => y.now.get('acme/new').agent.rate_per_s === 4)
    await cluster.redis.kill()
    const ended = await until('its end', () => w.end, 30000)
    assert.deepEqual([ended.reason, ended.code], ['store_unavailable', 'UNAVAILABLE'])
    assert.match(ended.message, /has not heard of changes for too long/)
    assert.equal(at.end, null, 'on the admin socket it goes on')
    await cluster.redis.start()
    const anew = await until('a new one', async () => { const x = new Watch(remote, 'agent'); await until('an answer', () => x.whole || x.end); return x.whole ? x : null }, 30000)
    await until('the other node to have its store too', () => change('new', { rate_per_s: 5 }, here).then(() => true, () => false), 30000)
    for (const x of [anew, at]) await x.has('what came since', (y) => y.now.get('acme/new').agent.rate_per_s === 5)
  } finally { await cluster.remove() }
}, 180000)
