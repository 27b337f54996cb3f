// Is what has effects done twice after a fail-over of Redis? A replica that lacks the last changes is promoted: keyed work that was accepted just before
// is held until its sender submits it again. Two real redis-servers that change places, and a sentinel that names the one that the test says.
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied, read } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { RedisServer } from './lib/redisd.js'
import { FakeSentinel, NAME } from './lib/sentinels.js'
import { bytesField, encode } from './lib/wire.js'

const delivery = { ...profile(ROUTE).delivery, lease_ms: 60000 } // a lease outlives the fail-over
const b = new Broker({ fsync: 'always', profiles: { [ROUTE]: profile(ROUTE, { delivery }) } })
const NOTE = /held after a fail-over of the store: submit again under the same idempotency key, or cancel/
let primary, standby, sentinel, operator, planner, auditor, worker

before(async () => {
  await b.prepare()
  ;[primary, standby] = ['r0', 'r1'].map((d) => new RedisServer(b.path(d)))
  for (const r of [primary, standby]) await (await r.choosePort()).start()
  sentinel = await new FakeSentinel(primary.port).start()
  b.writeConfig((t) => t.replace('url: ""', `sentinels: ["${sentinel.url}"]\n  sentinel_master: ${NAME}\n  keys_file: ${b.path('state', 'seal.keys')}`))
  await follow()
  ;[planner, auditor, worker] = await b.startWith('planner', 'auditor', 'worker')
  operator = new Operator(b.adminSocket)
})
after(async () => {
  operator?.close()
  await b.stop()
  await sentinel?.stop()
  for (const r of [primary, standby]) await r?.kill()
  await b.remove()
})

const under = (key, more = {}) => ({ idempotency_key: key, payload: Buffer.from(JSON.stringify(key)), ...more })

async function follow () {
  if (!standby.process) await standby.start()
  await standby.call('REPLICAOF', '127.0.0.1', primary.port)
  await until('the replica to follow', async () => (await standby.info('master_link_status')) === 'up', 20000)
}

// The replica has all that was done so far, and nothing of what is done from now on.
async function cutOff () {
  await until('the replica to have it', async () => (await primary.info('master_repl_offset')) === (await standby.info('slave_repl_offset')))
  await standby.call('REPLICAOF', '127.0.0.1', '1')
}

async function serving () {
  await b.ready(30000)
  await until('work to be taken', () => planner.submit(read(ROUTE), { request: { dry_run: true } }), 20000)
}

const openings = () => b.audit().filter((r) => r.event === 'store.incarnation' && r.route === ROUTE).length

async function failOver () {
  const before = openings()
  await primary.kill()
  ;[primary, standby] = [standby, primary]
  await primary.call('REPLICAOF', 'NO', 'ONE')
  sentinel.says = primary.port
  await until('the route to be opened anew', () => openings() > before, 30000)
  await serving()
}

// A worker that does whatever comes: which handoffs, in that order.
async function serve () {
  const s = await until('a subscription', () => worker.subscribe({ max_in_flight: 20 }))
  s.done = []
  s.each((f) => {
    if (!f.delivery) return
    s.done.push(f.delivery.lease.handoff_id)
    s.write({ complete: { lease: f.delivery.lease, result: { payload: Buffer.from('{"done":true}'), stop_reason: 'done' } } })
  })
  return s
}

const taken = (from, change, opts) => until('it to be taken', () => from.submit(change, opts), 20000)
const ends = (handoff_id) => b.audit().filter((r) => r.event === 'handoff.completed' && r.handoff_id === handoff_id).length

// Whatever else is queued behind it has been handed out.
async function nothingMore (s) {
  const { handoff_id } = await taken(planner, read(ROUTE))
  await planner.state(handoff_id, 'COMPLETED')
  return s.done
}

test('T7 done by the old primary and waiting in the new one: held, and done again only when its sender submits it again / what only reads flows on', async () => {
  const [done, waits, reads] = [await planner.submit(under('done')), await planner.submit(under('waits')), await planner.submit(read(ROUTE))].map((r) => r.handoff_id)
  await cutOff()
  const old = await worker.subscribe()
  const d = await old.delivery()
  assert.equal(d.lease.handoff_id, done)
  old.write({ flow: { max_in_flight: 0 } })
  assert.equal((await old.complete(d)).ok, true)
  await planner.state(done, 'COMPLETED')
  await old.leave()
  await failOver()

  const s = await serve()
  for (const id of [done, waits]) await planner.state(id, 'HELD', 20000)
  await planner.state(reads, 'COMPLETED')
  assert.deepEqual(s.done, [reads])
  assert.match((await planner.get(done)).decision.message, NOTE)
  assert.match((await planner.list({ state: 'HANDOFF_STATE_HELD' })).handoffs[0].decision.message, NOTE)
  const watch = planner.watch(done)
  assert.match((await watch.take('the event', (e) => e.state === 'HANDOFF_STATE_HELD')).note, NOTE)
  assert.equal(Number((await operator.route(ROUTE)).held), 2)
  for (const handoff_id of [done, waits]) assert.match((await b.audited({ event: 'handoff.held', handoff_id })).message, NOTE)
  assert.match(b.log(), new RegExp(`"store\\.failed_over".*"route":"${ROUTE}","held_from":"20.*Z","held_to":"20.*Z"`))
  assert.match((await b.http('/metrics')).body, new RegExp(`baton_handoffs_total\\{[^}]*route="${ROUTE}"[^}]*state="held"[^}]*\\} 2`))

  const again = await taken(planner, under('done'))
  assert.deepEqual([again.handoff_id, again.duplicate, again.state], [done, true, 'HANDOFF_STATE_QUEUED'])
  await watch.take('its end', (e) => e.state === 'HANDOFF_STATE_COMPLETED', 20000)
  await b.audited({ event: 'handoff.confirmed', handoff_id: done })
  assert.equal((await planner.submit(under('done'))).state, 'HANDOFF_STATE_COMPLETED')
  assert.deepEqual(await nothingMore(s).then((v) => v.filter((id) => id === done || id === waits)), [done])
  assert.deepEqual([ends(done), ends(waits)], [2, 0]) // of which the new primary knows one

  await taken(planner, under('waits'))
  await planner.state(waits, 'COMPLETED', 20000)
  await b.audited({ event: 'handoff.completed', handoff_id: waits })
  assert.equal(ends(waits), 1)
  assert.equal(b.audit().filter((r) => r.event === 'handoff.confirmed').length, 2)
  await s.leave()
}, 90000)

test('T7 an equal key of another agent, another user or for something else does not release it, nor do the same bytes / its sender does', async () => {
  await follow()
  const bytes = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope(under('whose'))))
  const { handoff_id } = await planner.raw('Submit', bytes)
  await cutOff()
  await failOver()
  const s = await serve()
  await planner.state(handoff_id, 'HELD', 20000)
  const bob = await b.issuer.mint(b.leaves.planner, { sub: 'user:bob' })
  const others = [await taken(auditor, under('whose')), await taken(planner, under('whose'), { token: bob })]
  assert.deepEqual(others.map((r) => r.duplicate), [false, false])
  await denied(planner.submit(under('whose', { payload: Buffer.from('"more"') })), 'idempotency_conflict')
  assert.equal((await denied(planner.raw('Submit', bytes), 'replayed_nonce')).handoff_id, handoff_id)
  await denied(planner.submit(under('whose'), { token: null }), 'missing_token')
  await auditor.state(others[0].handoff_id, 'COMPLETED', 20000)
  assert.ok(!(await nothingMore(s)).includes(handoff_id))
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_HELD')
  assert.equal((await planner.submit(under('whose'))).duplicate, true)
  await planner.state(handoff_id, 'COMPLETED', 20000)
  await b.audited({ event: 'handoff.completed', handoff_id })
  assert.equal(ends(handoff_id), 1)
  await s.leave()
}, 90000)

test('T7 what is held after a fail-over ends when it is cancelled, and at its deadline / neither is done', async () => {
  await follow()
  const [one, two] = [await planner.submit(under('cancelled')), await planner.submit(under('too late', { deadline_ms: Date.now() + 30000 }))].map((r) => r.handoff_id)
  await cutOff()
  await failOver()
  const s = await serve()
  await planner.state(one, 'HELD', 20000)
  assert.equal((await planner.cancel(one)).state, 'HANDOFF_STATE_CANCELLED')
  await planner.state(two, 'EXPIRED', 60000)
  await b.audited({ event: 'handoff.held', handoff_id: two })
  for (const key of ['cancelled', 'too late']) assert.equal((await taken(planner, under(key))).duplicate, true)
  assert.deepEqual((await nothingMore(s)).filter((id) => id === one || id === two), [])
  assert.equal(Number((await operator.route(ROUTE)).held), 0)
  await s.leave()
}, 90000)

test('T7 what is leased over a fail-over completes by its lease; what is accepted after it is not held', async () => {
  await follow()
  const { handoff_id } = await planner.submit(under('leased'))
  const s = await worker.subscribe({ max_in_flight: 2 })
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  await cutOff()
  await failOver()
  const now = await taken(planner, under('new'))
  const e = await s.delivery(20000)
  assert.equal(e.lease.handoff_id, now.handoff_id)
  for (const x of [d, e]) assert.equal((await s.complete(x)).ok, true)
  await planner.state(handoff_id, 'COMPLETED')
  assert.deepEqual([ends(handoff_id), ends(now.handoff_id)], [1, 1])
  assert.equal(b.audit().filter((r) => r.event === 'handoff.held' && [handoff_id, now.handoff_id].includes(r.handoff_id)).length, 0)
  await s.leave()
}, 90000)

test('T7 a plain restart of Redis holds nothing', async () => {
  const { handoff_id } = await taken(planner, under('restarted'))
  const held = b.audit().filter((r) => r.event === 'handoff.held').length // of the tests before
  const before = openings()
  await primary.kill()
  await primary.start()
  await until('the route to be opened anew', () => openings() > before, 30000)
  await serving()
  const s = await serve()
  await planner.state(handoff_id, 'COMPLETED', 20000)
  assert.equal(b.audit().filter((r) => r.event === 'handoff.held').length, held)
  await s.leave()
}, 90000)
