// Is an envelope accepted at most once, whatever happens to the broker and its store, and is nothing lost that was acknowledged?
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { randomUUID } from 'node:crypto'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { Broker, ROUTE } from './lib/broker.js'
import { Agent, denied, refused } from './lib/agent.js'
import { bytesField, encode } from './lib/wire.js'

const b = new Broker()
let planner, auditor, worker

const start = async () => { [planner, auditor, worker] = await b.startWith('planner', 'auditor', 'worker') }
before(start)
after(() => b.remove())

const bytesOf = (change) => bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope(change)))
const send = (bytes, who = planner) => who.raw('Submit', bytes)
const count = async () => (await planner.list({ page_size: 500 })).handoffs.length
// A newly stamped envelope is taken again once the clock has passed the store's floor and the skew.
const takesNew = (key) => until('a new envelope to be taken', () => planner.submit(key ? { idempotency_key: key } : {}), 15000)

async function doAll (ids) { // every one of these is delivered exactly once
  const s = await worker.subscribe({ max_in_flight: 50 })
  const got = []
  s.each((f) => { if (f.delivery) { got.push(f.delivery.lease.handoff_id); s.write({ complete: { lease: f.delivery.lease, result: {} } }) } })
  await until('all deliveries', () => ids.every((id) => got.includes(id)), 15000)
  await sleep(300)
  assert.equal(new Set(got).size, got.length)
  await s.leave()
}

test('E8 T7 B4 a replay is refused, audited, and its sender learns the first handoff / a new nonce is taken', async () => {
  const bytes = bytesOf()
  const first = await send(bytes)
  const r = await denied(send(bytes), 'replayed_nonce', 'ALREADY_EXISTS')
  assert.equal(r.handoff_id, first.handoff_id)
  await b.audited({ event: 'decision', reason: 'replayed_nonce', trace_id: r.trace_id })
  const nonce = planner.envelope().nonce
  await planner.submit({ nonce })
  const other = await denied(planner.submit({ nonce }), 'replayed_nonce')
  assert.equal(other.handoff_id, undefined, 'other bytes under the nonce learn nothing')
  await planner.submit()
})

test('A nonce belongs to its sender and route: another agent\'s equal one is neither read nor suppressed', async () => {
  const nonce = planner.envelope().nonce
  const mine = await planner.submit({ nonce })
  const theirs = await auditor.submit({ nonce })
  assert.notEqual(mine.handoff_id, theirs.handoff_id)
})

// A way to the broker on which its answers can be held back, and which can be cut.
async function wire () {
  const ends = []
  const w = { held: false, heldBytes: 0 }
  const server = net.createServer((client) => {
    const broker = net.connect(b.port, '127.0.0.1')
    ends.push(client, broker)
    for (const s of [client, broker]) s.on('error', () => {})
    client.on('data', (d) => broker.write(d))
    broker.on('data', (d) => { if (w.held) w.heldBytes += d.length; else client.write(d) })
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  w.addr = `127.0.0.1:${server.address().port}`
  w.cut = () => { server.close(); for (const s of ends) s.destroy() }
  return w
}

test('T7 the same bytes sent again after a lost receipt are one handoff', async () => {
  const before = await count()
  const trace_id = randomUUID().replaceAll('-', '')
  const bytes = bytesOf({ traceparent: `00-${trace_id}-00f067aa0ba902b7-01` })
  const w = await wire()
  const far = new Agent({ ...b.leaves.planner, trust: b.serverCa.cert }, w.addr, { token: planner.token })
  b.made.push(far)
  await far.whoami()
  w.held = true
  const lost = refused(far.raw('Submit', bytes, { timeout: 30000 }))
  const stored = await b.audited({ event: 'decision', outcome: 'allow', trace_id })
  await until('the receipt on its way', () => w.heldBytes > 0)
  w.cut()
  const r = await lost
  assert.deepEqual([r.code, r.reason, r.handoff_id], ['UNAVAILABLE', undefined, undefined], r.message)
  for (let i = 0; i < 2; i++) assert.equal((await denied(send(bytes), 'replayed_nonce', 'ALREADY_EXISTS')).handoff_id, stored.handoff_id)
  assert.equal(await count(), before + 1)
  assert.equal((await planner.get(stored.handoff_id)).state, 'HANDOFF_STATE_QUEUED')
})

test('T7 many copies at once: one is accepted', async () => {
  const bytes = bytesOf()
  const answers = await Promise.all(Array.from({ length: 30 }, () => send(bytes).then(() => 'ok', (e) => e.metadata.get('baton-reason')[0])))
  assert.deepEqual(answers.sort(), ['ok', ...Array(29).fill('replayed_nonce')])
})

test('E8 a replay after a broker restart is refused; what was acknowledged is delivered', async () => {
  const bytes = bytesOf()
  const first = await send(bytes)
  await b.stop()
  await start()
  const r = await denied(send(bytes), 'replayed_nonce')
  assert.equal(r.handoff_id, first.handoff_id)
  await takesNew()
  await doAll([first.handoff_id])
})

test('E8 attack 34: nor after the broker and its Redis were killed', async () => {
  const all = []
  for (let i = 0; i < 10; i++) { const bytes = bytesOf(); all.push([bytes, (await send(bytes)).handoff_id]) }
  await b.crash()
  await start()
  for (const [bytes, id] of all) assert.equal((await denied(send(bytes), 'replayed_nonce')).handoff_id, id)
  await takesNew()
  await doAll(all.map(([, id]) => id))
})

test('E8 T7 nor after Redis lost its data: what was stamped before is stale / newly stamped under the same key is taken', async () => {
  const key = `order-${Date.now()}`
  const bytes = bytesOf({ idempotency_key: key })
  await send(bytes)
  await b.redis((r) => r.call('FLUSHALL'))
  const r = await refused(send(bytes))
  assert.equal(r.reason, 'stale_envelope', r.message)
  await b.audited({ event: 'decision', reason: 'stale_envelope', trace_id: r.trace_id })
  const anew = await takesNew(key)
  assert.equal(anew.duplicate, false)
  await denied(send(bytes), 'stale_envelope')
  await b.audited({ event: 'store.incarnation' })
})

test('E8 nor after Redis lost only the tail of its log: the lost ones are stale, the kept ones replays', async () => {
  const kept = bytesOf()
  const id = (await send(kept)).handoff_id
  const lost = bytesOf()
  const dir = path.join(path.dirname(b.socket()), 'appendonlydir')
  const file = () => path.join(dir, fs.readdirSync(dir).filter((f) => f.endsWith('.incr.aof')).sort().at(-1))
  const size = fs.statSync(file()).size
  await send(lost)
  await b.crash()
  await sleep(300)
  const aof = file()
  assert.ok(fs.statSync(aof).size > size + 40)
  fs.truncateSync(aof, size + 40)
  await start()
  const r = await refused(send(lost))
  assert.equal(r.reason, 'stale_envelope', r.message)
  assert.equal((await denied(send(kept), 'replayed_nonce')).handoff_id, id)
  await takesNew()
  await b.stop()
  await start()
  assert.equal((await denied(send(kept), 'replayed_nonce')).handoff_id, id, 'and on the second start too')
  await doAll([id])
})

test('O-8 after all that each handoff has one record of its acceptance and one of its end', async () => {
  const lines = b.audit()
  const ends = {}
  for (const r of lines) if (r.event === 'handoff.completed' && !r.reconciled) ends[r.handoff_id] = (ends[r.handoff_id] || 0) + 1
  assert.ok(Object.keys(ends).length >= 12)
  assert.deepEqual(Object.values(ends).filter((n) => n !== 1), [])
  for (const id of Object.keys(ends)) assert.equal(lines.filter((r) => r.event === 'decision' && r.outcome === 'allow' && r.handoff_id === id).length, 1)
  assert.ok(lines.every((r) => r.route !== undefined || r.event !== 'decision' || r.outcome === 'deny'), ROUTE)
})
