// Who may look through the audit, what of it, and what does he find? AuditService.Search on the admin socket and on listen.admin, baton audit search and tail.
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { execFile, spawn } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { denied, read, refused, refusalOf } from './lib/agent.js'
import { Operator } from './lib/operator.js'

const AUDIENCE = 'baton-operators'
const withAudience = (t) => t.replace('tls:\n', `admin:\n  audience: ${AUDIENCE}\ntls:\n`)
const b = new Broker({ admin: true, workers: 2, profiles: { [ROUTE]: profile(ROUTE), shared: profile('shared') }, config: withAudience })
const people = {}
const made = []
let root, local, planner, gplanner
const person = (name) => (people[name] ||= b.person(name))
const operator = (name, opts, at = b) => { const o = new Operator(at.adminAddr, person(name), opts); made.push(o); return o }
const file = (x = b) => x.path('audit.jsonl')
const run = promisify(execFile)
const env = (x = b, extra = {}) => ({ PATH: process.env.PATH, HOME: x.dir, BATON_ADMIN_ADDR: `unix:${x.adminSocket}`, ASAN_OPTIONS: 'exitcode=99', ...extra })
const cli = (...args) => run(BATON, args, { env: env(), maxBuffer: 1 << 26 }).then((r) => ({ code: 0, ...r }), (e) => e)
const says = async (code, ...args) => { const r = await cli(...args); assert.equal(r.code, code, `${args.join(' ')}: ${r.stdout}${r.stderr}`); return r }

// What came, and how far it was looked.
async function search (op, query = {}, opts) {
  const all = await op.stream('Search', query, opts), last = all.at(-1)
  assert.ok(last.looked && all.slice(0, -1).every((r) => !r.looked), 'the last one says how far')
  return Object.assign(all.slice(0, -1), { looked: last.looked, node: last.node })
}
const lines = (records) => records.map((r) => JSON.parse(r.json.toString()))

// One that goes on.
function follow (op, query = {}, opts = {}) {
  const client = op.clients.find((c) => c.Search), f = { records: [], looked: null, ended: null }
  f.call = client.Search({ follow: true, ...query }, op.meta(opts))
  f.call.on('data', (r) => { if (r.looked) f.looked = r.looked; else f.records.push(r) })
  f.call.on('error', (e) => { f.ended = refusalOf(e) }).on('end', () => { f.ended ||= { code: 'OK' } })
  f.has = (test, ms = 10000) => until('a record of what is followed', () => lines(f.records).find(test) || (f.ended && assert.fail(`it ended: ${f.ended.code} ${f.ended.message}`)), ms)
  f.begun = () => until('the beginning of what follows', () => f.looked || (f.ended && assert.fail(`it ended: ${f.ended.code} ${f.ended.message}`)))
  f.end = (ms = 10000) => until('the end of what follows', () => f.ended, ms)
  return f
}
const send = (by, more = {}) => by.submit(read('shared', more)).then((r) => r.handoff_id)

before(async () => {
  [planner, gplanner] = await b.startWith('planner', 'gplanner')
  local = new Operator(b.adminSocket)
  made.push(local)
  await local.init(person('root').spiffe)
  root = operator('root')
  await root.grant('acme-eyes', 'auditor', person('acme').spiffe, { tenant: 'acme' })
  await root.grant('globex-eyes', 'auditor', person('globex').spiffe, { tenant: 'globex' })
  await root.grant('all-eyes', 'auditor', person('all').spiffe)
  await root.grant('keys', 'platform', person('platform').spiffe)
})
after(async () => { for (const o of made) o.close(); await b.remove() })

test('B1 T5 I-9 The auditor of one tenant finds its records, and nothing of another or of nobody / who audits all finds each line of the file', async () => {
  const ours = await send(planner), theirs = await send(gplanner)
  await root.call('Apply', { resources: [{ agent: { tenant: 'globex', name: 'secret', spiffe_id: 'spiffe://globex.example/secret', owner: 'x@globex.example', may_call: ['shared'] } }], reason: 'only globex knows' })
  await root.revoke({ agent: { kind: 'agent', tenant: 'globex', name: 'secret' } })
  await root.call('Quarantine', { handoff_ids: [theirs], tenant: 'globex', reason: 'a test' })
  await root.grant('acme-sre', ['platform', 'sre', 'auditor'], person('intruder').spiffe, { tenant: 'acme' })
  for (const q of [{ sender: 'gplanner' }, { handoff_ids: [theirs] }]) await operator('intruder').call('Quarantine', { tenant: 'globex', reason: 'into their audit', ...q }).catch(() => {})
  const secret = { kind: 'agent', tenant: 'globex', name: 'secret' }, into = { reason: 'into their audit' }
  await operator('intruder').call('ReplayDeadLetters', { tenant: 'globex', handoff_ids: [theirs], ...into }).catch(() => {}) // which answers one by one
  for (const [method, request] of [['SetRouteState', { route: { name: 'shared', tenant: 'globex' }, state: 'ROUTE_STATE_PAUSED', ...into }], ['Rollback', { ref: secret, to_version: '1', ...into }],
    ['Delete', { ref: secret, version: '1', ...into }], ['Revoke', { agent: secret, ...into }], ['Revoke', { tenant: 'globex', ...into }], ['GetHandoff', { handoff_id: theirs }], ['CreateToken', { agent: secret, ...into }]]) {
    assert.match(await operator('intruder').call(method, request).then(() => 'it was done', (e) => e.details), /^(not_found|role_denied|wrong_state)/, method)
  }
  await search(operator('intruder'), { tenant: 'globex' })
  const all = await search(operator('all'), { limit: 1000 })
  const text = fs.readFileSync(file(), 'utf8').split('\n')
  for (const r of all) assert.ok(text.includes(r.json.toString()), 'the bytes of the line')
  for (const want of [{ tenant: 'globex', event: 'agents.changed' }, { tenant: 'globex', event: 'revocation.made' }, { tenant: 'globex', event: 'handoffs.quarantined' }, { event: 'node.started' }, { event: 'roles.changed' }, { event: 'peer.connected' }]) {
    assert.ok(lines(all).some((l) => Object.entries(want).every(([k, v]) => l[k] === v)), JSON.stringify(want))
  }
  for (const [i, r] of all.entries()) if (i) assert.ok(Number(r.seq) > Number(all[i - 1].seq), 'the oldest first')
  for (const [who, tenant, mine, other] of [['acme', 'acme', ours, theirs], ['globex', 'globex', theirs, ours]]) {
    const found = await search(operator(who), { limit: 1000 })
    const own = text.filter(Boolean).map((l) => JSON.parse(l)).filter((l) => l.tenant === tenant)
    assert.deepEqual([...new Set(lines(found).map((l) => l.tenant))], [tenant])
    assert.ok(found.length >= own.length)
    if (tenant === 'globex') assert.deepEqual(lines(found).filter((l) => l.spiffe_id === person('intruder').spiffe), []) // nor does he write into it
    assert.ok(lines(found).some((l) => l.handoff_id === mine))
    assert.deepEqual(lines(found).filter((l) => JSON.stringify(l).includes(other)), [])
    for (const r of found) assert.deepEqual([Number(r.seq), 'seq' in JSON.parse(r.json.toString())], [0, false]) // what others do is not to be counted
    assert.deepEqual([found.looked.bytes, found.looked.skipped].map(Number).concat(Number(found.looked.from_ms) % 60000), [0, 0, 0])
    const none = await search(operator(who), { tenant: tenant === 'acme' ? 'globex' : 'acme' })
    assert.deepEqual([...none], [])
    assert.deepEqual([...(await search(operator(who), { handoff_id: other }))], [])
  }
  assert.equal(lines(await search(operator('acme'), { limit: 1000 })).some((l) => l.rpc !== 'Search' && /globex/.test(JSON.stringify(l))), false) // but his own words
})

test('B1 How far it was looked tells the auditor of one tenant nothing of what others did before the time he asks for / who audits all is told', async () => {
  const theirs = Date.UTC(2021, 2, 4, 5, 6), from = Date.UTC(2024, 0, 1)
  fs.appendFileSync(file(), `{"at":"${new Date(theirs).toISOString()}","node":"n","event":"decision","tenant":"globex"}\n`)
  const looked = async (op) => { const { looked: l } = await search(op, { from_ms: from, limit: 1000 }); return [l.end, Number(l.from_ms)] }
  assert.deepEqual(await looked(operator('acme')), ['AUDIT_END_ALL', from])
  assert.deepEqual(await looked(operator('all')), ['AUDIT_END_ALL', theirs])
})

test('B1 Roles decide who may look: platform is refused / auditor, sre and the admin socket are not', async () => {
  await denied(search(operator('platform')), 'role_denied', 'PERMISSION_DENIED')
  await denied(search(operator('nobody')), 'role_denied')
  await root.grant('on-call', 'sre', person('sre').spiffe)
  for (const op of [operator('sre'), operator('all'), local]) assert.ok((await search(op, { limit: 1 })).length)
})

test('I-9 B8 R-6 Each filter is the member, to the byte: what matches is found, the newest at the limit, the oldest of them first / what is like it is not', async () => {
  const ids = []
  for (let i = 0; i < 5; i++) ids.push(await send(planner))
  const [line] = lines(await search(root, { handoff_id: ids[2], event: 'decision' }))
  const wants = { trace_id: line.trace_id, agent: 'planner', subject: line.subject, handoff_id: ids[2], tool: line.tool, tenant: 'acme', event: 'decision' }
  for (const [k, v] of Object.entries(wants)) {
    const found = lines(await search(root, { [k]: v, limit: 1000 }))
    assert.ok(found.length && found.every((l) => l[k] === v), k)
    if (['agent', 'subject', 'tool', 'tenant'].includes(k)) assert.deepEqual([...(await search(root, { [k]: v.slice(0, -1) }))], [], k)
  }
  assert.deepEqual(lines(await search(root, wants)).map((l) => l.handoff_id), [ids[2]])
  const newest = await search(root, { event: 'decision', agent: 'planner', limit: 3 })
  assert.deepEqual(lines(newest).map((l) => l.handoff_id), ids.slice(2))
  assert.equal(newest.looked.end, 'AUDIT_END_LIMIT')
  await refused(planner.submit(read('shared', { tool: 'no.such.tool' })))
  const every = async (q, test) => { const found = await search(root, { limit: 1000, ...q }); assert.ok(found.length && found.every(test), JSON.stringify(q)) }
  await every({ reason: 'REASON_TOOL_DENIED' }, (r) => { const [l] = lines([r]); return l.reason === 'tool_denied' && l.outcome === 'deny' })
  const at = Number(newest[1].at_ms)
  await every({ from_ms: at }, (r) => Number(r.at_ms) >= at)
  await every({ to_ms: at }, (r) => Number(r.at_ms) <= at)
  await every({ from_ms: at, to_ms: at, event: 'decision' }, (r) => Number(r.at_ms) === at)
  for (const [field, q] of [['limit', { limit: 1001 }], ['event', { event: 'no.such' }], ['trace_id', { trace_id: 'x' }], ['agent', { agent: '*' }], ['tenant', { tenant: 'a b' }], ['handoff_id', { handoff_id: '../x' }], ['subject', { subject: 'x'.repeat(1025) }],
    ['tool', { tool: 'x'.repeat(129) }], ['to_ms', { from_ms: 2, to_ms: 1 }], ['from_ms', { from_ms: -1 }], ['to_ms', { follow: true, to_ms: 5 }]]) {
    assert.match((await denied(search(root, q), 'malformed_envelope')).message, new RegExp(`${field}: `))
  }
})

test('I-9 B1 What a payload, a task id or a failure says cannot make a line match, or be shown as another tenant\'s / its own record is found', async () => {
  const evil = '","tenant":"globex","handoff_id":"x","event":"node.started","a":"'
  const id = (await planner.submit(read('shared', { idempotency_key: evil.slice(0, 60) }))).handoff_id
  const [line] = lines(await search(root, { handoff_id: id, event: 'decision' }))
  assert.equal(line.tenant, 'acme')
  const agent = { tenant: 'acme', name: 'evil', spiffe_id: 'spiffe://acme.example/evil', owner: 'x@acme.example', may_call: ['shared'] }
  await root.call('Apply', { resources: [{ agent }], reason: evil })
  const said = (records) => lines(records).some((l) => l.event === 'agents.changed' && l.tenant === 'acme' && l.message.includes(evil))
  assert.ok(said(await search(operator('acme'), { limit: 1000 })) && said(await search(root, { event: 'agents.changed' })))
  for (const l of lines(await search(operator('globex'), { limit: 1000 }))) assert.ok(l.tenant === 'globex' && l.handoff_id !== id && !l.message?.includes(evil))
  assert.deepEqual(lines(await search(root, { event: 'node.started', limit: 1000 })).map((l) => l.tenant), [undefined])
})

test('O-1 Lines of the file that are none of ours are passed over and counted: torn, NUL, huge, twice, not UTF-8, nested / the records between them are found', async () => {
  const good = (n, more = '') => `{"at":"2031-01-01T00:00:0${n}.000Z","node":"n","seq":${n},"event":"decision","tenant":"acme","tool":"planted"${more}}`
  const bad = ['{"at":"2031-01-01T00:00:01.000Z","event":"decision","tenant":"globex","tenant":"acme","tool":"planted"}', '{"at":"2031-01-01T00:00:01.000Z","event":"decision","tenant":"acme","tool":"planted","x":"\xff"}', good(1, ',"x":{"tool":"planted"}'), good(1, ',"x":"\0"'),
    good(1, `,"x":"${'y'.repeat(300000)}"`), good(1).slice(0, -4), 'not json', '', '[]', good(1, ',"tool":"planted"'), '\x1b]0;x\x07', `{"x":"${'z'.repeat(1200000)}"}`, `{"tool":"x\\",\\"tool\\":\\"planted","at":"2031-01-01T00:00:01.000Z","event":"decision","tenant":"acme"}`]
  const x = await b.twin('hostile')
  await x.start()
  try {
    const op = new Operator(x.adminSocket)
    made.push(op)
    fs.appendFileSync(file(x), Buffer.from([good(1), ...bad, good(2), good(3, ',"x":"\\u0022"')].join('\n') + '\n' + good(4), 'latin1'))
    const found = await search(op, { tool: 'planted', limit: 1000 })
    assert.deepEqual(lines(found).map((l) => l.seq).slice(0, 3), [1, 2, 3]) // the fourth has no end, or another line's
    assert.ok(Number(found.looked.skipped) >= bad.length - 1, found.looked.skipped)
    assert.equal((await search(op, { tool: 'planted', tenant: 'globex' })).length, 0)
    assert.ok((await search(op, { event: 'node.started' })).length)
    const size = fs.statSync(file(x)).size
    fs.truncateSync(file(x), size + 600e6) // takes no room, and more than is read for one search
    fs.appendFileSync(file(x), '\n')
    await op.call('ListRoutes')
    assert.equal((await search(op, { event: 'node.started' })).looked.end, 'AUDIT_END_BOUND')
    const r = await run(BATON, ['audit', 'search', '--event', 'node.started', '-q'], { env: env(x) }).catch((e) => e)
    assert.equal(r.code, 1, r.stderr)
    assert.match(r.stderr, /^not all of the audit was looked at: .*--to 20\d\d-\S+Z\n$/)
  } finally { await x.remove() }
})

test('O-1 Each search is written down, who looked and for what, and is no answer to itself / what follows goes on without end of its own making', async () => {
  await search(operator('acme'), { agent: 'planner', event: 'decision', limit: 7 })
  const line = await b.audited({ event: 'rpc', rpc: 'Search', spiffe_id: person('acme').spiffe, tenant: 'acme', message: 'looked for event decision, agent planner, at most 7' })
  assert.equal(line.roles, 'auditor')
  const one = await search(root, { event: 'rpc', limit: 1 })
  assert.notEqual(lines(one)[0].spiffe_id, person('root').spiffe)
  const f = follow(root, { event: 'rpc', limit: 1 })
  await f.begun()
  await search(operator('all'), { event: 'rpc', limit: 1 })
  await f.has((l) => l.rpc === 'Search' && l.spiffe_id === person('all').spiffe)
  await local.call('ListRoutes')
  await f.has((l) => l.rpc === 'ListRoutes')
  assert.equal(lines(f.records).filter((l) => l.rpc === 'Search' && l.spiffe_id === person('root').spiffe && /followed/.test(l.message)).length, 0)
  assert.ok(b.audit().filter((l) => l.rpc === 'Search' && l.spiffe_id === person('root').spiffe && /followed/.test(l.message)).length === 1)
  f.call.cancel()
})

test('R-6 Followed over two rotations each line comes once, and none is lost; what was rotated is found too / a link or another file in its place is not read', async () => {
  const f = follow(operator('all'), { event: 'decision', agent: 'planner', limit: 1 })
  await f.begun()
  const ids = [], n = f.records.length
  const some = async () => { for (let i = 0; i < 10; i++) ids.push(await send(planner)) }
  await some()
  for (const last of [1, 2]) {
    if (last === 2) fs.renameSync(`${file()}.1`, `${file()}.2`)
    fs.renameSync(file(), `${file()}.1`)
    await some()
    if (last === 2) b.signal('SIGHUP')
    await until('the audit in its new file', () => fs.existsSync(file()))
    await some()
  }
  await f.has((l) => l.handoff_id === ids.at(-1))
  assert.deepEqual(lines(f.records.slice(n)).map((l) => l.handoff_id), ids)
  f.call.cancel()
  assert.deepEqual(lines(await search(root, { event: 'decision', agent: 'planner', limit: ids.length })).map((l) => l.handoff_id), ids)
  const before = await search(root, { event: 'node.started', limit: 1000 })
  assert.equal(before.length, 1) // in the oldest
  fs.renameSync(`${file()}.2`, `${file()}.kept`)
  fs.symlinkSync(`${file()}.kept`, `${file()}.2`)
  assert.equal((await search(root, { event: 'node.started' })).length, 0)
  fs.rmSync(`${file()}.2`)
  fs.renameSync(`${file()}.kept`, `${file()}.2`)
  assert.equal((await search(root, { event: 'node.started' })).length, 1)
})

test('I-7 B1 Who follows is shown nothing more when his role is taken away, becomes another tenant\'s, or his token ends / who keeps his goes on', async () => {
  const stays = follow(operator('all'), { event: 'decision' })
  await root.grant('brief', 'auditor', person('brief').spiffe)
  const brief = follow(operator('brief'), { event: 'decision' })
  await Promise.all([stays.begun(), brief.begun()])
  await root.ungrant('brief')
  await brief.end()
  assert.deepEqual([brief.ended.reason, brief.ended.code], ['role_denied', 'PERMISSION_DENIED'])
  const seen = brief.records.length, id = await send(planner)
  await stays.has((l) => l.handoff_id === id)
  assert.equal(brief.records.length, seen)
  await root.grant('brief', 'auditor', person('brief').spiffe)
  const narrowed = follow(operator('brief'), { event: 'decision' })
  await narrowed.begun()
  const { version } = await root.role('brief')
  await root.grant('brief', 'auditor', person('brief').spiffe, { tenant: 'acme' }, version)
  await narrowed.end()
  assert.match(narrowed.ended.message, /role_denied: the roles by which this search began have changed/)
  await root.grant('token', ['auditor'], { issuer: 'static', claim: 'groups', value: 'eyes' })
  const ana = person('ana'), now = Math.floor(Date.now() / 1000)
  const token = await b.issuer.mint(ana, { aud: AUDIENCE, sub: 'ana', client_id: 'sso', scope: undefined, tenant: undefined, groups: 'eyes', iat: now - 3600 + 20, nbf: now - 3600 + 20, exp: now + 20 })
  const ends = follow(operator('ana'), { event: 'decision' }, { token })
  await ends.begun()
  await ends.end(120000)
  assert.equal(ends.ended.reason, 'expired_token')
  assert.equal(stays.ended, null)
  stays.call.cancel()
}, 150000)

test('B1 Three searches of one tenant under way keep no other tenant out: its fourth is refused with when to come again, and so are a second on a connection and a thirteenth of single tenants / who sees all still looks, and when one is over the next is served', async () => {
  await until('no search is left', async () => (await search(root, { limit: 1 }).catch(() => null)))
  const open = []
  const begin = async (who) => { const f = follow(who); open.push(f); await f.begun(); return f }
  for (let i = 0; i < 3; i++) await begin(operator('acme'))
  const fourth = await denied(search(operator('acme')), 'quota_exceeded', 'RESOURCE_EXHAUSTED')
  assert.match(fourth.message, /as many as may of a tenant that you see/)
  assert.ok(Number(fourth.retry_after_ms) > 0)
  const other = operator('globex')
  await search(other, { limit: 1 })
  await begin(other)
  assert.match((await denied(search(other), 'quota_exceeded')).message, /on this connection/)
  for (let i = 0; i < 8; i++) {
    await root.grant(`eyes-${i}`, 'auditor', person(`eyes-${i}`).spiffe, { tenant: `tenant-${i}` })
    await begin(operator(`eyes-${i}`))
  }
  await denied(search(operator('globex')), 'quota_exceeded')
  for (let i = 0; i < 4; i++) await begin(operator('all'))
  await denied(search(root), 'quota_exceeded')
  open[0].call.cancel()
  await until('a place', async () => (await search(root, { limit: 1 }).catch(() => null)))
  for (const f of open) f.call.cancel()
  for (let i = 0; i < 8; i++) await root.ungrant(`eyes-${i}`)
})

test('Who does not read holds up nobody, and who goes away ends his search: work goes on, and others look', async () => {
  const slow = operator('all'), call = slow.clients.find((c) => c.Search).Search({ limit: 1000, follow: true }, slow.meta())
  call.on('error', () => {})
  call.pause()
  for (let i = 0; i < 200; i++) await send(planner)
  assert.equal((await search(root, { event: 'decision', agent: 'planner', limit: 200 })).length, 200)
  call.cancel()
  await until('its place', async () => (await search(slow, { limit: 1 }).catch(() => null)))
})

test('I-9 baton audit search and tail: columns, forms, filters, times, the node that answered / what is not there or badly asked is said', async () => {
  const id = await send(planner)
  const r = await says(0, 'audit', 'search', '--handoff', id, '--event', 'decision', '--utc')
  assert.match(r.stdout, /^TIME +EVENT +AGENT +SUBJECT +ROUTE\/TOOL +OUTCOME +REASON +POLICY +TRACE\n20\d\d-\S+Z +decision +planner +\S+ +shared\/\S+ +allow +\S+ +sha256:\S+ +[0-9a-f]{32}\n$/)
  assert.match(r.stderr, /^node \S+: 1 record, looked back to /)
  const one = JSON.parse((await says(0, 'audit', 'search', '--handoff', id, '--event', 'decision', '-o', 'jsonl')).stdout)
  assert.equal(one.handoff_id, id)
  assert.ok(one.seq)
  assert.equal(JSON.parse((await says(0, 'audit', 'search', '--agent', 'planner', '--limit', '2', '-o', 'json')).stdout).length, 2)
  assert.deepEqual(JSON.parse((await says(0, 'audit', 'search', '--agent', 'nobody', '-o', 'json')).stdout), [])
  assert.equal((await says(0, 'audit', 'search', '--handoff', id, '--event', 'decision', '-o', 'name')).stdout, `${id}\n`)
  await says(0, 'audit', 'search', '--from', '1h', '--to', '2099-01-01T00:00:00Z', '--tenant', 'acme', '--subject', one.subject, '--tool', one.tool, '--trace', one.trace_id, '--reason', 'allowed')
  assert.match((await says(64, 'audit', 'search', '--from', 'yesterday')).stderr, /--from is how long ago/)
  assert.match((await says(64, 'audit', 'search', '--reason', 'nonsense')).stderr, /no reason nonsense/)
  assert.match((await says(65, 'audit', 'search', '--event', 'nonsense')).stderr, /no such event/)
  fs.appendFileSync(file(), '{"at":"2031-01-01T00:00:00.000Z","node":"n","event":"decision","tool":"terminal","agent":"a\u009b31m","route":"\\u001b[2J","handoff_id":"h\\u001b]0;x\\u0007"}\n')
  for (const form of ['table', 'wide', 'json', 'jsonl', 'name']) assert.doesNotMatch((await says(0, 'audit', 'search', '--tool', 'terminal', '-o', form)).stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  const tail = spawn(BATON, ['audit', 'tail', '--event', 'decision', '--limit', '1'], { env: env() })
  let out = '', err = ''
  tail.stdout.on('data', (d) => { out += d })
  tail.stderr.on('data', (d) => { err += d })
  await until('the tail', () => /following/.test(err))
  const next = await send(planner)
  const { trace_id } = await b.audited({ event: 'decision', handoff_id: next })
  await until('the line', () => out.includes(trace_id))
  tail.kill('SIGINT')
  const bash = await run('bash', ['-c', `${BATON} completion bash`], { env: env() })
  assert.match(bash.stdout, /audit/)
})

test('SIGTERM while somebody follows ends it with draining, and batond ends clean', async () => {
  const x = await b.twin('drains')
  const op = new Operator(x.adminSocket)
  made.push(op)
  await x.start()
  try {
    const f = follow(op)
    await f.begun()
    await x.stop()
    await f.end()
    assert.equal(f.ended.reason, 'draining')
  } finally { await x.remove() }
}, 60000)

test('An audit that goes to a device is refused by name', async () => {
  const x = await b.twin('device', { config: (t) => withAudience(t).replace(/file: .*audit\.jsonl["']?/, 'file: /dev/null') })
  const op = new Operator(x.adminSocket)
  made.push(op)
  await x.start()
  try {
    assert.match((await denied(search(op), 'wrong_state', 'FAILED_PRECONDITION')).message, /audit\.file is no file that can be looked through/)
  } finally { await x.remove() }
}, 60000)

test('I-9 I3 On a full disk, where work is refused, nobody looks through the audit unseen / once there is room it is looked through', async () => {
  const x = await b.twin('full')
  await x.start()
  try {
    const op = new Operator(x.adminSocket), by = await x.agent('planner')
    made.push(op)
    const id = await send(by)
    for (let i = 0; i < 60; i++) await send(by) // the limit is any file's: the log is to stay below it
    const limit = (to) => run('prlimit', ['--pid', `${x.process.pid}`, `--fsize=${to}:`])
    await limit(fs.statSync(file(x)).size)
    await until('work is refused', async () => (await send(by).catch((e) => e.details?.startsWith('store_unavailable'))) === true)
    assert.match((await denied(search(op, { handoff_id: id }), 'store_unavailable', 'UNAVAILABLE')).message, /nobody looks through it unseen|audit file cannot be written/)
    await limit('unlimited')
    await until('the file can be written', async () => (await search(op, { handoff_id: id }).catch(() => [])).length > 0)
    const { body } = await x.http('/metrics')
    assert.match(body, /^baton_audit_records_total\{event="decision"\} [1-9]/m)
    assert.match(body, /^baton_audit_failures_total [1-9]/m)
  } finally { await x.remove() }
}, 60000)
