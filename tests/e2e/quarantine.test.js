// How does an SRE put work aside, and let it go again? By id, or all that a route, a sender or a trace picks: what waits, what is held, what a worker has.
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { execFile } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { denied, read } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { ROOT } from './lib/wire.js'

const routes = ['ids', 'held', 'taken', 'picked', 'other', 'policy', 'sealed', 'revoked', 'tenants', 'away', 'cli', 'forms']
const profiles = Object.fromEntries(routes.map((r) => [r, profile(r)]))
profiles.cast = profile('cast', { tools: { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } }, delivery: { ...profile('x').delivery, kind: 'broadcast' } })
const b = new Broker({ admin: true, profiles })
const made = []
let op, planner, auditor, worker, gplanner, gworker

const run = promisify(execFile)
const cli = (...args) => run(BATON, args, { env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  .then((r) => ({ code: 0, ...r }), (e) => e)
const says = async (code, ...args) => { const r = await cli(...args); assert.equal(r.code, code, `${args.join(' ')}: ${r.stdout}${r.stderr}`); return r }
const add = (what, more = {}) => op.call('Quarantine', { ...pick(what), reason: 'a test', ...more })
const release = (what, more = {}) => op.call('ReleaseHandoffs', { ...pick(what), reason: 'a test', ...more })
const pick = (what) => (typeof what === 'string' ? { handoff_ids: [what] } : Array.isArray(what) ? { handoff_ids: what } : what)
const aside = async (route, more = {}) => (await op.call('ListHandoffs', { filter: { route, state: 'HANDOFF_STATE_QUARANTINED', ...more.filter }, tenant: 'acme', ...more })).handoffs
const send = (route, more = {}, by = planner) => by.submit(read(route, more)).then((r) => r.handoff_id)
const n = (answer) => Number(answer.count)
const serve = (route, more = {}, by = worker) => by.subscribe({ routes: [route], max_in_flight: 10, ...more })
const nothing = async (s, ms = 400) => { await sleep(ms); assert.deepEqual(s.deliveries(), []) }

before(async () => {
  [planner, auditor, worker, gplanner, gworker] = await b.startWith('planner', 'auditor', 'worker', 'gplanner', 'gworker')
  op = new Operator(b.adminSocket)
  made.push(op)
  await op.init(b.person('root').spiffe)
})
after(async () => { for (const o of made) o.close(); await b.remove() })

test('R-5 O-3 By id: what was put aside is delivered to nobody until it is released, and then once / what stands beside it is; who did it, from where and why is in the audit', async () => {
  const ids = [await send('ids'), await send('ids')], beside = await send('ids')
  const r = await add(ids)
  assert.deepEqual([n(r), r.left], [2, []])
  const s = await serve('ids')
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, beside)
  await s.complete(d)
  await nothing(s)
  const [listed] = await aside('ids')
  assert.equal(listed.handoff_id, ids[1]) // the newest first
  assert.equal(listed.quarantined_why, 'a test')
  assert.match(listed.quarantined_by, /^uid=\d+/)
  assert.equal(listed.envelope, null)
  const call = await b.audited({ event: 'handoffs.quarantined', rpc: 'Quarantine', message: 'put aside 2 handoffs: a test' })
  assert.match(call.remote, /^uid=\d+ pid=\d+/)
  assert.equal(call.roles, 'sre')
  for (const handoff_id of ids) assert.match((await b.audited({ event: 'handoff.quarantined', handoff_id, agent: 'planner' })).message, /^put aside by uid=\d+.*: a test$/)
  assert.equal(n(await release(ids)), 2)
  const back = [await s.delivery(), await s.delivery()]
  assert.deepEqual(back.map((x) => x.lease.handoff_id).sort(), [...ids].sort())
  for (const x of back) await s.complete(x)
  await nothing(s)
  await b.audited({ event: 'handoffs.released', rpc: 'ReleaseHandoffs', message: 'released 2 handoffs: a test' })
  await b.audited({ event: 'handoff.released', handoff_id: ids[0] })
  assert.deepEqual(await aside('ids'), [])
  await s.leave()
})

test('R-5 Its sender sees that it is in quarantine, and may cancel it; why and by whom he is not told', async () => {
  const id = await send('ids')
  const watch = planner.watch(id)
  await watch.take('the first event')
  await op.call('Quarantine', { handoff_ids: [id], reason: 'planner looks stolen' })
  const ev = await watch.take('its quarantine', (e) => e.state === 'HANDOFF_STATE_QUARANTINED')
  assert.equal(ev.note, 'put aside by an operator')
  const h = await planner.get(id)
  assert.doesNotMatch(JSON.stringify([ev, h, await planner.list({ route: 'ids' })]), /stolen|uid=/)
  assert.equal((await planner.cancel(id)).state, 'HANDOFF_STATE_CANCELLED')
  assert.match((await release(id)).left[0].message, /it is cancelled, not in quarantine/)
})

test('R-5 What is held, scheduled or backs off waits again as it did', async () => {
  const held = (await planner.submit({ route: 'held', tool: 'refunds.issue_refund', side_effect: 'SIDE_EFFECT_WRITE', destination: 'https://api.example.com/' })).handoff_id
  const later = await send('held', { start_at_ms: Date.now() + 8000 })
  assert.equal((await planner.get(held)).state, 'HANDOFF_STATE_HELD')
  assert.equal(n(await add([held, later])), 2)
  assert.equal(n(await release([held, later])), 2)
  assert.equal((await planner.get(held)).state, 'HANDOFF_STATE_HELD')
  assert.equal((await planner.get(later)).state, 'HANDOFF_STATE_SCHEDULED')
  const s = await serve('held')
  await nothing(s)
  const d = await s.delivery(20000)
  assert.equal(d.lease.handoff_id, later)
  await s.complete(d)
  await s.leave()
})

test('R-5 attack 15 Work that a worker has is taken: he is told to stop, what he says is lost, released it is delivered again / another lease of his stays', async () => {
  const s = await serve('taken')
  const id = await send('taken'), d = await s.delivery()
  await send('taken')
  const stays = await s.delivery()
  assert.equal(n(await add(id)), 1)
  const stop = await s.stop()
  assert.equal(stop.lease.handoff_id, id)
  assert.equal(stop.reason, 'REASON_LEASE_LOST')
  const settled = await s.complete(d)
  assert.equal(settled.decision?.reason || settled.reason, 'REASON_LEASE_LOST', JSON.stringify(settled))
  assert.equal((await s.complete(stays)).ok, true)
  assert.equal(n(await release(id)), 1)
  const again = await s.delivery()
  assert.deepEqual([again.lease.handoff_id, again.attempt], [id, 2])
  assert.notEqual(again.lease.fencing_token, d.lease.fencing_token)
  const late = await s.complete(d) // by the old fence
  assert.equal(late.decision?.reason || late.reason, 'REASON_LEASE_LOST')
  assert.equal((await s.complete(again)).ok, true)
  await planner.state(id, 'COMPLETED')
  await s.leave()
})

test('R-5 Of a route, of a sender, of a trace: what they pick is counted by dry_run, put aside, and let go; nothing else is touched', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
  const mine = [await send('picked'), await send('picked')], its = await send('picked', {}, auditor)
  const traced = await send('picked', { traceparent: `00-${trace}-00f067aa0ba902b7-01` })
  const elsewhere = await send('other')
  const counts = async (f, what) => [n(await f(what, { dry_run: true })), n(await f(what))]
  const out = async () => (await aside('picked')).map((h) => h.handoff_id).sort()
  assert.deepEqual(await counts(add, { trace_id: trace, tenant: 'acme' }), [1, 1])
  assert.deepEqual(await out(), [traced])
  assert.deepEqual(await counts(add, { sender: 'auditor', tenant: 'acme' }), [1, 1])
  assert.deepEqual(await out(), [traced, its].sort())
  assert.deepEqual(await counts(add, { route: 'picked', tenant: 'acme' }), [2, 2])
  assert.deepEqual(await counts(release, { route: 'picked', sender: 'auditor', tenant: 'acme' }), [1, 1])
  assert.deepEqual(await out(), [...mine, traced].sort())
  assert.deepEqual(await counts(release, { route: 'picked', trace_id: trace, tenant: 'acme' }), [1, 1])
  assert.deepEqual(await counts(release, { route: 'picked', tenant: 'acme' }), [2, 2])
  assert.deepEqual(await out(), [])
  assert.deepEqual(await counts(add, { sender: 'nobody', tenant: 'acme' }), [0, 0])
  assert.equal((await planner.get(elsewhere)).state, 'HANDOFF_STATE_QUEUED')
  await b.audited({ event: 'handoffs.quarantined', message: 'put aside 1 handoffs, sender auditor: a test' })
  await b.audited({ event: 'rpc', rpc: 'Quarantine', message: '(dry run) put aside 2 handoffs, route picked: a test' })
  const s = await serve('picked'), got = []
  for (let i = 0; i < 4; i++) { const d = await s.delivery(); got.push(d.lease.handoff_id); await s.complete(d) }
  assert.deepEqual(got.sort(), [...mine, its, traced].sort())
  await s.leave()
})

test('R-5 Of a broadcast: its copies in all inboxes by the route or the trace, those in one by that inbox; what it is itself is over', async () => {
  const worker2 = await b.agent('worker2')
  const { handoff_id, trace_id } = await planner.submit(read('cast'))
  assert.deepEqual([n(await add({ route: 'cast/worker', tenant: 'acme' })), n(await add({ route: 'cast', tenant: 'acme' }))], [1, 1])
  assert.deepEqual(await aside('cast').then((v) => v.map((h) => h.trace_id)), [trace_id, trace_id])
  assert.match((await add(handoff_id)).left[0].message, /it is completed: it is over/)
  const [s, s2] = [await serve('cast'), await serve('cast', {}, worker2)]
  await nothing(s)
  assert.equal(n(await release({ route: 'cast/worker', tenant: 'acme' })), 1)
  await s.complete(await s.delivery())
  await nothing(s2)
  assert.equal(n(await release({ trace_id, tenant: 'acme' })), 1)
  await s2.complete(await s2.delivery())
  for (const one of [s, s2]) await one.leave()
})

test('R-5 attack 15 What the policy no longer lets pass stays when it is released, and says why / once it is allowed again it comes out', async () => {
  const id = await send('policy')
  const tools = b.profiles.policy.tools
  const { 'orders.lookup': gone, ...spec } = tools.spec
  assert.ok(gone)
  b.profiles.policy.tools = { ...tools, allowed: tools.allowed.filter((t) => t !== 'orders.lookup'), spec }
  b.writeProfiles()
  await b.reloaded()
  const s = await serve('policy')
  await planner.state(id, 'QUARANTINED') // at its delivery
  const [h] = await aside('policy')
  assert.match(h.quarantined_why, /orders.lookup/)
  const r = await release(id)
  assert.deepEqual([n(r), r.left[0].handoff_id, r.left[0].reason], [0, id, 'REASON_TOOL_DENIED'])
  const all = await release({ route: 'policy', tenant: 'acme' })
  assert.deepEqual([n(all), Number(all.kept)], [0, 1])
  assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_QUARANTINED')
  b.profiles.policy.tools = tools
  b.writeProfiles()
  await b.reloaded()
  assert.equal(n(await release(id)), 1)
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, id)
  await s.complete(d)
  await s.leave()
})

test('R-5 What does not open is found by operators, and comes out by no release', async () => {
  const ids = [await send('sealed'), await send('sealed')]
  await b.redis(async (r) => {
    const [k, l] = await r.keys('{acme/sealed}:b:*')
    const [x, y] = [await r.call('GET', k), await r.call('GET', l)]
    await r.call('MSET', k, y, l, x)
  })
  const s = await serve('sealed')
  await until('both to be found out', async () => (await aside('sealed')).length === 2)
  const listed = await aside('sealed')
  for (const h of listed) assert.deepEqual([h.sender.name, h.tool, h.quarantined_why], ['planner', '', 'what is stored of it does not open'])
  const r = await release(ids)
  assert.deepEqual([n(r), ...r.left.map((l) => l.message)], [0, 'what is stored of it does not open', 'what is stored of it does not open'])
  assert.equal(Number((await release({ route: 'sealed', tenant: 'acme' })).kept), 2)
  await nothing(s)
  const fresh = await send('sealed'), d = await s.delivery()
  assert.equal(d.lease.handoff_id, fresh)
  await s.complete(d)
  await s.leave()
})

test('R-5 R-3 attack 15 What a revocation in force put aside comes out by no release; and what an operator put aside by no lift / after the lift, it comes out', async () => {
  const theirs = await send('revoked', {}, auditor), mine = await send('revoked')
  await add(mine)
  const v = await op.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'auditor' } })
  assert.equal(Number(v.handoffs_quarantined), 1)
  const [h] = await aside('revoked', { sender: 'auditor' })
  assert.deepEqual([h.handoff_id, h.quarantined_why], [theirs, `revoked: ${v.revocation_id}`])
  const r = await release(theirs)
  assert.deepEqual([n(r), r.left[0].reason], [0, 'REASON_REVOKED'])
  assert.deepEqual(await release({ route: 'revoked', sender: 'auditor', tenant: 'acme' }).then((x) => [n(x), Number(x.kept)]), [0, 1])
  await op.lift(v.revocation_id, { release_handoffs: true })
  const s = await serve('revoked')
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, theirs)
  await s.complete(d)
  await nothing(s) // mine is an operator's to release
  const w = await op.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'planner' } })
  await op.lift(w.revocation_id, { release_handoffs: true })
  await nothing(s)
  assert.equal(n(await release(mine)), 1)
  await s.complete(await s.delivery())
  await s.leave()
})

test('R-5 O-1 An SRE of another tenant finds nothing, by id, by route or by trace; ids that are not there look the same / his own he puts aside; no other role does', async () => {
  const root = new Operator(b.adminAddr, b.person('root')), gus = new Operator(b.adminAddr, b.person('gus', 'globex')), una = new Operator(b.adminAddr, b.person('una'))
  made.push(root, gus, una)
  await root.grant('gsre', 'sre', b.person('gus', 'globex').spiffe, { tenant: 'globex' })
  await root.grant('una', ['auditor', 'platform'], b.person('una').spiffe)
  const ours = await send('tenants'), own = await send('tenants', {}, gplanner)
  const missing = ours.slice(0, -8) + own.slice(-8)
  for (const method of ['Quarantine', 'ReleaseHandoffs']) {
    const ask = (what) => gus.call(method, { reason: 'a test', ...what })
    const r = await ask({ handoff_ids: [ours, missing, 'nonsense'] })
    assert.deepEqual(r.left.map((l) => [l.reason, l.message]), Array(3).fill(['REASON_NOT_FOUND', 'no such handoff']))
    await denied(ask({ route: 'tenants', tenant: 'acme' }), 'not_found', 'NOT_FOUND')
    await denied(ask({ route: 'tenants', tenant: 'nowhere' }), 'not_found', 'NOT_FOUND')
    await denied(una.call(method, { handoff_ids: [ours], reason: 'a test' }), 'role_denied', 'PERMISSION_DENIED')
  }
  assert.equal((await planner.get(ours)).state, 'HANDOFF_STATE_QUEUED')
  assert.equal(n(await gus.call('Quarantine', { route: 'tenants', reason: 'a test' })), 1)
  assert.equal((await planner.get(ours)).state, 'HANDOFF_STATE_QUEUED')
  assert.equal((await gplanner.get(own)).state, 'HANDOFF_STATE_QUARANTINED')
  const line = await b.audited({ event: 'handoffs.quarantined', spiffe_id: b.person('gus', 'globex').spiffe })
  assert.equal(line.roles, 'sre')
  const seen = (await gus.call('ListHandoffs', { filter: { state: 'HANDOFF_STATE_QUARANTINED' } })).handoffs
  assert.deepEqual(seen.map((h) => h.handoff_id), [own])
  assert.equal(n(await gus.call('ReleaseHandoffs', { handoff_ids: [own], reason: 'a test' })), 1)
})

test('R-5 I3 While Redis does not answer nothing is said to be done, by id or by route / when it is back, it is', async () => {
  const ids = [await send('away'), await send('away')]
  const pid = await b.redisPid()
  process.kill(pid, 'SIGSTOP')
  try {
    for (const what of [{ handoff_ids: ids }, { route: 'away', tenant: 'acme' }]) await denied(add(what), 'store_unavailable', 'UNAVAILABLE')
    assert.equal((await cli('quarantine', 'add', ...ids, '--reason', 'x')).code, 75)
  } finally { process.kill(pid, 'SIGCONT') }
  await b.ready()
  await until('both to be in quarantine, whatever came of the calls before', async () => {
    await add({ route: 'away', tenant: 'acme' })
    return (await aside('away')).length === 2
  })
  assert.equal(n(await release({ route: 'away', tenant: 'acme' })), 2)
  const s = await serve('away')
  for (let i = 0; i < 2; i++) await s.complete(await s.delivery())
  await nothing(s)
  await s.leave()
})

test('R-5 The commands: add counts and asks before more than what was named, list says who and why, release lets go', async () => {
  const ids = [await send('cli'), await send('cli')]
  assert.match((await says(64, 'quarantine', 'add')).stderr, /needs ids, or --route, --sender, --trace/)
  assert.match((await says(64, 'quarantine', 'add', ids[0], '--route', 'cli', '--reason', 'x')).stderr, /needs ids, or/)
  assert.match((await says(64, 'quarantine', 'add', ids[0])).stderr, /needs --reason/)
  assert.match((await says(64, 'quarantine', 'add', '--route', 'cli', '--tenant', 'acme', '--reason', 'x')).stderr, /Say --yes to mean it/)
  assert.match((await says(0, 'quarantine', 'add', '--route', 'cli', '--tenant', 'acme', '--reason', 'x', '--dry-run')).stderr, /2 handoffs would be put aside/)
  assert.equal((await planner.get(ids[0])).state, 'HANDOFF_STATE_QUEUED')
  assert.match((await says(0, 'quarantine', 'add', ids[0], '--reason', 'odd orders')).stderr, /1 handoff put aside/)
  assert.match((await says(1, 'quarantine', 'add', ...ids, '--reason', 'odd orders')).stderr, new RegExp(`${ids[0]}: it is quarantined already\\n1 handoff put aside; the others not`))
  const shown = (await says(0, 'quarantine', 'list', '--route', 'cli', '--tenant', 'acme')).stdout.trim().split('\n')
  assert.equal(shown.length, 3)
  assert.match(shown[1], new RegExp(`^${ids[1]} +cli +orders.lookup +planner .*uid=\\d+.* odd orders`))
  assert.match((await says(64, 'quarantine', 'release', '--sender', 'planner', '--tenant', 'acme', '--reason', 'x')).stderr, /Say --yes/)
  assert.match((await says(0, 'quarantine', 'release', '--route', 'cli', '--tenant', 'acme', '--reason', 'looked at', '--yes')).stderr, /2 handoffs released/)
  assert.equal((await says(0, 'quarantine', 'list', '--route', 'cli', '--tenant', 'acme', '-o', 'name')).stdout, '')
  const json = JSON.parse((await says(1, 'quarantine', 'release', ids[0], '--reason', 'x', '-o', 'json')).stdout)
  assert.equal(json.left[0].handoff_id, ids[0])
})

test('The commands of the README that put work aside do what it says', async () => {
  const block = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/```sh\n(baton quarantine [^`]*)```/)[1].replaceAll('planner2', 'auditor')
  const id = await send('cli', {}, auditor)
  const env = { PATH: `${path.dirname(BATON)}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' }
  const r = await run('bash', ['-euc', block], { env })
  assert.match(r.stderr, /1 handoff would be put aside[^]*1 handoff put aside[^]*1 handoff released/)
  assert.match(r.stdout, new RegExp(`${id} .* INC-8: odd refunds`))
  assert.equal((await auditor.get(id)).state, 'HANDOFF_STATE_QUEUED')
})

test('What cannot be meant is refused by the name of its field, and puts nothing aside', async () => {
  const id = await send('forms')
  const bad = async (m, field) => { const r = await denied(op.call('Quarantine', { reason: 'a test', ...m }), 'malformed_envelope', 'INVALID_ARGUMENT'); assert.match(r.message, new RegExp(field)) }
  await bad({}, 'handoff_ids')
  await bad({ handoff_ids: [id], route: 'forms' }, 'handoff_ids')
  await bad({ handoff_ids: Array(257).fill(id) }, 'at most 256')
  await bad({ handoff_ids: [id], reason: '' }, 'reason')
  await bad({ handoff_ids: [id], reason: 'two\nlines' }, 'reason')
  await bad({ route: 'forms' }, 'tenant: there is more than one')
  await denied(op.call('Quarantine', { route: 'nowhere', tenant: 'acme', reason: 'a test' }), 'not_found', 'NOT_FOUND')
  assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_QUEUED')
  assert.deepEqual(await add([id, id]).then((r) => [n(r), r.left[0].message]), [1, 'it is quarantined already'])
})

test('R-5 I4 Two nodes: what one puts aside is delivered by none, and the worker of the other is told when his lease is next renewed', async () => {
  const cluster = new Cluster(2, { workers: 1 })
  try {
    await cluster.start()
    const [one, two] = cluster.nodes
    const [sender, w] = [await one.agent('planner'), await two.agent('worker')], there = new Operator(one.adminSocket)
    const route = 'support_refund_assistant'
    const s = await w.subscribe({ routes: [route], max_in_flight: 1 })
    const { handoff_id } = await sender.submit(read(route)), d = await s.delivery()
    const waits = (await sender.submit(read(route))).handoff_id
    const r = await there.call('Quarantine', { route, tenant: 'acme', reason: 'a test' })
    assert.equal(n(r), 2)
    const settled = await s.complete(d) // before he hears of it
    assert.equal(settled.decision?.reason || settled.reason, 'REASON_LEASE_LOST', JSON.stringify(settled))
    await nothing(s)
    assert.equal(n(await there.call('ReleaseHandoffs', { handoff_ids: [handoff_id], reason: 'a test' })), 1)
    const again = await s.delivery()
    assert.equal(again.lease.handoff_id, handoff_id)
    assert.equal(n(await there.call('Quarantine', { handoff_ids: [handoff_id], reason: 'a test' })), 1)
    assert.equal((await s.stop(20000)).lease.handoff_id, handoff_id)
    assert.equal(n(await there.call('ReleaseHandoffs', { route, tenant: 'acme', reason: 'a test' })), 2)
    const last = [await s.delivery()]
    await s.complete(last[0])
    last.push(await s.delivery())
    await s.complete(last[1])
    assert.deepEqual(last.map((x) => x.lease.handoff_id).sort(), [handoff_id, waits].sort())
    there.close()
    await cluster.stop()
  } finally { await cluster.remove() }
})
