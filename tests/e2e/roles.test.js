// Who may operate the broker, as what, and who says so? Operators on listen.admin with certificates and tokens, roles, the first of them and their end.
import fs from 'node:fs'
import path from 'node:path'
import { spawn, spawnSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, BATOND, ROUTE, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Idp } from './lib/idp.js'
import { denied, read, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { ROOT } from './lib/wire.js'
import { freePort } from './lib/ports.js'

const AUDIENCE = 'baton-operators'
const withAudience = (t) => t.replace('tls:\n', `admin:\n  audience: ${AUDIENCE}\ntls:\n`)
const b = new Broker({ admin: true, profiles: { [ROUTE]: profile(ROUTE), shared: profile('shared') }, config: withAudience })
const people = {}
const made = []
let local, first, planner
let young, there // a node on which nobody has a role yet, and its admin socket

const person = (name) => (people[name] ||= b.person(name))
const operator = (name, opts, at = b) => { const o = new Operator(at.adminAddr, person(name), opts); made.push(o); return o }
const all = ['platform', 'sre', 'auditor']
const init = (by, spiffe_id, more) => by.init(spiffe_id, all, more)
const env = (extra = {}) => ({ PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99', ...extra })
const mark = (x) => x.path('state', 'admin-initialised')

before(async () => {
  await b.prepare()
  young = await b.twin('young')
  await Promise.all([b.start(), young.start()])
  planner = await b.agent('planner')
  local = new Operator(b.adminSocket)
  there = new Operator(young.adminSocket)
  made.push(local, there)
  await init(local, person('root').spiffe)
  first = operator('root')
  await appoint()
})
after(async () => { for (const o of made) o.close(); await young?.remove(); await b.remove() })

// ---- the first role ----

test('Before there is a role nobody has one: on listen.admin each call is role_denied, and says how the first is made / the admin socket is served', async () => {
  const r = await denied(operator('ana', {}, young).call('ListRoutes'), 'role_denied', 'PERMISSION_DENIED')
  assert.match(r.message, /needs the role platform or sre or auditor, and nobody has one yet: .*baton admin init/)
  await young.audited({ event: 'decision', outcome: 'deny', reason: 'role_denied', rpc: 'ListRoutes', spiffe_id: person('ana').spiffe, certificate_sha256: person('ana').thumbprint })
  assert.ok((await there.call('ListRoutes')).routes.length)
})

test('The admin socket gives no role away, nor is the first one made elsewhere, or for what may not stand in it', async () => {
  for (const roles of [['auditor'], all]) assert.match((await denied(there.grant('mine', roles, person('ana').spiffe), 'role_denied')).message, /not given or taken away on the admin socket/)
  assert.equal((await refused(init(operator('ana', {}, young), person('ana').spiffe))).code, 'UNIMPLEMENTED')
  await denied(init(there, 'spiffe://acme.example/*'), 'malformed_envelope')
  await denied(init(there, person('ana').spiffe, { roles: ['root'] }), 'malformed_envelope')
  await denied(there.call('InitAdmin', { role: { name: 'first', roles: all, spiffe_id: person('ana').spiffe } }), 'malformed_envelope')
  await denied(init(there, '', { issuer: 'nobody', claim: 'groups', value: 'x' }), 'not_found')
  assert.match((await denied(init(there, 'spiffe://acme.exmaple/ops/ana'), 'not_found')).message, /role\.spiffe_id: nobody vouches for trust domain acme\.exmaple: add its bundle/) // it is made once: a slip would leave nobody
  assert.equal(fs.existsSync(mark(young)), false)
})

test('Who opens the admin socket makes the first one, once: a second is refused, with what to do / the first holds at once', async () => {
  const baton = (...words) => spawnSync(BATON, words, { encoding: 'utf8', env: env({ BATON_ADMIN_ADDR: `unix:${young.adminSocket}` }) })
  const says = (code, ...words) => { const r = baton(...words); assert.equal(r.status, code, `${words.join(' ')}: ${r.stdout}${r.stderr}`); return r.stdout + r.stderr }
  const args = ['--role', 'platform', '--role', 'sre', '--role', 'auditor', '--spiffe-id', person('root').spiffe, '--reason', 'the beginning']
  assert.match(says(64, 'admin', 'init', ...args.slice(2).filter((a) => !all.includes(a) && a !== '--role')), /needs --role/)
  assert.match(says(0, 'admin', 'init', ...args), /^first granted\n(?:.*\n)*.*roles: platform, sre, auditor/)
  assert.equal(fs.statSync(mark(young)).mode & 0o777, 0o600)
  const root = operator('root', {}, young)
  assert.ok((await root.call('ListRoutes')).routes.length)
  const again = baton('admin', 'init', '--name', 'second', ...args)
  assert.equal(again.status, 1, again.stderr)
  assert.match(again.stderr, /a first role binding was made before: .*LOST ADMINISTRATORS in batond\(8\)/)
  await young.audited({ event: 'roles.changed', rpc: 'InitAdmin', roles: 'platform', message: `granted role/first (name: first; roles: platform, sre, auditor; spiffe_id: ${person('root').spiffe}): the beginning` })
  await young.audited({ event: 'rpc', rpc: 'ListRoutes', spiffe_id: person('root').spiffe, roles: 'platform,sre,auditor' })
})

test('Two first ones at once, on two nodes and on one: one is made, and each node that hears of it leaves the mark', async () => {
  const cluster = new Cluster(2, { admin: true, workers: 1 })
  try {
    await cluster.start()
    const ops = [...cluster.nodes, cluster.nodes[0]].map((n) => new Operator(n.adminSocket))
    made.push(...ops)
    const answers = await Promise.allSettled(ops.map((o, i) => init(o, `spiffe://acme.example/ops/n${i}`, { name: `n${i}` })))
    assert.deepEqual(answers.map((a) => a.status).sort(), ['fulfilled', 'rejected', 'rejected'])
    for (const a of answers.filter((x) => x.status === 'rejected')) assert.match(a.reason.details, /^wrong_state: /)
    for (const n of cluster.nodes) await until(`the mark of ${n.name}`, () => fs.existsSync(mark(n)))
    assert.equal((await ops[0].call('List', { kind: 'role' }, { service: 'ResourceService' })).resources.length, 1)
  } finally { await cluster.remove() }
}, 90000)

test('An emptied Redis does not open it again: the mark refuses / root who removes it makes another first one, as the manual says', async () => {
  const x = await b.twin('empties')
  const op = new Operator(x.adminSocket)
  made.push(op)
  await x.start()
  try {
    await init(op, person('root').spiffe)
    await x.stop()
    fs.rmSync(x.path('state', 'redis'), { recursive: true })
    await x.start()
    await denied(operator('root', {}, x).call('ListRoutes'), 'role_denied')
    await denied(init(op, person('eve').spiffe), 'wrong_state')
    await x.stop()
    fs.rmSync(mark(x))
    await x.start()
    await init(op, person('root').spiffe)
    await x.redis(async (r) => { await r.call('HDEL', '{/}:s', 'role-init'); await r.call('ZREM', '{/}:z', 'role-init') })
    await denied(init(op, person('eve').spiffe, { name: 'other' }), 'wrong_state')
    await x.stop()
    fs.rmSync(mark(x))
    await x.start()
    await init(op, person('ben').spiffe, { name: 'other' })
    assert.equal((await operator('ben', {}, x).call('List', { kind: 'role' })).resources.length, 2)
  } finally { await x.remove() }
}, 90000)

test('An approver is one of a route: the role is kept and shown, is given by who has it, and makes no call', async () => {
  const x = await b.twin('approving')
  const op = new Operator(x.adminSocket)
  made.push(op)
  await x.start()
  try {
    await init(op, person('root').spiffe, { roles: ['platform', 'approver:acme/shared'] })
    const root = operator('root', {}, x)
    await root.grant('app', 'approver:acme/shared', person('app').spiffe, { tenant: 'acme' })
    await denied(root.grant('other', 'approver:acme/other', person('app').spiffe), 'role_denied')
    await denied(root.grant('other', 'approver:globex/shared', person('app').spiffe), 'role_denied')
    assert.deepEqual((await root.role('app')).role.roles, ['approver:acme/shared'])
    const app = operator('app', {}, x)
    for (const row of rows) assert.match((await denied(app.call(row[1], row[3], { service: row[0] }), 'role_denied')).message, /ops\/app has approver: /)
    await root.ungrant('app')
  } finally { await x.remove() }
}, 60000)

test('A mark that cannot be made or looked for refuses, and nothing is done / once it can, the first one is made', async () => {
  const x = await b.twin('unwritable', { as: 65534 })
  const op = new Operator(x.adminSocket)
  made.push(op)
  fs.chmodSync(b.dir, 0o711)
  await share(x)
  await x.start()
  try {
    fs.chmodSync(x.path('state'), 0o500)
    assert.match((await denied(init(op, person('root').spiffe), 'store_unavailable')).message, /admin-initialised cannot be made: Permission denied/)
    fs.chmodSync(x.path('state'), 0o700)
    fs.symlinkSync('admin-initialised', mark(x))
    assert.match((await denied(init(op, person('root').spiffe), 'store_unavailable')).message, /cannot be looked for/)
    fs.rmSync(mark(x))
    assert.equal((await op.call('List', { kind: 'role' })).resources.length, 0)
    await init(op, person('root').spiffe)
  } finally { await x.remove() }
}, 60000)

// What a twin takes from the first broker's folder, copied into its own, so that another uid can read it.
async function share (x) {
  const copies = [[b.server.cert, 'server.pem'], [b.server.key, 'server.key'], [b.acme.cert, 'acme.pem'], [b.globex.cert, 'globex.pem'], [b.issuer.file, 'keys.jwks'], [b.serverCa.cert, 'ca.pem']]
  for (const [from, name] of copies) fs.copyFileSync(from, x.path('pki', name))
  for (const name of ['server.key']) fs.chmodSync(x.path('pki', name), 0o600)
  x.writeConfig((t) => copies.reduce((text, [from, name]) => text.replaceAll(JSON.stringify(from), JSON.stringify(x.path('pki', name))), t))
}

// baton by mutual TLS, as this person: its exit code and what it printed.
const as = (name, more = {}, at = b, p = person(name)) => (...args) => new Promise((done) => {
  const child = spawn(BATON, args, { env: env({ BATON_ADMIN_ADDR: `localhost:${at.adminPort}`, BATON_CA: at.serverCa.cert, BATON_CERT: p.cert, BATON_KEY: p.key, ...more }) })
  let out = ''
  for (const x of [child.stdout, child.stderr]) x.on('data', (d) => { out += d })
  child.on('close', (code) => done({ code, out }))
})
const expect = async (code, by, ...args) => { const r = await by(...args); assert.equal(r.code, code, `${args.join(' ')}: ${r.out}`); return r.out }

// ---- each call, each role ----

const missing = { kind: 'agent', tenant: 'acme', name: 'nobody' }
const agent = (name) => ({ tenant: 'acme', name, spiffe_id: `spiffe://acme.example/${name}`, owner: 'team' })
const rows = [ // service, method, who may, a request that does no harm
  ['OperateService', 'ListRoutes', 'P S U', {}],
  ['ContainmentService', 'SetRouteState', 'S', { route: { name: 'shared', tenant: 'acme' }, state: 'ROUTE_STATE_RUNNING', reason: 'x' }],
  ['ContainmentService', 'Revoke', 'S', { agent: missing, reason: 'x' }],
  ['ContainmentService', 'Lift', 'S', { revocation_id: '0'.repeat(16), reason: 'x' }],
  ['ContainmentService', 'ListRevocations', 'P S U', {}],
  ['ContainmentService', 'Quarantine', 'S', { handoff_ids: ['x'], reason: 'x' }],
  ['ContainmentService', 'ReleaseHandoffs', 'S', { handoff_ids: ['x'], reason: 'x' }],
  ['OperateService', 'ListHandoffs', 'S U', { tenant: 'acme' }],
  ['OperateService', 'GetHandoff', 'S U', { handoff_id: 'x' }],
  ['OperateService', 'ListDeadLetters', 'S U', {}],
  ['OperateService', 'ReplayDeadLetters', 'S', { handoff_ids: ['x'], reason: 'x' }],
  ['OperateService', 'PurgeDeadLetters', 'S', { handoff_ids: ['x'], reason: 'x' }],
  ['OperateService', 'Status', 'P S U', {}],
  ['OperateService', 'Drain', 'S', { node: 'nobody', reason: 'x' }],
  ['OperateService', 'CheckStore', 'S U', {}],
  ['OperateService', 'RepairStore', 'S', { reason: 'x' }],
  ['ResourceService', 'Get', 'P S U', missing],
  ['ResourceService', 'List', 'P S U', { kind: 'agent' }],
  ['ResourceService', 'History', 'P S U', missing],
  ['ResourceService', 'TestIssuer', 'P S', { kind: 'issuer', name: 'nobody' }],
  ['ResourceService', 'RefreshKeys', 'P S', { issuer: { kind: 'issuer', name: 'nobody' }, reason: 'x' }],
  ['ResourceService', 'Apply', 'P', { resources: [{ version: '7', agent: agent('nobody') }], reason: 'x' }],
  ['ResourceService', 'Apply', 'P S U', { resources: [{ agent: agent('nobody') }], reason: 'x', dry_run: true }, 'dry'],
  ['ResourceService', 'Rollback', 'P S', { ref: missing, to_version: '1', reason: 'x' }],
  ['ResourceService', 'Rollback', 'P S U', { ref: missing, to_version: '1', reason: 'x', dry_run: true }, 'dry'],
  ['EnrolService', 'CreateToken', 'P', { agent: missing }],
  ['ResourceService', 'Delete', 'P', { ref: missing, version: '1', reason: 'x' }]
]
const letters = { P: 'platform', S: 'sre', U: 'auditor' }
const may = (row) => row[2].split(' ').map((l) => letters[l])
// Who has what; each of these is an operator of his own.
const holders = { platform: ['platform'], sre: ['sre'], auditor: ['auditor'], everything: all, nobody: [] }
async function appoint () {
  for (const [name, roles] of Object.entries(holders)) if (roles.length) await first.grant(name, roles, person(name).spiffe)
}

test('Each call of an operator has the roles that its comment in admin.proto names, and nothing else is served on listen.admin but health', async () => {
  const text = fs.readFileSync(path.join(ROOT, 'proto/baton/v1/admin.proto'), 'utf8')
  const op = operator('everything')
  let service
  for (const line of text.split('\n')) {
    service = line.match(/^service (\w+)/)?.[1] || service
    const [, method, stream, comment] = line.match(/^ {2}rpc (\w+)\(.*returns \((stream )?.*\); *\/\/ (.*)$/) || []
    if (!method) continue
    const row = rows.find((r) => r[0] === service && r[1] === method && !r[4])
    if (row) {
      assert.equal(comment.match(/^(?:[PSUA] ?)*/)[0].trim(), row[2], `${service}.${method}`)
      const dry = rows.find((r) => r[0] === service && r[1] === method && r[4])
      if (dry) assert.ok(comment.includes(`dry_run: ${dry[2]}`))
    } else if (!stream) assert.equal((await refused(op.call(method, {}, { service }))).code, 'UNIMPLEMENTED', `${service}.${method}`)
  }
  for (const method of ['Submit', 'Get', 'List', 'Cancel', 'WhoAmI', 'Report']) assert.equal((await refused(op.call(method, {}, { service: 'HandoffService' }))).code, 'UNIMPLEMENTED', method)
  const health = (o) => new Promise((yes, no) => o.health.Check({}, o.meta(), { deadline: Date.now() + 5000 }, (e, r) => (e ? no(e) : yes(r.status))))
  assert.equal(await health(op), 'SERVING')
  for (const [client, method] of [[planner.operate, 'ListRoutes'], [planner.admin, 'SetRouteState']]) {
    const call = new Promise((yes, no) => client[method]({}, planner.meta(), { deadline: Date.now() + 5000 }, (e, r) => (e ? no(e) : yes(r))))
    assert.equal((await refused(call)).code, 'UNIMPLEMENTED', 'on the agents\' port there are none')
  }
})

for (const who of Object.keys(holders)) {
  test(`I-5 A-4 O-1 A certificate with the roles of ${who} makes the calls of its roles and no other: each row of the table`, async () => {
    const op = operator(who)
    for (const row of rows) {
      const [service, method, , request, dry] = row
      const allowed = may(row).some((r) => holders[who].includes(r))
      const r = await op.call(method, request, { service }).then(() => ({ reason: 'allowed' }), (e) => ({ reason: e.metadata.get('baton-reason')[0], code: e.code, message: e.details }))
      const what = `${who} ${method}${dry ? ' dry' : ''}: ${r.reason} ${r.message}`
      if (allowed) assert.ok(['allowed', 'not_found', 'wrong_state'].includes(r.reason), what)
      else assert.deepEqual([r.reason, r.code], ['role_denied', 7], what)
      const named = dry && who === 'nobody' ? may(rows.find((r) => r[1] === method)) : may(row) // whoever has no role at all: what he sent is not read
      if (!allowed) assert.match(r.message, new RegExp(`needs the role ${named.join(' or ')}, and ${person(who).spiffe} has ${holders[who].join(', ') || 'none'}: `), what)
    }
    if (who !== 'everything') {
      const line = await b.audited({ event: 'decision', reason: 'role_denied', rpc: 'SetRouteState', spiffe_id: person(who).spiffe }).catch(() => null)
      assert.ok(line || holders[who].includes('sre'))
      if (line) assert.match(line.remote, /^127\.0\.0\.1:\d+$/)
    }
  })
}

test('An agent that is registered is no operator for that: its calls on listen.admin are role_denied, and read nothing large of it', async () => {
  const op = new Operator(b.adminAddr, { ...b.leaves.planner, trust: b.serverCa.cert })
  made.push(op)
  await denied(op.call('ListRoutes'), 'role_denied')
  const large = { resources: Array.from({ length: 900 }, (_, i) => ({ agent: { ...agent(`x${i}`), owner: 'y'.repeat(100) } })), reason: 'x' }
  await denied(op.call('Apply', large), 'payload_too_large')
  assert.match((await denied(first.call('Apply', large), 'malformed_envelope')).message, /1 to 32/)
})

// ---- giving and taking ----

test('A-1 Nobody gives or takes away a role that he has not, for as much; with platform and the role he does', async () => {
  const platform = operator('platform')
  const sre = operator('sre')
  await first.grant('both', ['platform', 'sre'], person('both').spiffe)
  const both = operator('both')
  assert.match((await denied(sre.grant('x', ['sre'], person('x').spiffe), 'role_denied')).message, /needs the role platform/)
  for (const roles of [['sre'], ['platform', 'auditor'], ['approver:acme/shared']]) assert.match((await denied(platform.grant('x', roles, person('x').spiffe), 'role_denied')).message, /nobody gives or takes away a role that he has not/)
  await denied(both.grant('x', all, person('x').spiffe), 'role_denied')
  await denied(both.grant('x', ['auditor'], person('x').spiffe, { tenant: 'acme' }), 'role_denied')
  assert.equal((await both.grant('x', ['platform', 'sre'], person('x').spiffe)).changes[0].action, 'granted')
  await both.grant('y', ['sre'], person('y').spiffe, { tenant: 'acme' })
  const everything = await first.role('everything')
  await denied(both.grant('everything', ['sre'], person('everything').spiffe, {}, everything.version), 'role_denied') // those that it had count too
  await denied(both.call('Delete', { ref: { kind: 'role', name: 'everything' }, version: everything.version, reason: 'x' }), 'role_denied')
  await denied(both.call('Apply', { resources: [{ version: everything.version, role: { ...everything.role, roles: ['sre'] } }], reason: 'x', dry_run: true }), 'role_denied')
  assert.equal((await both.ungrant('x')).changes[0].action, 'removed')
  await both.ungrant('y')
  await denied(local.call('Delete', { ref: { kind: 'role', name: 'both' }, version: '1', reason: 'x' }), 'role_denied')
  await first.ungrant('both')
})

test('A binding is changed by who has seen its version, has a history, also after its end, and may be made anew', async () => {
  await first.grant('story', ['sre'], person('story').spiffe)
  await denied(first.grant('story', ['auditor'], person('story').spiffe), 'wrong_state')
  await denied(first.grant('story', ['auditor'], person('story').spiffe, {}, '7'), 'wrong_state')
  const m = await first.grant('story', ['auditor'], person('story').spiffe, { tenant: 'acme' }, '1')
  assert.deepEqual([m.changes[0].action, m.changes[0].diff, m.changes[0].version], ['updated', 'roles: sre -> auditor; tenant: - -> acme', '2'])
  assert.equal((await first.grant('story', ['auditor'], person('story').spiffe, { tenant: 'acme' }, '2')).changes[0].action, 'unchanged')
  await first.ungrant('story')
  await denied(first.role('story'), 'not_found')
  const { resources } = await first.call('History', { kind: 'role', name: 'story' })
  assert.deepEqual(resources.map((r) => [r.version, r.removed, r.role.roles.join()]), [['3', true, 'auditor'], ['2', false, 'auditor'], ['1', false, 'sre']])
  assert.ok(resources.every((r) => r.updated_by === person('root').spiffe && r.reason === 'a test'))
  assert.equal((await first.grant('story', ['sre'], person('story').spiffe)).changes[0].version, '4')
  await first.ungrant('story')
  await b.audited({ event: 'roles.changed', rpc: 'Apply', spiffe_id: person('root').spiffe, roles: 'platform', message: 'updated role/story (roles: sre -> auditor; tenant: - -> acme): a test' })
  const mixed = await first.call('Apply', { resources: [{ role: { name: 'mixed', roles: ['sre'], spiffe_id: person('mixed').spiffe } }, { agent: { ...agent('mixed') } }], reason: 'both kinds' })
  assert.deepEqual(mixed.changes.map((c) => [c.ref.kind, c.ref.name, c.action]), [['role', 'mixed', 'granted'], ['agent', 'mixed', 'registered']])
  await first.ungrant('mixed')
})

test('attack 16 attack 24 What stands in a role binding is a name and no pattern: each bad field is refused by name / good ones are taken', async () => {
  const claim = { issuer: 'static', claim: 'groups', value: 'ops' }
  const id = person('good').spiffe
  const bad = [
    ['role.name', { name: '*' }], ['role.name', { name: '' }], ['role.name', { name: 'a/b' }], ['role.name', { name: 'First' }], ['role.name', { name: 'f\u0131rst' }], ['role.name', { name: 'x'.repeat(64) }],
    ['role.roles', { roles: [] }], ['role.roles', { roles: ['root'] }], ['role.roles', { roles: ['Platform'] }], ['role.roles', { roles: ['pl\u0430tform'] }], ['role.roles', { roles: ['sre', 'sre'] }],
    ['role.roles', { roles: ['approver:acme/*'] }], ['role.roles', { roles: ['approver:*'] }], ['role.roles', { roles: ['approver'] }], ['role.roles', { roles: Array.from({ length: 17 }, (_, i) => `approver:acme/r${i}`) }],
    ['role.roles', { roles: ['approver:globex/shared'], tenant: 'acme' }], ['role.roles', { roles: ['sre\n'] }],
    ['role.tenant', { tenant: 'acme*' }], ['role.tenant', { tenant: 'acme\r\n' }], ['role.tenant', { tenant: 'Acme' }],
    ['role.spiffe_id', { spiffe_id: '' }], ['role.spiffe_id', { spiffe_id: 'spiffe://acme.example/*' }], ['role.spiffe_id', { spiffe_id: 'spiffe://acme.example/a/../b' }], ['role.spiffe_id', { spiffe_id: `spiffe://acme.example/${'x'.repeat(2048)}` }],
    ['role.spiffe_id', { spiffe_id: 'spiffe://acme.ex\u0430mple/x' }], ['role.spiffe_id', { spiffe_id: 'https://acme.example/x' }], ['role.spiffe_id', { spiffe_id: 'spiffe://acme.example/x\n' }], ['role.spiffe_id', { ...claim }],
    ['role.issuer', { spiffe_id: '', ...claim, issuer: '' }], ['role.issuer', { spiffe_id: '', ...claim, issuer: 'st\u0430tic' }], ['role.issuer', { spiffe_id: '', ...claim, issuer: '*' }], ['role.issuer', { spiffe_id: '', ...claim, issuer: 'other' }],
    ['role.claim', { spiffe_id: '', ...claim, claim: '' }], ['role.claim', { spiffe_id: '', ...claim, claim: 'a b' }], ['role.claim', { spiffe_id: '', ...claim, claim: '*' }], ['role.claim', { spiffe_id: '', ...claim, claim: 'x'.repeat(129) }],
    ['role.value', { spiffe_id: '', ...claim, value: '' }], ['role.value', { spiffe_id: '', ...claim, value: 'op*' }], ['role.value', { spiffe_id: '', ...claim, value: ' ops' }], ['role.value', { spiffe_id: '', ...claim, value: 'ops\u0000' }],
    ['role.value', { spiffe_id: '', ...claim, value: '\u043eps' }], ['role.value', { spiffe_id: '', ...claim, value: 'ops\n' }], ['role.value', { spiffe_id: '', ...claim, value: 'x'.repeat(257) }]
  ]
  for (const [field, change] of bad) {
    const r = await refused(first.grant('good', ['sre'], id, change))
    assert.ok(['malformed_envelope', 'not_found'].includes(r.reason), `${JSON.stringify(change)}: ${r.reason} ${r.message}`)
    assert.match(r.message, new RegExp(`resources(\\[0\\])?\\.${field.replace('.', '\\.')}: `), JSON.stringify(change).slice(0, 80))
  }
  for (const [i, change] of [{}, { spiffe_id: 'spiffe://acme.example/'.padEnd(2048, 'x') }, { spiffe_id: '', ...claim, claim: 'https://acme.example/groups', value: 'On call, 2nd line' }, { tenant: 'acme' }].entries()) {
    await first.grant(`good${i}`, ['sre'], id, change)
    await first.ungrant(`good${i}`)
  }
  for (const line of [...b.auditLines(), ...b.log().trim().split('\n')]) JSON.parse(line)
})

test('I-7 What is revoked ends at once: the next call on a connection that stands is role_denied / what others have goes on', async () => {
  await first.grant('brief', ['sre'], person('brief').spiffe)
  const brief = operator('brief')
  await brief.call('ListHandoffs', { tenant: 'acme' })
  const connected = () => b.audit().filter((r) => r.event === 'peer.connected' && r.spiffe_id === person('brief').spiffe).length
  const before = connected()
  await first.ungrant('brief')
  await denied(brief.call('ListHandoffs', { tenant: 'acme' }), 'role_denied')
  await first.grant('brief', ['auditor'], person('brief').spiffe)
  await brief.call('ListHandoffs', { tenant: 'acme' })
  await denied(brief.call('ReplayDeadLetters', { handoff_ids: ['x'], reason: 'x' }), 'role_denied')
  assert.equal(connected(), before)
  await first.ungrant('brief')
  await operator('sre').call('ListHandoffs', { tenant: 'acme' })
})

test('An expired certificate, and one of another domain that claims the same name, give nothing', async () => {
  const expired = b.acme.leaf('expired-root', { sans: [`URI:${person('root').spiffe}`], days: -1 })
  const foreign = b.globex.leaf('foreign-root', { sans: [`URI:${person('root').spiffe}`] })
  for (const leaf of [expired, foreign]) {
    const op = new Operator(b.adminAddr, { ...leaf, trust: b.serverCa.cert }, { options: { 'grpc.initial_reconnect_backoff_ms': 60000 } })
    made.push(op)
    assert.equal((await refused(op.call('ListRoutes'))).code, 'UNAVAILABLE')
  }
  await first.call('ListRoutes')
})

// ---- one tenant's operators ----

test('B1 T5 An operator of one tenant sees and does what names it; another tenant looks to him as one that is not there', async () => {
  await first.grant('acme-all', all, person('tenanted').spiffe, { tenant: 'acme' })
  const op = operator('tenanted')
  const routes = (await op.call('ListRoutes')).routes.map((r) => r.route)
  assert.deepEqual([...new Set(routes.map((r) => r.tenant))], ['acme'])
  assert.equal(routes.length, 2)
  assert.equal((await op.set('shared', 'RUNNING')).route.tenant, 'acme') // more than one tenant has it: not to him
  const agents = (await op.call('List', { kind: 'agent' })).resources
  assert.ok(agents.length && agents.every((a) => a.agent.tenant === 'acme'))
  const g = await b.agent('gplanner')
  const theirs = (await g.submit(read('shared'))).handoff_id
  const ours = (await planner.submit(read('shared'))).handoff_id
  assert.deepEqual((await op.call('ListHandoffs')).handoffs.map((h) => h.handoff_id), [ours])
  await op.call('GetHandoff', { handoff_id: ours })
  assert.equal((await first.call('GetHandoff', { handoff_id: theirs })).handoff_id, theirs)
  assert.deepEqual(await op.call('CheckStore', { tenant: 'acme' }).then((m) => m.findings), [])
  // tenant by tenant: one that is there and not his, and one that nobody has
  const twins = [
    ['ListRoutes', (tenant) => ({ tenant })], ['SetRouteState', (tenant) => ({ route: { name: 'shared', tenant }, state: 'ROUTE_STATE_PAUSED', reason: 'x' })],
    ['ListHandoffs', (tenant) => ({ tenant })], ['ListDeadLetters', (tenant) => ({ tenant })], ['ListDeadLetters', (tenant) => ({ tenant, route: 'shared' })],
    ['CheckStore', (tenant) => ({ tenant })], ['RepairStore', (tenant) => ({ tenant, reason: 'x' })],
    ['ReplayDeadLetters', (tenant) => ({ tenant, handoff_ids: [theirs], reason: 'x' })], ['PurgeDeadLetters', (tenant) => ({ tenant, handoff_ids: [theirs], reason: 'x' })],
    ['Quarantine', (tenant) => ({ tenant, handoff_ids: [theirs], reason: 'x' })], ['Quarantine', (tenant) => ({ tenant, route: 'shared', reason: 'x' })], ['ReleaseHandoffs', (tenant) => ({ tenant, sender: 'gplanner', reason: 'x' })],
    ['Revoke', (tenant) => ({ agent: { kind: 'agent', tenant, name: 'gplanner' }, reason: 'x' })], ['Revoke', (tenant) => ({ tenant, reason: 'x', dry_run: true })],
    ['Get', (tenant) => ({ kind: 'agent', tenant, name: 'gplanner' })], ['History', (tenant) => ({ kind: 'agent', tenant, name: 'gplanner' })], ['List', (tenant) => ({ kind: 'agent', tenant })],
    ['Delete', (tenant) => ({ ref: { kind: 'agent', tenant, name: 'gplanner' }, version: '1', reason: 'x' })],
    ['Rollback', (tenant) => ({ ref: { kind: 'agent', tenant, name: 'gplanner' }, to_version: '1', reason: 'x' })],
    ['Apply', (tenant) => ({ resources: [{ agent: { ...agent('gplanner'), tenant } }], reason: 'x' })], ['Apply', (tenant) => ({ resources: [{ agent: { ...agent('fresh'), tenant } }], reason: 'x', dry_run: true })]
  ]
  const seen = (method, request) => op.call(method, request, { service: ['Get', 'List', 'History', 'Apply', 'Delete'].includes(method) ? 'ResourceService' : undefined })
    .then((m) => JSON.stringify(m), (e) => `${e.code} ${e.details}`)
  for (const [method, request] of twins) assert.equal(await seen(method, request('globex')), await seen(method, request('nowhere')), method)
  assert.match(await seen('SetRouteState', twins[1][1]('globex')), /^5 not_found: /)
  assert.match(await seen('GetHandoff', { handoff_id: theirs }), /^5 not_found: /)
  assert.match(await seen('Get', { kind: 'agent', name: 'gplanner' }), /^5 not_found: /)
  const taken = await refused(op.call('Apply', { resources: [{ agent: { ...agent('fresh'), spiffe_id: 'spiffe://globex.example/gplanner' } }], reason: 'x' }))
  assert.match(taken.message, /agent\.spiffe_id: it is that of another agent$/)
  // what is for all tenants
  for (const [method, request] of [['Revoke', { subject: 'x', reason: 'x' }], ['Revoke', { issuer: { name: 'static' }, reason: 'x' }], ['CheckStore', {}], ['RepairStore', { reason: 'x' }], ['List', { kind: 'role' }], ['Get', { kind: 'role', name: 'first' }], ['History', { kind: 'role', name: 'first' }],
    ['Apply', { resources: [{ role: { name: 'x', roles: ['sre'], spiffe_id: person('x').spiffe, tenant: 'acme' } }], reason: 'x' }], ['Delete', { ref: { kind: 'role', name: 'first' }, version: '1', reason: 'x' }]]) {
    assert.match(await seen(method, request), /^7 role_denied: .* of single tenants alone: a binding without a tenant is needed/, method)
  }
  // his own agents he registers, changes and retires
  await op.call('Apply', { resources: [{ agent: { ...agent('ours'), may_call: ['shared'] } }], reason: 'x' })
  const { version } = await op.call('Get', { kind: 'agent', tenant: 'acme', name: 'ours' })
  await op.call('Delete', { ref: { kind: 'agent', tenant: 'acme', name: 'ours' }, version, reason: 'x' })
  await g.cancel(theirs)
  await planner.cancel(ours)
})

test('B1 Roles of one tenant and of all add up, each for what it is: the tenant alone where the role is the tenant\'s', async () => {
  await first.grant('eyes', ['auditor'], person('mixer').spiffe)
  await first.grant('hands', ['sre'], person('mixer').spiffe, { tenant: 'globex' })
  const op = operator('mixer')
  assert.deepEqual([...new Set((await op.call('ListRoutes')).routes.map((r) => r.route.tenant))].sort(), ['acme', 'globex'])
  assert.equal((await op.set('shared', 'RUNNING')).route.tenant, 'globex')
  await denied(op.set('shared', 'RUNNING', { tenant: 'acme' }), 'not_found')
  assert.ok((await op.call('List', { kind: 'role' })).resources.length)
  for (const n of ['eyes', 'hands', 'acme-all']) await first.ungrant(n)
  await denied(op.call('ListRoutes'), 'role_denied')
})

// ---- tokens of people ----

const mint = (name, change = {}, opts) => b.issuer.mint(person(name), { aud: AUDIENCE, sub: 'ana@acme.example', client_id: 'sso', scope: undefined, tenant: undefined, ...change }, opts)
const group = (value, more = {}) => ({ issuer: 'static', claim: 'groups', value, ...more })

test('I-2 O-2 A token\'s claim gives a role, as a string or in an array, to who shows it on his own connection / another value gives none', async () => {
  await first.grant('oncall', ['sre'], group('on-call'))
  const op = operator('ana')
  await denied(op.call('ListHandoffs', { tenant: 'acme' }), 'role_denied')
  for (const groups of ['on-call', ['staff', 'on-call'], ['on-call', 7, null, { on: 'call' }]]) await op.call('ListHandoffs', { tenant: 'acme' }, { token: await mint('ana', { groups }) })
  for (const groups of [undefined, '', 'on-calls', 'On-call', ['staff'], [['on-call']], { 'on-call': true }, 'staff on-call', true]) await denied(op.call('ListHandoffs', { tenant: 'acme' }, { token: await mint('ana', { groups }) }), 'role_denied')
  await denied(op.call('ListHandoffs', { tenant: 'acme' }, { token: await mint('ana', { roles: 'on-call' }) }), 'role_denied')
  const r = await denied(op.call('ListHandoffs', { tenant: 'acme' }, { token: await mint('ana', { groups: 'staff' }) }), 'role_denied')
  assert.match(r.message, /ana@acme\.example of static has none/)
  const line = await b.audited({ event: 'rpc', rpc: 'ListHandoffs', subject: 'ana@acme.example', roles: 'sre' })
  assert.deepEqual([line.issuer, line.spiffe_id, line.audience], [b.issuer.url, person('ana').spiffe, AUDIENCE])
  assert.ok(line.certificate_sha256 && line.jti && line.remote)
})

test('I-3 T5 I-1 A token that is bad is refused, also where the certificate alone has the role: never passed over', async () => {
  const op = operator('everything')
  const groups = 'on-call'
  const bad = {
    wrong_audience: await mint('everything', { groups, aud: 'support-agent-runtime' }), expired_token: await mint('everything', { groups, iat: 1000, nbf: 1000, exp: 2000 }),
    token_binding: await mint('everything', { groups, cnf: undefined }), invalid_token: (await mint('everything', { groups })).slice(0, -4) + 'AAAA', wrong_issuer: await mint('everything', { groups, iss: 'https://else.example' })
  }
  for (const [reason, token] of Object.entries(bad)) await denied(op.call('ListRoutes', {}, { token }), reason, 'UNAUTHENTICATED')
  await denied(op.call('ListRoutes', {}, { token: await mint('ana', { groups }) }), 'token_binding') // another's
  for (const authorization of ['Basic x', 'Bearer']) await denied(op.call('ListRoutes', {}, { metadata: { authorization } }), 'invalid_token')
  await op.call('ListRoutes', {}, { token: await mint('everything', { groups: 'nothing' }) })
  const said = [...b.auditLines(), b.log()].join('\n')
  for (const token of Object.values(bad)) assert.ok(!said.includes(token.split('.')[2]))
})

test('Roles of the certificate and of the token add up, and a claim\'s may be for one tenant', async () => {
  await first.grant('people', ['platform'], group('admins', { tenant: 'acme' }))
  const op = operator('auditor')
  const token = await mint('auditor', { groups: ['admins'] })
  await denied(op.call('Delete', { ref: missing, version: '1', reason: 'x' }), 'role_denied')
  await denied(op.call('Delete', { ref: missing, version: '1', reason: 'x' }, { token }), 'not_found')
  assert.ok((await op.call('ListRoutes', {}, { token })).routes.some((r) => r.route.tenant === 'globex'))
  await denied(op.call('Apply', { resources: [{ agent: { ...agent('x'), tenant: 'globex' } }], reason: 'x' }, { token }), 'role_denied')
  await first.grant('owner', all, { issuer: 'static', claim: 'sub', value: 'owner@acme.example' })
  const owner = operator('ana', { token: await mint('ana', { sub: 'owner@acme.example' }) })
  await owner.grant('given', ['sre'], person('given').spiffe)
  assert.equal((await first.role('given')).updated_by, 'owner@acme.example of static')
  for (const n of ['people', 'owner', 'given', 'oncall']) await first.ungrant(n)
  await denied(owner.call('ListRoutes'), 'role_denied')
})

test('With no admin.audience a token is refused, not passed over / without one the certificate\'s role holds; a reload sets it', async () => {
  const token = await mint('sre', { groups: 'x' })
  const op = operator('sre')
  await op.call('ListRoutes', {}, { token })
  b.writeConfig((t) => t)
  await b.reloaded()
  assert.match((await denied(op.call('ListRoutes', {}, { token }), 'invalid_token')).message, /have admin\.audience set/)
  await op.call('ListRoutes')
  b.writeConfig()
  await b.reloaded()
  await op.call('ListRoutes', {}, { token })
})

test('I-2 attack 11 An operator\'s token waits while the keys of its issuer are fetched, as an agent\'s does, and unknown keys without end are not fetched for him', async () => {
  const x = new Broker({
    admin: true, config: (t) => t.replace('tls:\n', 'admin:\n  audience: support-agent-runtime\ntls:\n'),
    idp: async (y) => new Idp({ ca: y.serverCa.cert, agentsCa: y.acme.cert, server: y.server, agents: [y.leaves.planner] }).start()
  })
  await x.prepare()
  await x.start()
  try {
    const root = new Operator(x.adminSocket)
    const ops = new Operator(x.adminAddr, { ...x.leaves.planner, trust: x.serverCa.cert })
    made.push(root, ops)
    await root.call('InitAdmin', { role: { name: 'first', roles: ['auditor'], issuer: 'corp', claim: 'client_id', value: 'planner' }, reason: 'x' })
    await ops.call('ListRoutes', {}, { token: await x.idp.token(x.leaves.planner) })
    await x.idp.rotate()
    const fresh = await x.idp.token(x.leaves.planner)
    await Promise.all(Array.from({ length: 20 }, () => ops.call('ListRoutes', {}, { token: fresh })))
    const before = x.idp.keyFetches
    for (let i = 0; i < 12; i++) {
      await x.idp.rotate()
      const stranger = await x.idp.token(x.leaves.planner)
      x.idp.jwks = { keys: x.idp.jwks.keys.map((k) => ({ ...k, kid: `gone-${i}` })) }
      await ops.call('ListRoutes', {}, { token: stranger }).catch(() => {})
    }
    assert.ok(x.idp.keyFetches - before <= 6, `${x.idp.keyFetches - before} fetches`)
  } finally { await x.remove() }
}, 90000)

// ---- the node ----

test('A node that has not heard of changes for too long serves no operator on listen.admin / on the admin socket it does, and again when it has', async () => {
  const cluster = new Cluster(1, { admin: true, workers: 1 })
  try {
    await cluster.start()
    const n = cluster.first
    const root = new Operator(n.adminSocket)
    const me = n.person('stale')
    const op = new Operator(n.adminAddr, me)
    made.push(root, op)
    await init(root, me.spiffe)
    await op.call('List', { kind: 'agent' })
    cluster.redis.signal('SIGSTOP')
    await until('it to be stale', async () => (await op.call('List', { kind: 'agent' }).catch((e) => e.details || '')).toString().startsWith('store_unavailable'), 20000)
    const r = await denied(op.call('List', { kind: 'agent' }), 'store_unavailable', 'UNAVAILABLE')
    assert.ok(r.retry_after_ms)
    assert.ok((await root.call('List', { kind: 'agent' })).resources.length)
    await denied(init(root, me.spiffe), 'store_unavailable')
    assert.match(await expect(75, as('', {}, n, me), 'agent', 'list'), /^try again: store_unavailable\n/)
    cluster.redis.signal('SIGCONT')
    await until('it to be served again', () => op.call('List', { kind: 'agent' }), 20000)
    op.close()
  } finally { cluster.redis?.signal('SIGCONT'); await cluster.remove() }
}, 90000)

test('A port that is taken is said by the key\'s name / "off" opens none', async () => {
  const x = await b.twin('second')
  const start = (address) => {
    x.writeConfig((t) => t.replace(/admin: "127[^"]*"/, `admin: ${JSON.stringify(address)}`))
    return spawnSync(BATOND, ['--config', x.path('baton.yaml')], { encoding: 'utf8', timeout: 20000 })
  }
  const r = start(b.adminAddr)
  assert.equal(r.status, 78, r.stderr)
  assert.match(r.stderr, new RegExp(`listen\\.admin: .*cannot listen on ${b.adminAddr}: Address already in use`))
  assert.match(start('localhost:1').stderr, /listen\.admin: "localhost:1" is not/)
  fs.rmSync(x.dir, { recursive: true })
  const quiet = await b.twin('quiet', { admin: false })
  await quiet.start()
  assert.doesNotMatch(quiet.log(), /"admin\.served"/)
  await quiet.remove()
})

test('All connections that agents may have keep no operator out, nor do one certificate\'s connections another\'s', async () => {
  const x = await b.twin('full', { config: (t) => t.replace('log: {', 'limits: {connections: 4, connections_per_agent: 2}\nlog: {') })
  await x.start()
  try {
    const root = new Operator(x.adminSocket)
    made.push(root)
    await init(root, person('root').spiffe)
    const agents = [await x.agent('planner'), await x.agent('worker'), await x.agent('auditor')]
    for (const a of agents) await a.whoami()
    const late = await x.agent('bystander')
    assert.equal((await refused(late.whoami())).code, 'UNAVAILABLE')
    const strangers = Array.from({ length: 4 }, () => operator('nobody', {}, x))
    const answers = await Promise.all(strangers.map((s) => refused(s.call('ListRoutes'))))
    assert.equal(answers.filter((r) => r.reason === 'role_denied').length, 2)
    await operator('root', {}, x).call('ListRoutes')
  } finally { await x.remove() }
}, 60000)

// ---- the command line ----

test('baton role and every command of an operator reach listen.admin by mutual TLS, with the exit codes that they promise', async () => {
  const root = as('root')
  assert.match(await expect(0, root, 'role', 'grant', 'cli', '--role', 'sre', '--spiffe-id', person('cli').spiffe, '--reason', 'a try', '--dry-run'), /^cli granted\n {2}name: cli\n {2}roles: sre\n/)
  await expect(1, root, 'role', 'show', 'cli')
  assert.match(await expect(0, root, 'role', 'grant', 'cli', '--role', 'sre', '--spiffe-id', person('cli').spiffe, '--reason', 'second shift'), /^cli granted\n[^]*true on 1\/1 nodes/)
  const list = await expect(0, root, 'role', 'list')
  assert.match(list, /^NAME +ROLES +TENANT +HOLDER\n/)
  assert.match(list, new RegExp(`^cli +sre +all +${person('cli').spiffe}$`, 'm'))
  assert.match(await expect(0, root, 'role', 'grant', 'cli', '--role', 'auditor', '--tenant', 'acme', '--spiffe-id', person('cli').spiffe, '--reason', 'less'), /^cli updated\n {2}roles: sre -> auditor\n {2}tenant: - -> acme\n/)
  assert.match(await expect(0, root, 'role', 'show', 'cli'), /^roles: +auditor\ntenant: +acme\n[^]*^by: +spiffe:\/\/acme\.example\/ops\/root\nreason: +less$/m)
  assert.equal(JSON.parse(await expect(0, root, 'role', 'show', 'cli', '-o', 'json')).role.tenant, 'acme')
  const me = as('cli')
  assert.match(await expect(0, me, 'route', 'list', '-o', 'name'), /^shared$/m)
  assert.match(await expect(77, me, 'route', 'pause', 'shared', '--reason', 'x'), /^denied: role_denied\n {4}this call needs the role sre, and spiffe:.*ops\/cli has auditor: .*\n {4}An auditor sees/)
  await expect(77, me, 'agent', 'retire', 'planner', '--tenant', 'acme', '--reason', 'x', '--yes').catch(() => {})
  await expect(77, me, 'role', 'list')
  for (const [code, ...args] of [[0, 'agent', 'list'], [0, 'dlq', 'list'], [0, 'store', 'check', '--tenant', 'acme'], [77, 'store', 'check'], [0, 'handoff', 'list', '--tenant', 'acme']]) await expect(code, me, ...args)
  assert.match(await expect(64, root, 'role', 'revoke', 'cli', '--reason', 'x'), /Say --yes to mean it/)
  assert.match(await expect(0, root, 'role', 'revoke', 'cli', '--reason', 'over', '--yes'), /^cli removed\n/)
  await expect(77, me, 'route', 'list')
  assert.match(await expect(0, root, 'role', 'history', 'cli'), /^3 .* removed +acme .* over\n2 .* auditor .* less\n1 .* sre .* second shift$/m)
  assert.match(await expect(64, root, 'role', 'grant', 'cli', '--role', 'sre', '--reason', 'x'), /needs either --spiffe-id, or --issuer, --claim and --value/)
  assert.match(await expect(64, root, 'admin', 'init', '--role', 'sre', '--spiffe-id', 'spiffe://acme.example/x', '--reason', 'x'), /through the admin socket alone/)
  const again = await expect(1, as('root', { BATON_ADMIN_ADDR: `unix:${b.adminSocket}` }), 'admin', 'init', '--role', 'sre', '--spiffe-id', person('cli').spiffe, '--reason', 'x')
  assert.match(again, /^failed: wrong_state\n {4}a first role binding was made before: [^\n]*\n {4}trace /) // what to do stands there; it is about no handoff
  await expect(65, root, 'role', 'grant', 'cli', '--role', 'boss', '--spiffe-id', person('cli').spiffe, '--reason', 'x')
  // by a token
  await expect(0, root, 'role', 'grant', 'shift', '--role', 'auditor', '--issuer', 'static', '--claim', 'groups', '--value', 'night', '--reason', 'x')
  fs.writeFileSync(b.path('t'), await mint('cli', { groups: ['night'] }), { mode: 0o600 })
  await expect(0, as('cli', { BATON_TOKEN_FILE: b.path('t') }), 'route', 'list')
  await expect(0, me, 'route', 'list', '--token-file', b.path('t'))
  fs.writeFileSync(b.path('t'), await mint('cli', { groups: ['night'], aud: 'x' }), { mode: 0o600 })
  await expect(77, me, 'route', 'list', '--token-file', b.path('t'))
  await expect(0, root, 'role', 'revoke', 'shift', '--reason', 'x', '--yes')
  await expect(69, as('root', { BATON_ADMIN_ADDR: `localhost:${await freePort()}` }), 'route', 'list')
  const help = await expect(0, root, 'role', 'grant', '--help')
  for (const o of ['--role', '--spiffe-id', '--issuer', '--claim', '--value', '--tenant', '--reason']) assert.ok(help.includes(o), o)
}, 60000)

test('The only line of code that says so is the snapshot: what somebody writes into Redis in a role\'s place gives none', async () => {
  await first.grant('sealed', ['auditor'], person('sealed').spiffe)
  const op = operator('sealed')
  await op.call('ListRoutes')
  await b.redis(async (r) => {
    assert.doesNotMatch(JSON.stringify(await r.call('HGETALL', '{/}:s')), /ops\/sealed/)
    await r.call('HSET', '{/}:s', 'role/eve', await r.call('HGET', '{/}:s', 'role/everything'))
    await r.call('ZADD', '{/}:z', await r.call('HINCRBY', '{/}:m', 'g', '1'), 'role/eve')
    const bytes = Buffer.from(await r.call('HGET', '{/}:s', 'role/sealed'))
    bytes.writeUIntBE(bytes.readUIntBE(0, 6) + 1, 0, 6)
    await r.call('HSET', '{/}:s', 'role/sealed', bytes)
    await r.call('ZADD', '{/}:z', await r.call('HINCRBY', '{/}:m', 'g', '1'), 'role/sealed')
  })
  await until('the role to be none', () => op.call('ListRoutes').then(() => false, (e) => e.details.startsWith('role_denied')))
  await denied(first.role('eve'), 'not_found')
  await sleep(100)
})

test('The commands of the README for operators do what it says', async () => {
  const x = await b.twin('readme')
  await x.start()
  try {
    const block = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/```sh\n(baton admin init[^`]*)```/)[1]
    const p = person('root')
    const script = block.replace('$BROKER:7444', `localhost:${x.adminPort}`).replace('corp', 'static')
    assert.notEqual(script, block)
    const say = { PATH: `${path.dirname(BATON)}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${x.adminSocket}`, BATON_CA: b.serverCa.cert, BATON_CERT: p.cert, BATON_KEY: p.key, ASAN_OPTIONS: 'exitcode=99' }
    const r = spawnSync('bash', ['-euc', script], { encoding: 'utf8', env: say })
    assert.equal(r.status, 0, r.stdout + r.stderr)
    assert.match(r.stdout, /^first granted\n[^]*^on-call granted\n[^]*^first +platform,sre,auditor +all +spiffe:.*\non-call +sre +all +static: groups=on-call\n[^]*^on-call removed$/m)
  } finally { await x.remove() }
}, 60000)

test('I-7 R-3 A revoked certificate of an operator opens listen.admin no more / others do; what an SRE of one tenant revoked he alone of those sees', async () => {
  await first.grant('gone', ['auditor'], person('gone').spiffe)
  const gone = operator('gone'), sre = operator('tenant-sre')
  await gone.call('ListRoutes')
  const r = await first.revoke({ certificate_sha256: person('gone').thumbprint })
  assert.ok(r.nodes[0].closed >= 1)
  await until('it hears why', async () => (await refused(gone.call('ListRoutes'))).reason === 'revoked')
  await first.call('ListRoutes')
  await first.lift(r.revocation_id)
  await until('it is back', () => gone.call('ListRoutes').then(() => true, () => false))
  await first.grant('tenant-sre', ['sre'], person('tenant-sre').spiffe, { tenant: 'acme' })
  const mine = await sre.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'planner' } })
  const other = await first.revoke({ subject: 'somebody' })
  assert.deepEqual((await sre.call('ListRevocations')).revocations.map((v) => [v.id, v.by]), [[mine.revocation_id, person('tenant-sre').spiffe]])
  await denied(sre.lift(other.revocation_id), 'not_found')
  assert.match((await refused(sre.revoke({ agent: { tenant: 'acme', name: 'planner' }, local: true }))).message, /unix socket/)
  await sre.lift(mine.revocation_id)
  await first.lift(other.revocation_id)
  for (const n of ['gone', 'tenant-sre']) await first.ungrant(n)
})
