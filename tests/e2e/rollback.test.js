// How does a resource become again what it was? Agents, role bindings, issuers, tenants and trust bundles are set back to an older version, by the judges of today.
import fs from 'node:fs'
import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { denied, read, refused } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { Operator } from './lib/operator.js'

const names = ['first', 'second']
const rows = [{ name: 'planner', tenant: 'acme', call: true }, ...names.map((name) => ({ name, tenant: 'acme', absent: true }))]
const without = (t) => t.replace(new RegExp(`  - \\{name: (${names.join('|')}),.*\\n`, 'g'), '')
const b = new Broker({ admin: true, agents: rows, profiles: { [ROUTE]: profile(ROUTE), second: profile('second') }, config: without })
const made = []
const people = {}
let local, root

const person = (name) => (people[name] ||= b.person(name))
const operator = (name) => { const o = new Operator(b.adminAddr, person(name)); made.push(o); return o }
before(async () => {
  await b.start()
  local = new Operator(b.adminSocket)
  made.push(local)
  await local.init(person('root').spiffe)
  root = operator('root')
})
after(async () => { for (const o of made) o.close(); await b.remove() })

const run = (at, ...args) => new Promise((done) => {
  const p = spawn(BATON, args, { env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${at.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  let out = ''
  for (const x of [p.stdout, p.stderr]) x.on('data', (d) => { out += d })
  p.on('close', (status) => done({ status, out }))
})
const exits = async (code, ...args) => { const r = await run(b, ...args); assert.equal(r.status, code, `${args.join(' ')}: ${r.out}`); return r.out }
const says = (...args) => exits(0, ...args)
const of = (name, kind = 'agent') => (kind === 'agent' ? { kind, tenant: 'acme', name } : { kind, name })
const spec = (name, more = {}) => ({ tenant: 'acme', name, spiffe_id: `spiffe://acme.example/${name}`, owner: 'team-refunds', may_call: [ROUTE], may_originate: true, ...more })
const put = (kind, value, version = '', by = root) => by.call('Apply', { resources: [{ version, [kind]: value }], reason: 'a test' })
const get = (name, kind, by = local) => by.call('Get', of(name, kind), { service: 'ResourceService' })
const change = async (name, more, by = local) => { const r = await get(name, 'agent', by); return put('agent', { ...r.agent, ...more }, r.version, by) }
const history = async (name, kind) => (await local.call('History', of(name, kind))).resources
const back = (name, to, more = {}, by = root, kind = 'agent') => by.call('Rollback', { ref: of(name, kind), to_version: String(to), reason: 'as it was', ...more })
const remove = async (name, kind) => root.call('Delete', { ref: of(name, kind), version: (await get(name, kind)).version, reason: 'a test' })
const says404 = (p) => p.then((m) => JSON.stringify(m), (e) => `${e.code} ${e.details}`)

test('A-5 O-4 What an agent may do becomes again what it was in the version that is named, at once, and it stands in the history and the audit / a dry run changes nothing', async () => {
  await says('agent', 'register', 'first', '--tenant', 'acme', '--id', 'spiffe://acme.example/first', '--owner', 'team-refunds', '--call', ROUTE, '--label', 'stage=test', '--cert-max-ttl', '1h', '--reason', 'new')
  const first = await b.agent('first')
  await first.submit(read(ROUTE))
  const was = await get('first')
  await says('agent', 'update', 'first', '--call', 'second', '--rate', '7', '--owner', 'nobody', '--ceiling', 'orders:read', '--label', 'stage=prod', '--expires', '1h', '--cert-max-ttl', '2h', '--reason', 'a slip')
  await denied(first.submit(read(ROUTE)), 'route_denied')
  const tried = await says('agent', 'rollback', 'first', '--to-version', '1', '--reason', 'a try', '--dry-run')
  assert.match(tried, new RegExp(`^first of acme updated\n(?:  .*\n)*  may_call: second -> ${ROUTE}\n`))
  assert.equal((await get('first')).version, '2')
  const out = await says('agent', 'rollback', 'first', '--to-version', '1', '--incident', 'INC-7', '--reason', 'the slip is undone')
  for (const line of [/^first of acme updated$/m, new RegExp(`^  may_call: second -> ${ROUTE}$`, 'm'), /^ {2}owner: nobody -> team-refunds$/m, /^ {2}rate_per_s: 7 -> 0$/m, /true on 1\/1 nodes/]) assert.match(out, line)
  await first.submit(read(ROUTE))
  const is = await get('first')
  assert.deepEqual(is.agent, was.agent)
  assert.deepEqual([is.version, is.reason], ['3', 'the slip is undone'])
  const said = () => b.audit().filter((r) => r.event === 'agents.changed' && r.rpc === 'Rollback')
  const line = await until('it to be written down', () => said().find((r) => r.message.includes('INC-7')))
  assert.match(line.message, new RegExp(`^updated acme/first \\(.*may_call: second -> ${ROUTE}.*\\): set back to version 1, for incident INC-7: the slip is undone$`))
  assert.match(line.remote, /^uid=\d+ pid=\d+$/)
  assert.match(said()[0].message, /\(dry run\): set back to version 1: a try$/)
  assert.match(await says('agent', 'history', 'first'), /^3 .* the slip is undone$/m)
  assert.match(await says('agent', 'rollback', 'first', '--to-version', '3', '--reason', 'the present one'), /^first of acme unchanged$/m)
  assert.match(await says('agent', 'rollback', 'first', '--to-version', '1', '--reason', 'the same'), /^first of acme unchanged$/m)
  assert.equal((await get('first')).version, '3')
})

test('A version that is none is refused, and says by which field: no number, not kept, not made yet, of what is not there, of the configuration; no reason', async () => {
  for (const to of ['', '0', '01', '-1', '1.0', '1 ', 'one', '9'.repeat(16), '18446744073709551617']) assert.match((await denied(back('first', to), 'malformed_envelope')).message, /to_version: the number of one of the versions/)
  for (const to of [4, 77, '9'.repeat(15)]) assert.match((await denied(back('first', to), 'not_found')).message, /to_version: \d+ is not kept: the last 64 are, see its history/)
  assert.match((await denied(back('first', 1, { reason: '' }), 'malformed_envelope')).message, /reason: /)
  assert.match((await denied(back('first', 1, { incident_id: 'x'.repeat(129) }), 'malformed_envelope')).message, /incident_id: at most 128 bytes/)
  assert.match((await denied(back('first', 1, { ref: null }), 'malformed_envelope')).message, /ref: /)
  await denied(back('first', 1, { ref: { kind: 'route', name: 'x' } }), 'malformed_envelope')
  for (const kind of ['agent', 'role', 'issuer', 'tenant', 'trust']) await denied(back('nobody', 1, {}, root, kind), 'not_found')
  assert.match((await denied(back('planner', 1), 'wrong_state')).message, /it stands in the configuration file/)
  assert.match((await denied(back('static', 1, {}, root, 'issuer'), 'wrong_state')).message, /configuration file/)
  assert.match((await denied(back('acme', 1, {}, root, 'tenant'), 'wrong_state')).message, /nothing of its own was ever kept/)
  assert.match(await exits(64, 'agent', 'rollback', 'first', '--reason', 'x'), /needs --to-version: `baton agent history first` shows them/)
  assert.match(await exits(64, 'agent', 'rollback', 'first', '--to-version', '1'), /needs --reason/)
  assert.match(await exits(1, 'agent', 'rollback', 'nobody', '--to-version', '1', '--reason', 'x'), /no such agent/)
  await put('agent', spec('many'))
  for (let i = 1; i <= 70; i++) await change('many', { rate_per_s: i })
  assert.match((await denied(back('many', 2), 'not_found')).message, /2 is not kept/)
  const kept = await history('many')
  await back('many', kept.at(-1).version)
  assert.equal((await get('many')).agent.rate_per_s, kept.at(-1).agent.rate_per_s)
})

test('I-7 It is no release from quarantine, and no way back from retirement; a name that was registered again inherits nothing / what the agent of today was comes back', async () => {
  await put('agent', spec('second'))
  await change('second', { rate_per_s: 5, status: 'AGENT_STATUS_QUARANTINED' })
  const second = await b.agent('second')
  const quarantined = await get('second')
  await back('second', 1)
  const is = await get('second')
  assert.deepEqual([is.agent.status, is.agent.rate_per_s, is.agent.uuid, is.agent.registered_at_ms], ['AGENT_STATUS_QUARANTINED', 0, quarantined.agent.uuid, quarantined.agent.registered_at_ms])
  await denied(second.submit(read(ROUTE)), 'unknown_peer')
  await change('second', { status: 'AGENT_STATUS_ACTIVE' })
  await back('second', 2) // in which it was quarantined
  assert.deepEqual([(await get('second')).agent.status, (await get('second')).agent.rate_per_s], ['AGENT_STATUS_ACTIVE', 5])
  await second.submit(read(ROUTE))
  await remove('second', 'agent')
  const retired = await get('second')
  for (const to of [1, 4, retired.version]) assert.match((await denied(back('second', to), 'wrong_state')).message, /ref: the agent was retired, which cannot be undone: register it anew/)
  assert.equal((await get('second')).version, retired.version)
  await put('agent', spec('second', { may_call: ['second'] }))
  const anew = await get('second')
  for (const to of [1, 5, retired.version]) assert.match((await denied(back('second', to), 'wrong_state')).message, /to_version: that was another agent, who had the name before .* nothing of it is inherited/)
  assert.deepEqual((await get('second')).agent, anew.agent)
  await change('second', { max_in_flight: 9 })
  await back('second', anew.version)
  assert.deepEqual((await get('second')).agent, anew.agent)
  assert.ok(Number(anew.agent.certificates_from_ms) > 0)
})

test('A-1 I-5 What an old version has is judged as if it were applied now: a route or a trust domain that is gone, an id that is another one\'s by now / once that is mended it is taken', async () => {
  const ca = new Ca(b.path('pki'), 'initech', { uri: 'spiffe://initech.example' })
  const bundle = { trust_domain: 'initech.example', anchors_der: [new X509Certificate(fs.readFileSync(ca.cert)).raw] }
  await put('bundle', bundle)
  await put('agent', spec('mover', { spiffe_id: 'spiffe://initech.example/mover', may_call: ['second'] }))
  await change('mover', { spiffe_id: 'spiffe://acme.example/mover', may_call: [ROUTE] })
  await remove('initech.example', 'trust')
  assert.match((await denied(back('mover', 1), 'not_found')).message, /: agent\.spiffe_id: nobody vouches for trust domain initech\.example/)
  await back('initech.example', 1, {}, root, 'trust')
  assert.deepEqual((await get('initech.example', 'trust')).bundle.anchors, 1)
  await put('agent', spec('taker', { spiffe_id: 'spiffe://initech.example/mover' }))
  assert.match((await denied(back('mover', 1), 'wrong_state')).message, /: agent\.spiffe_id: it is that of agent taker/)
  await remove('taker', 'agent')
  const { second } = b.profiles
  delete b.profiles.second
  b.writeProfiles()
  b.writeConfig()
  assert.equal((await b.reload()).outcome, 'allow')
  assert.match((await denied(back('mover', 1), 'not_found')).message, /: agent\.may_call: tenant acme has no route second: add its profile first/)
  assert.deepEqual([(await get('mover')).version, (await get('mover')).agent.may_call], ['2', [ROUTE]])
  b.profiles.second = second
  b.writeProfiles()
  b.writeConfig()
  await b.reload()
  await back('mover', 1)
  const { agent } = await get('mover')
  assert.deepEqual([agent.spiffe_id, agent.may_call], ['spiffe://initech.example/mover', ['second']])
  assert.ok(Number(agent.certificates_from_ms) > Date.now() - 60000, 'another had the id meanwhile: its old certificates are none of this agent')
  await remove('mover', 'agent')
})

test('I-5 A-4 Nobody gives by it a role that he has not, nor on the admin socket / who has it does, and a role that was taken away comes into being again', async () => {
  await root.grant('ops', ['sre'], person('ops').spiffe)
  await root.grant('team', ['platform', 'sre'], person('team').spiffe)
  await root.grant('team', ['sre'], person('team').spiffe, {}, '1')
  await root.grant('half', ['platform'], person('half').spiffe)
  const ops = operator('ops'), team = operator('team'), half = operator('half')
  assert.match((await denied(back('team', 1, {}, half, 'role'), 'role_denied')).message, /nobody gives or takes away a role that he has not.*has not sre/)
  for (const v of [1, 2]) assert.match((await denied(back('team', v, {}, ops, 'role'), 'role_denied')).message, /needs the role platform/) // also what he has himself: Apply would not let him either
  await denied(back('team', 1, { dry_run: true }, ops, 'role'), 'role_denied')
  assert.match((await denied(back('team', 1, {}, local, 'role'), 'role_denied')).message, /not given or taken away on the admin socket/)
  assert.match(await exits(77, 'role', 'rollback', 'team', '--to-version', '1', '--reason', 'x'), /admin socket/)
  assert.deepEqual((await get('team', 'role')).role.roles, ['sre'])
  await denied(team.call('Apply', { resources: [{ agent: spec('never') }], reason: 'x' }), 'role_denied')
  await back('team', 1, {}, root, 'role')
  await denied(team.call('Apply', { resources: [], reason: 'x' }), 'malformed_envelope') // platform again
  await remove('team', 'role')
  await denied(team.call('ListRoutes'), 'role_denied')
  assert.match((await denied(back('team', 4, {}, root, 'role'), 'wrong_state')).message, /to_version: 4 is the one by which it was removed: to have it removed again use Delete, to have it back name an older version/)
  await denied(back('team', 2, {}, ops, 'role'), 'role_denied')
  const { changes: [c] } = await back('team', 2, {}, root, 'role')
  assert.deepEqual([c.action, c.version, c.ref.name], ['granted', '5', 'team'])
  await team.call('ListRoutes')
  await until('its line', () => b.audit().some((r) => r.event === 'roles.changed' && r.rpc === 'Rollback' && r.spiffe_id === person('root').spiffe && /^granted role\/team \(.*\): set back to version 2: as it was$/.test(r.message)))
})

test('I-2 I-5 An issuer, or a bundle, on which roles rest is set back by who has them; what was removed comes into being again, with its limits and keys', async () => {
  const issuer = (more = {}) => ({ name: 'corp', url: 'https://corp.issuer.example', tenants: ['acme'], jwks: fs.readFileSync(b.issuer.file), ...more })
  await put('issuer', issuer())
  await put('issuer', issuer({ tenants: ['acme', 'globex'] }), '1')
  await root.grant('by-token', ['platform'], { issuer: 'corp', claim: 'groups', value: 'ops' })
  const ops = operator('ops')
  assert.match((await denied(back('corp', 1, {}, ops, 'issuer'), 'role_denied')).message, /has not platform for all tenants \(role binding by-token\)/)
  await back('corp', 1, {}, root, 'issuer')
  assert.deepEqual((await get('corp', 'issuer')).issuer.tenants, ['acme'])
  await root.ungrant('by-token')
  await remove('corp', 'issuer')
  await put('issuer', issuer({ name: 'other' }))
  assert.match((await denied(back('corp', 2, {}, ops, 'issuer'), 'wrong_state')).message, /: issuer\.url: it is that of issuer other/)
  await remove('other', 'issuer')
  const { changes: [c] } = await back('corp', 2, {}, ops, 'issuer')
  assert.deepEqual([c.action, c.version], ['added', '5'])
  assert.deepEqual([(await get('corp', 'issuer')).issuer.tenants, (await get('corp', 'issuer')).issuer.keys > 0], [['acme', 'globex'], true])
  assert.match(await says('issuer', 'rollback', 'corp', '--to-version', '1', '--reason', 'fewer'), /^corp updated\n(?: {2}.*\n)* {2}tenants: acme, globex -> acme\n/)
  await says('tenant', 'create', 'newco', '--max-waiting', '10', '--reason', 'x')
  await says('tenant', 'limit', 'newco', '--max-waiting', '20', '--reason', 'x')
  await says('tenant', 'rollback', 'newco', '--to-version', '1', '--reason', 'x')
  assert.equal(Number((await get('newco', 'tenant')).tenant.max_waiting), 10)
  await says('tenant', 'remove', 'newco', '--yes', '--reason', 'x')
  assert.match(await says('tenant', 'rollback', 'newco', '--to-version', '2', '--reason', 'x'), /^newco created$/m)
  const old = new Ca(b.path('pki'), 'hooli-old', { uri: 'spiffe://hooli.example' }), young = new Ca(b.path('pki'), 'hooli-young', { uri: 'spiffe://hooli.example' })
  await says('trust', 'add', 'hooli.example', '--bundle', old.cert, '--reason', 'x')
  await root.grant('hooli', ['auditor', 'platform'], 'spiffe://hooli.example/ops/eve')
  await put('bundle', { trust_domain: 'hooli.example', anchors_der: [new X509Certificate(fs.readFileSync(young.cert)).raw] }, '1')
  await denied(back('hooli.example', 1, {}, ops, 'trust'), 'role_denied')
  await exits(77, 'trust', 'rollback', 'hooli.example', '--to-version', '1', '--reason', 'x')
  await back('hooli.example', 1, {}, root, 'trust')
  await root.ungrant('hooli')
  assert.match(await says('trust', 'rollback', 'hooli.example', '--to-version', '2', '--reason', 'x'), /^hooli\.example updated$/m)
})

test('B1 attack 6: What is of another tenant is not there to be set back: answered as a name that never was / his own agents an operator of one tenant sets back', async () => {
  await root.grant('acme', ['platform'], person('acme').spiffe, { tenant: 'acme' })
  const acme = operator('acme')
  await put('agent', { ...spec('hidden'), tenant: 'globex', spiffe_id: 'spiffe://globex.example/hidden', may_call: [] })
  for (const more of [{}, { dry_run: true }]) {
    const asked = (tenant, name) => says404(acme.call('Rollback', { ref: { kind: 'agent', tenant, name }, to_version: '1', reason: 'x', ...more }))
    assert.match(await asked('globex', 'hidden'), /^5 not_found: no such agent/)
    assert.equal(await asked('globex', 'hidden'), await asked('globex', 'never'))
    assert.equal(await asked('globex', 'hidden'), await asked('nowhere', 'never'))
    assert.equal(await asked('', 'hidden'), await asked('', 'never'))
  }
  for (const kind of ['role', 'issuer', 'tenant', 'trust']) for (const name of ['first', 'corp', 'newco', 'never']) assert.match(await says404(back(name, 1, {}, acme, kind)), /^7 role_denied: .* of single tenants alone: a binding without a tenant is needed/)
  await change('first', { rate_per_s: 77 })
  await back('first', 1, {}, acme)
  assert.equal((await get('first')).agent.rate_per_s, 0)
})

test('R-5 A version that was changed in Redis, or stands in the place of another, is refused and nothing is set back / its neighbours are taken', async () => {
  await put('agent', spec('sealed'))
  for (let i = 1; i <= 5; i++) await change('sealed', { rate_per_s: i })
  const key = '{/}:v:agent/acme/sealed' // versions 5, 4, 3, 2, 1
  const record = (r, i) => r.call('LINDEX', key, String(i)).then((x) => Buffer.from(x))
  const numbered = (bytes, version) => { const out = Buffer.from(bytes); out.writeUIntBE(version, 0, 6); return out }
  await b.redis(async (r) => {
    const four = await record(r, 1), flipped = await record(r, 2), other = await r.call('HGET', '{/}:s', 'agent/acme/first')
    flipped[flipped.length - 1] ^= 1
    await r.call('LSET', key, '0', numbered(four, 5)) // what 4 was, called 5
    await r.call('LSET', key, '2', flipped)
    await r.call('LSET', key, '3', numbered(other, 2)) // another agent's
  })
  for (const to of [5, 3, 2]) assert.match((await denied(back('sealed', to), 'wrong_state')).message, new RegExp(`to_version: ${to} does not open: its key is gone, or it was changed in the store`))
  assert.deepEqual([(await get('sealed')).version, (await get('sealed')).agent.rate_per_s], ['6', 5])
  await b.redis(async (r) => r.call('LSET', key, '3', Buffer.from('short')))
  assert.match((await denied(back('sealed', 2), 'not_found')).message, /2 is not kept/)
  await back('sealed', 4)
  assert.equal((await get('sealed')).agent.rate_per_s, 3)
  await back('sealed', 1)
  assert.equal((await get('sealed')).agent.rate_per_s, 0)
})

test('Several nodes: what is set back on one holds on both; of two at once, or of one and a change, one is told; a Redis that dies on the way leaves it whole, before or after', async () => {
  const cluster = new Cluster(2, { agents: rows, profiles: { [ROUTE]: profile(ROUTE), second: profile('second') }, config: (n, t) => without(t) })
  try {
    await cluster.start()
    const ops = cluster.nodes.map((n) => new Operator(n.adminSocket))
    made.push(...ops)
    await put('agent', spec('first'), '', ops[0])
    await change('first', { may_call: ['second'], spiffe_id: 'spiffe://acme.example/second' }, ops[1])
    const r = await run(cluster.first, 'agent', 'rollback', 'first', '--to-version', '1', '--reason', 'back')
    assert.equal(r.status, 0, r.out)
    assert.match(r.out, /true on 2\/2 nodes/)
    for (const op of ops) assert.deepEqual((await get('first', 'agent', op)).agent.may_call, [ROUTE])
    await change('first', { max_in_flight: 3 }, ops[0])
    for (let i = 0; i < 5; i++) {
      const { version } = await get('first', 'agent', ops[0])
      const two = await Promise.allSettled([back('first', 1, {}, ops[0]), back('first', 2, {}, ops[1])])
      const lost = two.filter((x) => x.status === 'rejected')
      for (const x of lost) assert.match(x.reason.details, /^wrong_state: .*somebody else changed one of these at the same time/)
      await until('both to know', async () => (await Promise.all(ops.map((op) => get('first', 'agent', op)))).every((x) => Number(x.version) === Number(version) + 2 - lost.length))
      await change('first', { max_in_flight: 10 + i }, ops[0])
    }
    // Redis dies while it is asked: whatever came of it, the agent and whose its SPIFFE id is go together
    for (const ms of [0, 1, 2, 4, 8]) {
      const was = await get('first', 'agent', ops[0])
      const to = was.agent.spiffe_id.endsWith('second') ? 1 : 2
      const asked = refused(back('first', to, {}, ops[0]).then(() => { throw Object.assign(new Error('done'), { details: 'done' }) })).catch(() => null)
      await new Promise((resolve) => setTimeout(resolve, ms))
      await cluster.redis.kill()
      await cluster.redis.start()
      await asked
      await until('the nodes to be one again', async () => { const [x, y] = await Promise.all(ops.map((op) => get('first', 'agent', op))); return x.version === y.version })
      const done = await until('an answer', () => back('first', to, {}, ops[1]).catch((e) => (/store_unavailable|wrong_state/.test(e.details) ? null : Promise.reject(e))), 20000)
      assert.ok(['updated', 'unchanged'].includes(done.changes[0].action))
      for (const op of ops) {
        const is = await until('it to know', async () => { const x = await get('first', 'agent', op); return x.agent.spiffe_id.endsWith(to === 1 ? 'first' : 'second') && x })
        assert.deepEqual(is.agent.may_call, [to === 1 ? ROUTE : 'second'])
      }
      const free = to === 1 ? 'second' : 'first'
      const probe = () => put('agent', spec('probe', { spiffe_id: `spiffe://acme.example/${free}` }), '', ops[0])
      await until('this node to have Redis again', () => probe().then(() => true, (e) => (/store_unavailable/.test(e.details) ? false : /is there already/.test(e.details) || Promise.reject(e))), 20000)
      await ops[0].call('Delete', { ref: of('probe'), version: (await get('probe', 'agent', ops[0])).version, reason: 'x' })
      assert.match((await refused(put('agent', spec('thief', { spiffe_id: is(to) }), '', ops[0]))).message, /it is that of agent first/)
    }
  } finally { await cluster.remove() }
  function is (to) { return `spiffe://acme.example/${to === 1 ? 'first' : 'second'}` }
}, 180000)
