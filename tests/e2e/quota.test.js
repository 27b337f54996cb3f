// What may one agent, or one tenant, use up of what others share? Its rate, what waits of it, the store's memory: over a limit it is told which,
// and when to come again; the others go on. One broker a test, because limits are its configuration.
import http2 from 'node:http2'
import fs from 'node:fs'
import { test, assert, sleep, until } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied, refusalOf } from './lib/agent.js'
import { encode } from './lib/wire.js'

async function withBroker (fn, { limits = {}, rates = {}, change = (t) => t, ...options } = {}) {
  const config = (t) => {
    for (const [name, rate] of Object.entries(rates)) t = t.replace(`{name: ${name},`, `{name: ${name}, rate_per_s: ${rate},`)
    return change(`${t}limits: ${JSON.stringify(limits)}\n`)
  }
  const b = new Broker({ config, ...options })
  try {
    await b.start()
    await fn(b)
  } finally {
    await b.remove()
  }
}

const told = (r) => { assert.ok(Number(r.retry_after_ms) > 0, JSON.stringify(r)); return Number(r.retry_after_ms) }
const big = (n = 900000) => Buffer.from(JSON.stringify('x'.repeat(n)))
// Many at once: those refused, in the order of their answers; what was accepted.
async function volley (n, send) {
  const out = { refused: [], accepted: [] }
  await Promise.all(Array.from({ length: n }, () => send().then((r) => out.accepted.push(r), (e) => out.refused.push(refusalOf(e)))))
  return out
}
// So often until one is refused for its rate. At one a second, ten at once cannot all get in but by chance.
async function overRate (send) {
  return until('a refusal', async () => (await volley(10, send)).refused.at(-1), 30000)
}
const counted = async (b, metric) => Number((await b.http('/metrics')).body.match(new RegExp(`^${metric.replace(/[{}]/g, '\\$&')} (\\d+)$`, 'm'))?.[1] ?? 0)
async function refusedBy (promise, key) {
  const r = await denied(promise, 'quota_exceeded', 'RESOURCE_EXHAUSTED')
  assert.ok(r.message.includes(key), r.message)
  told(r)
  return r
}

// ---- rates ----

test('An agent over its rate is denied, with when to come again / another agent goes on, and so does the one that waited', () => withBroker(async (b) => {
  const [planner, auditor] = [await b.agent('planner'), await b.agent('auditor')]
  const from = Date.now()
  const [mine, other] = await Promise.all([volley(40, () => planner.submit()), volley(40, () => auditor.submit())])
  const most = 2 + Math.ceil((Date.now() - from) / 1000)
  assert.equal(other.accepted.length, 40)
  assert.ok(mine.accepted.length >= 2 && mine.accepted.length <= most, `${mine.accepted.length} of at most ${most}`)
  for (const r of mine.refused) {
    assert.deepEqual([r.code, r.reason], ['RESOURCE_EXHAUSTED', 'quota_exceeded'])
    assert.match(r.message, /planner sends more than 1 submits a second: wait \d+ ms/)
    told(r)
  }
  await sleep(Math.max(...mine.refused.map(told)))
  await planner.submit()
  const lines = b.audit().filter((r) => r.event === 'decision' && r.reason === 'quota_exceeded')
  assert.equal(lines.length, mine.refused.length)
  assert.ok(lines.every((r) => r.agent === 'planner' && r.outcome === 'deny'))
  assert.equal(await counted(b, 'baton_decisions_total{route="",reason="quota_exceeded"}'), lines.length)
}, { rates: { planner: 1 } }))

test('The rate counts Submit, Run, Pipe and dry runs, each / a new credential on a Pipe is none, and the worker reports as it likes', () => withBroker(async (b) => {
  const [planner, worker] = [await b.agent('planner'), await b.agent('worker')]
  const s = await worker.subscribe({ max_in_flight: 20 })
  await planner.submit()
  const d = await s.delivery()
  const complete = (lease) => s.write({ complete: { lease, result: { payload: Buffer.from('{}'), stop_reason: 'done' } } })
  s.each((f) => { if (f.delivery) complete(f.delivery.lease) }) // a Run that was accepted ends with its result
  for (const send of [
    () => planner.submit(),
    () => planner.submit({}, { request: { dry_run: true } }),
    () => planner.run().end(20000).then((e) => { if (e.error) throw e.error })
  ]) {
    const r = await overRate(send)
    assert.equal(r.reason, 'quota_exceeded', JSON.stringify(r))
    told(r)
  }
  const pipe = planner.pipe()
  const receipts = []
  pipe.each((r) => receipts.push(r.receipt))
  const over = () => receipts.find((r) => r.decision.reason === 'REASON_QUOTA_EXCEEDED')
  for (let ref = 1; ref <= 20; ref++) pipe.write({ submit: { ref, envelope: planner.envelope() } })
  await until('a refusal', over, 20000)
  assert.ok(Number(over().decision.retry_after_ms) > 0)
  for (let i = 0; i < 20; i++) pipe.write({ credential: { access_token: planner.token } })
  await until('all receipts', () => receipts.length === 20, 20000)
  await sleep(Number(receipts.at(-1).decision.retry_after_ms) + 1000)
  pipe.write({ submit: { ref: 99, envelope: planner.envelope() } })
  await until('the one that waited', () => receipts.find((r) => Number(r.ref) === 99)?.handoff_id, 20000)
  pipe.call.end()
  complete(d.lease)
  assert.equal((await s.take('its end', (f) => f.settled?.lease.handoff_id === d.lease.handoff_id)).settled.ok, true)
  s.cut()
}, { limits: { rate_per_agent: 1 } }))

test('A reload changes a rate under an agent that is connected', () => withBroker(async (b) => {
  const planner = await b.agent('planner')
  await overRate(() => planner.submit())
  b.writeConfig((t) => `${t}limits: {rate_per_agent: 1000}\n`)
  await b.reloaded()
  await until('the new rate', async () => (await volley(40, () => planner.submit())).refused.length === 0)
}, { limits: { rate_per_agent: 1 } }))

test('Who goes on when it has been refused loses its connection, and the audit does not grow with the flood / later it is served, another all along', () => withBroker(async (b) => {
  const [planner, auditor] = [await b.agent('planner'), await b.agent('auditor')]
  const from = Date.now()
  const pipe = planner.pipe()
  for (let ref = 1; ref <= 5000; ref++) pipe.write({ submit: { ref } })
  const meanwhile = volley(20, () => auditor.submit())
  const end = await pipe.end(30000)
  assert.notEqual(end.code, 'OK')
  assert.equal((await meanwhile).accepted.length, 20)
  const refusals = b.audit().filter((r) => r.event === 'decision' && r.agent === 'planner')
  const most = 256 + 2 + 11 * Math.ceil((Date.now() - from) / 1000)
  assert.ok(refusals.length >= 256 && refusals.length <= most, `${refusals.length} of at most ${most}`)
  assert.equal(await counted(b, 'baton_connections_closed_total{listener="agents",why="too_many_refused"}'), 1)
  await sleep(2000)
  await until('it is served again', () => planner.submit(), 20000)
}, { rates: { planner: 1 } }))

// ---- what waits ----

test('A sender cannot use up a route: over its cap it is denied / another sender, and another route, take more; what it cancels and what is served makes room', () => withBroker(async (b) => {
  const [planner, auditor, worker] = [await b.agent('planner'), await b.agent('auditor'), await b.agent('worker')]
  const mine = []
  for (let i = 0; i < 3; i++) mine.push((await planner.submit()).handoff_id)
  const r = await refusedBy(planner.submit(), 'limits.waiting_per_sender')
  assert.match(r.message, /3 handoffs of planner wait on support_refund_assistant/)
  for (let i = 0; i < 3; i++) await auditor.submit()
  await planner.submit({ route: 'other' })
  await planner.cancel(mine[0])
  await planner.submit()
  await refusedBy(planner.submit(), 'limits.waiting_per_sender')
  const s = await worker.subscribe({ max_in_flight: 1 })
  await s.delivery()
  await until('room for one', () => planner.submit().then(() => true, () => false))
  s.cut()
}, { limits: { waiting_per_sender: 3 }, profiles: Object.fromEntries([ROUTE, 'other'].map((r) => [r, profile(r)])) }))

test('A sender cannot use up a route by large payloads either / small ones of others get in', () => withBroker(async (b) => {
  const [planner, auditor] = [await b.agent('planner'), await b.agent('auditor')]
  await planner.submit({ payload: big() })
  await planner.submit({ payload: big() })
  const r = await refusedBy(planner.submit({ payload: big() }), 'limits.waiting_bytes_per_sender')
  assert.match(r.message, /more than 2097152 bytes of planner/)
  await planner.submit()
  await auditor.submit({ payload: big() })
}, { limits: { waiting_bytes_per_sender: '2MiB' } }))

test('A tenant cannot use up the store: over its cap on all routes together its agents are denied / another tenant goes on, and so do they when work was served', () => withBroker(async (b) => {
  const [planner, auditor, worker, gplanner] = [await b.agent('planner'), await b.agent('auditor'), await b.agent('worker'), await b.agent('gplanner')]
  const ids = []
  for (const [a, route] of [[planner, ROUTE], [planner, 'other'], [auditor, 'other'], [auditor, ROUTE]]) ids.push((await a.submit({ route })).handoff_id)
  for (const a of [planner, auditor]) {
    const r = await refusedBy(a.submit(), 'limits.waiting_per_tenant')
    assert.match(r.message, /^quota_exceeded: 4 handoffs wait on the routes of tenant acme, and no more than 4 may/)
  }
  assert.equal(b.audit().filter((r) => r.reason === 'quota_exceeded').length, 2)
  for (let i = 0; i < 4; i++) await gplanner.submit()
  await refusedBy(gplanner.submit(), 'tenant globex')
  await until('the gauge', async () => await counted(b, 'baton_tenant_handoffs_waiting{tenant="acme"}') === 4)
  const s = await worker.subscribe({ routes: ['other'], max_in_flight: 2 })
  for (let i = 0; i < 2; i++) assert.equal((await s.complete(await s.delivery())).ok, true)
  await until('room', () => planner.submit().then(() => true, () => false))
  s.cut()
}, { limits: { waiting_per_tenant: 4 }, profiles: Object.fromEntries([ROUTE, 'other'].map((r) => [r, profile(r)])) }))

// ---- the store's memory ----

const SMALL = (t) => t.replace('store:\n', 'store:\n  max_memory: 64MiB\n  keep_finished: 7s\n').replace('window: 5m', 'window: 3s')

test('A tenant that sends all it can is stopped by its cap long before Redis is full / another tenant is served and goes on sending', () => withBroker(async (b) => {
  const [planner, gplanner, gworker] = [await b.agent('planner'), await b.agent('gplanner'), await b.agent('gworker')]
  const mine = await volley(40, () => planner.submit({ payload: big() }, { timeout: 30000 }))
  assert.ok(mine.accepted.length >= 20 && mine.refused.length >= 15, `${mine.accepted.length} accepted`)
  assert.ok(mine.refused.every((r) => r.reason === 'quota_exceeded' && r.message.includes('limits.waiting_bytes_per_tenant')))
  const s = await gworker.subscribe({ max_in_flight: 1 })
  for (let i = 0; i < 5; i++) {
    const { handoff_id } = await gplanner.submit({ payload: big(100000) })
    const d = await s.delivery()
    assert.equal(d.lease.handoff_id, handoff_id)
    assert.equal((await s.complete(d)).ok, true)
    await gplanner.state(handoff_id, 'COMPLETED')
  }
  s.cut()
}, { limits: { waiting_bytes_per_tenant: '20MiB' }, change: (t) => t.replace('store:\n', 'store:\n  max_memory: 64MiB\n').replace('timeout: 2s', 'timeout: 9s') }))

const UNCAPPED = { waiting_bytes_per_tenant: 0, waiting_bytes_per_sender: 0 }
// Fills the store until nothing of `sender` gets in: also when what was on its way is not counted any more, for Redis is asked each second.
function filler (sender, ids) {
  const more = async () => {
    const v = await volley(4, () => sender.submit({ payload: big() }, { timeout: 30000 }))
    ids.push(...v.accepted.map((r) => r.handoff_id))
    return !v.accepted.length && v.refused[0]
  }
  return () => until('admission to stop', async () => { if (!await more()) return false; await sleep(1500); return more() }, 60000)
}
const cancelAll = async (agent, ids) => { for (const id of ids.splice(0)) await agent.cancel(id).catch((e) => assert.ok(['FAILED_PRECONDITION', 'NOT_FOUND'].includes(refusalOf(e).code))) } // completed, or forgotten by now
const room = (agent) => until('room, when what has ended is forgotten', () => agent.submit().then(() => true, () => false), 30000)

test('A tenant that fills Redis is stopped at 60 % with a reason / the other one sends, is served and gets results; when room was made the first one goes on', () => withBroker(async (b) => {
  const [planner, worker, gplanner, gworker] = [await b.agent('planner'), await b.agent('worker'), await b.agent('gplanner'), await b.agent('gworker')]
  const ids = []
  const fill = filler(planner, ids)
  await fill()
  const s = await worker.subscribe({ max_in_flight: 1 })
  for (let i = 0; i < 3; i++) assert.equal((await s.complete(await s.delivery())).ok, true)
  await s.leave()
  const full = await fill()
  assert.deepEqual([full.code, full.reason], ['RESOURCE_EXHAUSTED', 'quota_exceeded'])
  assert.match(full.message, /memory is full to 60 %, and tenant acme keeps \d+ bytes in it, more than its share/)
  told(full)
  assert.ok(ids.length >= 25, `${ids.length} were accepted`)
  const g = await gworker.subscribe({ max_in_flight: 1 })
  for (let i = 0; i < 5; i++) {
    const { handoff_id } = await gplanner.submit({ payload: big(100000) })
    const d = await g.delivery()
    assert.equal(d.lease.handoff_id, handoff_id)
    assert.equal((await g.complete(d, { refund: 'draft' })).ok, true)
    assert.equal((await gplanner.get(handoff_id)).result.payload.toString(), '{"refund":"draft"}')
  }
  g.cut()
  await cancelAll(planner, ids)
  await room(planner)
}, { limits: UNCAPPED, change: SMALL }), 120000)

const ACME = [{ name: 'planner', tenant: 'acme', call: true }, { name: 'worker', tenant: 'acme', serve: true }]

test('Redis filled to its admission limit takes no new work and says so / what was taken is delivered, completed, cancelled and read, and when room was made new work gets in', () => withBroker(async (b) => {
  const [planner, worker] = [await b.agent('planner'), await b.agent('worker')]
  const ids = []
  const fill = filler(planner, ids)
  const full = await fill()
  assert.deepEqual([full.code, full.reason], ['RESOURCE_EXHAUSTED', 'quota_exceeded'])
  assert.match(full.message, /memory is full to 80 %/)
  told(full)
  assert.ok(ids.length >= 40, `${ids.length} were accepted`)
  const s = await worker.subscribe({ max_in_flight: 1 })
  for (let i = 0; i < 3; i++) assert.equal((await s.complete(await s.delivery())).ok, true)
  await s.leave()
  await fill()
  const last = ids.at(-1)
  await cancelAll(planner, ids)
  assert.equal((await planner.get(last)).state, 'HANDOFF_STATE_CANCELLED')
  await room(planner)
}, { limits: UNCAPPED, change: SMALL, agents: ACME }), 120000)

// ---- who reads slowly ----

const frame = (m) => { const h = Buffer.alloc(5); h.writeUInt32BE(m.length, 1); return Buffer.concat([h, m]) }
const rss = (b) => Number(fs.readFileSync(`/proc/${b.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) >> 10

test('A subscriber that asks for much and reads nothing costs a few messages of memory, not what it asked for / who reads gets the rest', () => withBroker(async (b) => {
  const [planner, slow, worker] = [await b.agent('planner'), await b.agent('worker'), await b.agent('worker2')]
  const warm = await worker.subscribe({ max_in_flight: 5 })
  for (let i = 0; i < 5; i++) { await planner.submit({ payload: big() }); await warm.complete(await warm.delivery()) }
  await warm.leave()
  const before = rss(b)
  const s = http2.connect(`https://${b.addr}`, { ca: fs.readFileSync(slow.trust), key: fs.readFileSync(slow.key), cert: fs.readFileSync(slow.cert), settings: { initialWindowSize: 0 } })
  s.on('error', () => {})
  const st = s.request({ ':method': 'POST', ':path': '/baton.v1.HandoffService/Subscribe', 'content-type': 'application/grpc', te: 'trailers', authorization: `Bearer ${slow.token}` })
  st.on('error', () => {})
  st.write(frame(encode('baton.v1.SubscriberFrame', { open: { routes: [ROUTE], max_in_flight: 1000 } })))
  await until('its subscription', async () => await counted(b, `baton_subscribers{route="${ROUTE}"}`) === 1)
  const n = 80
  for (let i = 0; i < n; i++) await planner.submit({ payload: big() })
  await sleep(1500)
  assert.ok(rss(b) - before < 40, `${before} MiB before, ${rss(b)} with ${n * 0.9} MB for one that does not read`)
  const good = await worker.subscribe({ max_in_flight: 4 })
  for (let i = 0; i < n - 12; i++) assert.equal((await good.complete(await good.delivery(20000))).ok, true)
  good.cut()
  s.destroy()
}, { workers: 1, asan: 'quarantine_size_mb=1' }))
