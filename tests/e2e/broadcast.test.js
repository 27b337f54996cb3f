// Does every agent of a broadcast route have its own copy, in its own inbox, whatever becomes of the others? A disconnected agent catches up.
import fs from 'node:fs'
import { spawnSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, BATOND, profile } from './lib/broker.js'
import { Operator } from './lib/operator.js'
import { denied, read } from './lib/agent.js'

const names = ['everybody', 'away', 'once', 'apart', 'letters', 'full', 'paused', 'moved', 'crash', 'kind', 'nobody', 'later', 'large']
const tools = { allowed: ['orders.lookup', 'refunds.draft_refund'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' }, 'refunds.draft_refund': { scopes: ['refunds:draft'], side_effect: 'draft' } } }
const broadcast = (route, delivery = {}, more = {}) => profile(route, { tools, delivery: { ...profile(route).delivery, kind: 'broadcast', ...delivery }, ...more })
const own = { letters: { max_attempts: 1 }, apart: { lease_ms: 60000, resume_ms: 60000 } }
const profiles = Object.fromEntries(names.map((n) => [n, broadcast(n, own[n])]))
profiles.large = broadcast('large', {}, { sandbox: { ...profile('x').sandbox, limits: { max_payload_bytes: 12 << 20 } } })
profiles.nobody = broadcast('nobody', {}, { identity: { ...profile('x').identity, tenants: ['initech'] } })
const AGENTS = [
  { name: 'planner', tenant: 'acme', call: true }, { name: 'worker', tenant: 'acme', serve: true }, { name: 'worker2', tenant: 'acme', serve: true },
  { name: 'gplanner', tenant: 'globex', call: true }, { name: 'gworker', tenant: 'globex', serve: true }
]
const b = new Broker({ profiles, agents: AGENTS, config: (t) => t.replace('max_payload: 1MiB', 'max_payload: 12MiB').replace('log: {', 'limits: {waiting_per_route: 3}\nlog: {') })
let planner, worker, worker2, gplanner, gworker, op

before(async () => {
  [planner, worker, worker2, gplanner, gworker] = await b.startWith('planner', 'worker', 'worker2', 'gplanner', 'gworker')
  op = new Operator(b.adminSocket)
})
after(async () => { op?.close(); await b.remove() })

let n = 0
const publish = (route, more = {}, from = planner) => from.submit(read(route, { payload: Buffer.from(JSON.stringify({ n: ++n })), ...more }))
const serve = (agent, route, open = {}) => agent.subscribe({ routes: [route], max_in_flight: 8, ...open })
const number = (d) => JSON.parse(d.envelope.payload).n
const drain = async (agent, route, want) => { // takes so many, completes each, and sees that there are no more
  const s = await serve(agent, route)
  const got = []
  while (got.length < want) { const d = await s.delivery(); got.push(number(d)); assert.ok((await s.complete(d)).ok) }
  await sleep(300)
  assert.deepEqual(s.deliveries(), [])
  await s.leave()
  return got
}

test('Each agent that serves the route has a copy of its own: one fails, one completes, and neither sees the other\'s', async () => {
  const [s, s2] = [await serve(worker, 'everybody'), await serve(worker2, 'everybody')]
  const receipt = await publish('everybody')
  assert.equal(receipt.state, 'HANDOFF_STATE_COMPLETED')
  const [d, d2] = [await s.delivery(), await s2.delivery()]
  assert.deepEqual([number(d), number(d2)], [n, n])
  assert.equal(new Set([d.lease.handoff_id, d2.lease.handoff_id, receipt.handoff_id]).size, 3)
  assert.deepEqual(d.envelope.nonce, d2.envelope.nonce)
  for (const one of [d, d2]) assert.ok(one.traceparent.includes(receipt.trace_id))
  assert.ok((await s.complete(d, { read: true })).ok)
  await s2.fail(d2, true)
  const again = await s2.delivery()
  assert.deepEqual([again.lease.handoff_id, again.attempt], [d2.lease.handoff_id, 2])
  assert.equal((await worker.get(d.lease.handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
  await denied(worker.get(d2.lease.handoff_id), 'not_found')
  const { handoffs } = await worker.list({ route: 'everybody' })
  assert.deepEqual(handoffs.map((h) => h.handoff_id), [d.lease.handoff_id])
  assert.deepEqual((await planner.list({ route: 'everybody' })).handoffs.map((h) => [h.handoff_id, h.state]), [[receipt.handoff_id, 'HANDOFF_STATE_COMPLETED']])
  assert.ok((await s2.complete(again)).ok)
  await s.leave(); await s2.leave()
})

test('O-1 O-3 The audit has the decision once and a line for each copy, all of one trace', async () => {
  const receipt = await publish('everybody')
  assert.deepEqual([await drain(worker, 'everybody', 1), await drain(worker2, 'everybody', 1)], [[n], [n]])
  await b.audited({ event: 'handoff.completed', trace_id: receipt.trace_id, assignee: 'worker2' }).catch(() => 0)
  const lines = b.audit().filter((r) => r.trace_id === receipt.trace_id)
  const of = (event) => lines.filter((r) => r.event === event)
  assert.deepEqual(of('decision').map((r) => [r.handoff_id, r.state]), [[receipt.handoff_id, 'completed']])
  assert.deepEqual(of('handoff.accepted').map((r) => r.assignee).sort(), ['worker', 'worker2'])
  assert.deepEqual(of('handoff.leased').map((r) => r.assignee).sort(), ['worker', 'worker2'])
  assert.equal(new Set(of('handoff.completed').map((r) => r.handoff_id)).size, 2)
  assert.ok(lines.every((r) => r.route === 'everybody'), JSON.stringify(lines.map((r) => [r.event, r.route])))
})

test('A disconnected agent catches up, in order, also after a restart; a slow one holds up nobody', async () => {
  const s = await serve(worker, 'away', { max_in_flight: 1 })
  await publish('away')
  const first = n
  const held = await s.delivery() // and it keeps it
  await publish('away'); await publish('away')
  assert.deepEqual(await drain(worker2, 'away', 3), [first, first + 1, first + 2])
  await s.complete(held)
  const second = await s.delivery()
  assert.equal(number(second), first + 1)
  s.cut()
  op.close()
  await b.stop()
  await b.start();
  [planner, worker, worker2, gplanner, gworker] = await Promise.all(['planner', 'worker', 'worker2', 'gplanner', 'gworker'].map((a) => b.agent(a)))
  op = new Operator(b.adminSocket)
  const back = await serve(worker, 'away')
  const rest = []
  while (rest.length < 2) { const d = await back.delivery(10000); rest.push(number(d)); await back.complete(d) }
  assert.deepEqual(rest.sort(), [first + 1, first + 2])
  await back.leave()
})

test('T7 E8 A replay reaches nobody a second time, nor does the same idempotency key / a new nonce does', async () => {
  const e = planner.envelope(read('once', { idempotency_key: 'event-1', payload: Buffer.from('{"n": 1}') }))
  const send = (change) => planner.unary('Submit', { envelope: { ...e, ...change } })
  const receipt = await send({})
  await denied(send({}), 'replayed_nonce')
  const twin = await send({ nonce: planner.envelope().nonce })
  assert.deepEqual([twin.handoff_id, twin.duplicate, twin.state], [receipt.handoff_id, true, 'HANDOFF_STATE_COMPLETED'])
  await denied(send({ nonce: planner.envelope().nonce, payload: Buffer.from('{"n": 2}') }), 'idempotency_conflict')
  assert.deepEqual(await drain(worker, 'once', 1), [1])
  assert.deepEqual(await drain(worker2, 'once', 1), [1])
  await publish('once')
  assert.deepEqual(await drain(worker, 'once', 1), [n])
})

test('Run of a broadcast tells that it is stored, and ends', async () => {
  const events = await planner.run(read('once')).all()
  assert.deepEqual(events.map((e) => [Number(e.cursor), e.state]), [[1, 'HANDOFF_STATE_QUEUED'], [2, 'HANDOFF_STATE_COMPLETED']])
  assert.equal(events[0].receipt.state, 'HANDOFF_STATE_COMPLETED')
  const watched = await planner.watch(events[0].handoff_id).all()
  assert.deepEqual(watched.map((e) => [Number(e.cursor), e.state]), events.map((e) => [Number(e.cursor), e.state]))
  assert.equal((await drain(worker2, 'once', 2)).length, 2)
})

test('T5 B1 Nobody but its own agent can report on, resume or see a copy; another tenant\'s agents have none', async () => {
  const [s, s2] = [await serve(worker, 'apart'), await serve(worker2, 'apart')]
  const g = await serve(gworker, 'apart')
  await publish('apart')
  const [d, d2] = [await s.delivery(), await s2.delivery()]
  assert.equal((await worker2.report({ complete: { lease: d.lease, result: {} } })).reason, 'REASON_LEASE_LOST')
  await s2.leave()
  const thief = await serve(worker2, 'apart', { resume: [d.lease, d2.lease] })
  assert.deepEqual(thief.granted.resumed.map((l) => l.handoff_id), [d2.lease.handoff_id])
  await denied(worker2.get(d.lease.handoff_id), 'not_found')
  await denied(gworker.get(d.lease.handoff_id), 'not_found')
  await sleep(300)
  assert.deepEqual(g.deliveries(), [])
  await publish('apart', {}, gplanner)
  assert.equal(number(await g.delivery()), n)
  await sleep(300)
  assert.deepEqual([s.deliveries(), thief.deliveries()], [[], []])
  assert.ok((await s.complete(d)).ok)
  assert.ok((await thief.complete(d2)).ok)
  for (const x of [s, thief, g]) await x.leave()
})

test('A copy that fails for good is dead-lettered in its inbox; replayed, it goes to that agent alone', async () => {
  await publish('letters')
  const s = await serve(worker, 'letters')
  await s.fail(await s.delivery(), true)
  await s.leave()
  assert.deepEqual(await drain(worker2, 'letters', 1), [n])
  const of = async (route) => (await op.call('ListDeadLetters', { route })).handoffs
  const [letter, ...others] = await of('letters')
  assert.deepEqual([letter.route, others.length, (await of('letters/worker')).length, (await of('letters/worker2')).length], ['letters', 0, 1, 0])
  const { letters } = await op.call('ReplayDeadLetters', { handoff_ids: [letter.handoff_id], reason: 'a test' })
  assert.equal(letters[0].reason, 'REASON_ALLOWED')
  assert.deepEqual(await drain(worker, 'letters', 1), [n])
  assert.deepEqual(await drain(worker2, 'letters', 0), [])
})

test('An inbox that is full holds up nobody: its copy is dead-lettered, told of, and not lost', async () => {
  for (let i = 0; i < 4; i++) { await publish('full'); assert.deepEqual(await drain(worker, 'full', 1), [n]) }
  const dead = (await op.call('ListDeadLetters', { route: 'full/worker2' })).handoffs
  assert.equal(dead.length, 1)
  await b.audited({ event: 'handoff.dead_lettered', handoff_id: dead[0].handoff_id, assignee: 'worker2', message: 'its inbox is full' })
  assert.deepEqual(await drain(worker2, 'full', 3), [n - 3, n - 2, n - 1])
  await op.call('ReplayDeadLetters', { handoff_ids: [dead[0].handoff_id], reason: 'it is back' })
  assert.deepEqual(await drain(worker2, 'full', 1), [n])
})

test('R-1 A paused broadcast route hands out of no inbox; one inbox can be paused, or closed, alone', async () => {
  const [s, s2] = [await serve(worker, 'paused'), await serve(worker2, 'paused')]
  const set = (route, state) => op.set(route, state, { tenant: 'acme' })
  const notice = (x, kind) => x.take(`a notice ${kind}`, (f) => f.notice?.kind === `NOTICE_KIND_ROUTE_${kind}`)
  await set('paused', 'PAUSED')
  await publish('paused')
  await notice(s, 'PAUSED'); await notice(s2, 'PAUSED')
  await sleep(1200)
  assert.deepEqual([s.deliveries(), s2.deliveries()], [[], []])
  await set('paused/worker', 'PAUSED')
  await set('paused', 'RUNNING')
  await s2.complete(await s2.delivery())
  await sleep(1200)
  assert.deepEqual(s.deliveries(), [])
  const rows = (await op.call('ListRoutes', { route: 'paused', tenant: 'acme' })).routes
  assert.deepEqual(rows.map((r) => [r.route.name, r.route.kind, r.route.state, Number(r.waiting)]), [
    ['paused', 'ROUTE_KIND_BROADCAST', 'ROUTE_STATE_RUNNING', 0], ['paused/worker', 'ROUTE_KIND_QUEUE', 'ROUTE_STATE_PAUSED', 1], ['paused/worker2', 'ROUTE_KIND_QUEUE', 'ROUTE_STATE_RUNNING', 0]])
  await set('paused/worker', 'RUNNING')
  await s.complete(await s.delivery())
  await set('paused/worker2', 'DRAINING')
  await publish('paused')
  await s.complete(await s.delivery())
  await sleep(300)
  assert.deepEqual(s2.deliveries(), [])
  await s.leave(); await s2.leave()
})

test('The command line knows inboxes by name', async () => {
  const env = { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' }
  const run = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env })
  const list = run('route', 'list', '--tenant', 'acme')
  assert.match(list.stdout, /everybody +acme/)
  assert.match(list.stdout, /everybody\/worker2 +acme/)
  assert.match(run('route', 'show', 'everybody/worker', '--tenant', 'acme').stdout, /route: +everybody\/worker/)
  assert.equal(run('route', 'pause', 'everybody/worker', '--tenant', 'acme', '--reason', 'a test').status, 0)
  assert.equal(run('route', 'resume', 'everybody/worker', '--tenant', 'acme', '--reason', 'a test').status, 0)
  assert.notEqual(run('route', 'show', 'everybody/stranger', '--tenant', 'acme').status, 0)
  const check = run('store', 'check', '-o', 'json')
  assert.equal(check.status, 0, check.stdout + check.stderr)
})

test('What is scheduled comes when it is due, and what nobody fetched by its deadline expires in each inbox', async () => {
  const [s, s2] = [await serve(worker, 'later'), await serve(worker2, 'later')]
  const due = Date.now() + 1500
  await publish('later', { start_at_ms: due })
  assert.deepEqual(await Promise.all([s, s2].map((x) => x.delivery().then((d) => [number(d), Date.now() >= due]))), [[n, true], [n, true]])
  for (const x of [s, s2]) await x.leave()
  const brief = await publish('later', { deadline_ms: Date.now() + 5000 })
  await until('both copies to expire', () => b.audit().filter((r) => r.event === 'handoff.expired' && r.trace_id === brief.trace_id).length === 2, 20000)
})

test('Who is registered later has what is published from then on; who is gone has nothing', async () => {
  const rows = AGENTS.filter((a) => a.name !== 'worker2')
  const reload = async (agents) => {
    b.agentRows = agents
    b.writeConfig()
    await b.reloaded()
  }
  await reload(rows)
  await publish('moved')
  assert.deepEqual((await op.call('ListRoutes', { route: 'moved', tenant: 'acme' })).routes.map((r) => r.route.name), ['moved', 'moved/worker'])
  await reload(AGENTS)
  worker2 = await b.agent('worker2')
  await publish('moved')
  assert.deepEqual(await drain(worker2, 'moved', 1), [n])
  assert.deepEqual(await drain(worker, 'moved', 2), [n - 1, n])
})

test('A route that becomes a broadcast is served from inboxes at once: its streams are told to subscribe again', async () => {
  const change = async (kind) => {
    b.writeProfiles({ ...profiles, kind: broadcast('kind', { kind }) })
    await b.reloaded()
  }
  await change('queue')
  const s = await serve(worker, 'kind')
  await change('broadcast')
  assert.equal((await s.end()).reason, 'draining')
  await publish('kind')
  assert.deepEqual([await drain(worker, 'kind', 1), await drain(worker2, 'kind', 1)], [[n], [n]])
})

test('What nobody serves is refused: nobody would have a copy', async () => {
  b.writeProfiles({ ...profiles, nobody: broadcast('nobody') })
  b.agentRows = AGENTS.map((a) => ({ ...a }))
  const yaml = (t) => b.change(t).replace(/(name: (?:g?worker2?),.*serve: \[.*?),?"nobody"/g, '$1')
  b.profiles = { ...profiles, nobody: broadcast('nobody') }
  b.writeConfig(yaml)
  await b.reloaded()
  const r = await denied(publish('nobody'), 'route_disabled')
  assert.match(r.message, /nobody would have a copy/)
})

test('The copies of one broadcast have a cap together / what fits is taken', async () => {
  const send = (mib) => planner.submit(read('large', { payload: Buffer.alloc(mib << 20, 'x') }), { timeout: 30000 })
  const r = await denied(send(9), 'payload_too_large')
  assert.match(r.message, /2 agents would have a copy of \d+ bytes: at most 16 MiB in all/)
  await send(7)
  for (const one of [worker, worker2]) {
    const s = await serve(one, 'large')
    const d = await s.delivery(20000)
    assert.equal(d.envelope.payload.length, 7 << 20)
    await s.complete(d)
    await s.leave()
  }
})

test('A killed broker and Redis: every copy is there once, and nobody has one twice', async () => {
  const sent = []
  for (let i = 0; i < 3; i++) { await publish('crash'); sent.push(n) }
  assert.deepEqual(await drain(worker, 'crash', 3), sent)
  op.close()
  await b.crash()
  b.profiles = profiles
  b.writeConfig()
  await b.start();
  [planner, worker, worker2] = await Promise.all(['planner', 'worker', 'worker2'].map((a) => b.agent(a)))
  op = new Operator(b.adminSocket)
  assert.deepEqual(await drain(worker2, 'crash', 3), sent)
  assert.deepEqual(await drain(worker, 'crash', 0), [])
})

test('A copy published at one node is delivered by another', async () => {
  const peer = await b.twin('second', { config: (t) => b.change(t).replace('url: ""', `url: "unix://${b.socket()}"\n  keys_file: ${b.path('state', 'seal.keys')}`) })
  try {
    await peer.start()
    const s = await serve(await peer.agent('worker'), 'everybody')
    const s2 = await serve(worker2, 'everybody')
    await publish('everybody')
    for (const x of [s, s2]) { const d = await x.delivery(); assert.equal(number(d), n); await x.complete(d); await x.leave() }
  } finally { await peer.remove() }
})

test('A-3 A broadcast of what writes or waits for an approval is refused when it is configured, by name', async () => {
  const bad = async (change) => {
    fs.writeFileSync(b.path('profiles', 'kind.json'), JSON.stringify(broadcast('kind', {}, change)))
    const r = spawnSync(BATOND, ['--config', b.path('baton.yaml'), '--check-config'], { encoding: 'utf8' })
    return [r.status !== 0, r.stdout + r.stderr]
  }
  const [failed, text] = await bad({ tools: { allowed: ['orders.close'], spec: { 'orders.close': { scopes: ['orders:read'], side_effect: 'write' } } } })
  assert.ok(failed, text)
  assert.match(text, /delivery.kind: broadcast: every agent would do what orders.close does/)
  const [failed2, text2] = await bad({ tools: { ...tools, approval_required: ['orders.ask'], spec: { ...tools.spec, 'orders.ask': { scopes: ['orders:read'], side_effect: 'read' } } } })
  assert.ok(failed2, text2)
  assert.match(text2, /orders.ask is in tools.approval_required/)
  const [failed3, text3] = await bad({})
  assert.ok(!failed3, text3)
})
