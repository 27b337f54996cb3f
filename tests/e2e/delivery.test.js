// What happens between acceptance and the end? Windows, leases, resumption, fencing, retries, holds, cancels, priorities, times.
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, profile } from './lib/broker.js'
import { denied, read } from './lib/agent.js'

// A route of its own for each test, so that none disturbs another.
const names = ['window', 'pause', 'resume', 'lapse', 'fence', 'late', 'retry', 'dead', 'final', 'reject', 'release', 'cancelq', 'cancell', 'held', 'order', 'later',
  'expire', 'deadline', 'half', 'two', 'many', 'foreign', 'events', 'holdexp', 'idem', 'artifacts', 'quiet', 'runs', 'bulk', 'lots', 'slow', 'unread', 'watched', 'chunks', 'receipts', 'left', 'right', 'third', 'huge', 'huge2']
const lease = (ms) => ({ lease_ms: ms, resume_ms: ms })
const lapsing = ['lapse', 'fence', 'late', 'unread'] // of all others no lease is to end because a process stood still for two seconds
const deliveries = { deadline: { max_attempts: 3, ...lease(10000), backoff_ms: [100, 200] }, resume: lease(4000), quiet: lease(6000), slow: lease(6000) }
const sixteen = { sandbox: { ...profile('x').sandbox, limits: { max_payload_bytes: 16 << 20, max_output_bytes: 16 << 20 } } }
const special = (n) => ({ ...(n.startsWith('huge') ? sixteen : {}), ...(lapsing.includes(n) ? {} : { delivery: { ...profile(n).delivery, ...(deliveries[n] || lease(10000)) } }) })
const b = new Broker({ profiles: Object.fromEntries(names.map((n) => [n, profile(n, special(n))])), config: (t) => t.replace('max_payload: 1MiB', 'max_payload: 16MiB') })
let planner, worker, worker2

before(async () => { [planner, worker, worker2] = await b.startWith('planner', 'worker', 'worker2') })
after(() => b.remove())

const send = (route, more, opts) => planner.submit(read(route, more), opts)
const serve = (route, open = {}, who = worker) => who.subscribe({ routes: [route], ...open })
const quiet = async (s, ms = 400) => { await sleep(ms); assert.deepEqual(s.deliveries(), []) }
const end = (s) => s.leave()

test('The window is one by default and refills as deliveries settle / a wider one gives more at once', async () => {
  for (let i = 0; i < 5; i++) await send('window')
  const s = await worker.subscribe({ routes: ['window'], max_in_flight: 0 })
  assert.equal(s.granted.max_in_flight, 1)
  const d = await s.delivery()
  await quiet(s)
  assert.equal((await s.complete(d)).ok, true)
  await s.complete(await s.delivery())
  s.write({ flow: { max_in_flight: 3 } })
  const three = [await s.delivery(), await s.delivery(), await s.delivery()]
  for (const x of three) assert.equal((await s.complete(x)).ok, true)
  await end(s)
})

test('Flow 0 pauses: what is held stays held, nothing new comes / more goes on', async () => {
  const s = await serve('pause')
  await send('pause')
  const d = await s.delivery()
  s.write({ flow: { max_in_flight: 0 } })
  await send('pause')
  assert.equal((await s.complete(d)).ok, true)
  await quiet(s)
  s.write({ flow: { max_in_flight: 1 } })
  await s.complete(await s.delivery())
  await end(s)
})

test('Each terminal frame is settled, with the state that the store has', async () => {
  const s = await serve('events', { max_in_flight: 5 })
  const outcome = {}
  for (let i = 0; i < 4; i++) await send('events')
  const [a, c, d, e] = [await s.delivery(), await s.delivery(), await s.delivery(), await s.delivery()]
  outcome.complete = await s.complete(a)
  outcome.fail = await s.fail(c, false)
  outcome.reject = await s.settle({ reject: { lease: d.lease, reason: 'not mine' } })
  outcome.release = await s.settle({ release: { lease: e.lease, delay_ms: 60000 } })
  assert.deepEqual(Object.values(outcome).map((x) => [x.ok, x.state]), [[true, 'HANDOFF_STATE_COMPLETED'], [true, 'HANDOFF_STATE_FAILED'],
    [true, 'HANDOFF_STATE_REJECTED'], [true, outcome.release.state]])
  assert.ok(['HANDOFF_STATE_QUEUED', 'HANDOFF_STATE_SCHEDULED'].includes(outcome.release.state), outcome.release.state)
  assert.deepEqual(outcome.complete.lease, a.lease)
  await end(s)
})

test('X-9 the same report twice: the second is told LEASE_LOST and the state, and nothing happens twice', async () => {
  const { handoff_id } = await send('idem')
  const s = await serve('idem')
  const d = await s.delivery()
  assert.equal((await s.complete(d, { n: 1 })).ok, true)
  const again = await s.complete(d, { n: 2 })
  assert.deepEqual([again.ok, again.reason, again.state], [false, 'REASON_LEASE_LOST', 'HANDOFF_STATE_COMPLETED'])
  assert.equal((await planner.get(handoff_id)).result.payload.toString(), '{"n":1}')
  assert.equal(b.audit().filter((r) => r.event === 'handoff.completed' && r.handoff_id === handoff_id).length, 1)
  await end(s)
})

test('Half-closed Subscribe with Report: deliveries keep coming and are answered by unary calls', async () => {
  const s = await serve('half')
  s.call.end()
  for (let i = 0; i < 3; i++) await send('half')
  for (let i = 0; i < 3; i++) {
    const d = await s.delivery()
    await worker.report({ progress: { lease: d.lease, message: 'going' } })
    const settled = await worker.report({ complete: { lease: d.lease, result: { payload: Buffer.from('{}'), stop_reason: 'done' } } })
    assert.deepEqual([settled.ok, settled.state], [true, 'HANDOFF_STATE_COMPLETED'])
  }
  // Not cut: node's own http2 can write without end when a half-closed stream is cancelled. It ends with the client.
})

test('After a cut the same agent resumes its lease: no second delivery, the report counts', async () => {
  const { handoff_id } = await send('resume')
  const s = await serve('resume')
  const d = await s.delivery()
  s.cut()
  const again = await serve('resume', { resume: [d.lease, { handoff_id, fencing_token: d.lease.fencing_token + 7 }] })
  assert.deepEqual(again.granted.resumed, [d.lease])
  await quiet(again, 5000)
  assert.equal((await again.complete(d)).ok, true)
  assert.equal((await planner.get(handoff_id)).attempt, 1)
  await end(again)
})

test('T7 when the worker dies the work is delivered again, with a higher fence and the next attempt', async () => {
  const { handoff_id } = await send('lapse')
  const s = await serve('lapse')
  const first = await s.delivery()
  s.cut()
  const other = await serve('lapse', {}, worker2)
  const second = await other.delivery(10000)
  assert.equal(second.lease.handoff_id, handoff_id)
  assert.ok(second.lease.fencing_token > first.lease.fencing_token)
  assert.equal(second.attempt, 2)
  assert.equal((await other.complete(second)).ok, true)
  await end(other)
})

test('T7 fencing: the late report of a lost lease is LEASE_LOST and changes nothing', async () => {
  const { handoff_id } = await send('fence')
  const s = await serve('fence')
  const first = await s.delivery()
  s.cut()
  const other = await serve('fence', {}, worker2)
  const second = await other.delivery(10000)
  const late = await worker.report({ complete: { lease: first.lease, result: { payload: Buffer.from('"late"') } } })
  assert.deepEqual([late.ok, late.reason], [false, 'REASON_LEASE_LOST'])
  assert.equal((await other.complete(second, 'in time')).ok, true)
  assert.equal((await planner.get(handoff_id)).result.payload.toString(), '"in time"')
  await end(other)
})

test('T5 nobody but the lease\'s holder can report on it', async () => {
  const { handoff_id } = await send('foreign')
  const s = await serve('foreign')
  const d = await s.delivery()
  for (const who of [worker2, await b.agent('gworker'), planner]) {
    const r = await who.report({ complete: { lease: d.lease, result: { payload: Buffer.from('"stolen"') } } }).catch((e) => ({ ok: false, e }))
    assert.equal(r.ok, false)
  }
  assert.equal((await s.complete(d, 'mine')).ok, true)
  assert.equal((await planner.get(handoff_id)).result.payload.toString(), '"mine"')
  await end(s)
})

test('A finish after the lapse and before the redelivery still holds', async () => {
  const { handoff_id } = await send('late')
  const s = await serve('late')
  const d = await s.delivery()
  s.cut()
  await sleep(3500)
  const r = await worker.report({ complete: { lease: d.lease, result: { payload: Buffer.from('"ok"') } } })
  assert.equal(r.ok, true)
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
})

test('A retryable failure is delivered again, with backoff, until it works', async () => {
  const run = planner.run(read('retry'))
  const s = await serve('retry')
  const first = await s.delivery()
  assert.equal((await s.fail(first, true)).ok, true)
  const second = await s.delivery()
  assert.equal(second.attempt, 2)
  assert.equal((await s.complete(second)).ok, true)
  const events = await run.all()
  assert.deepEqual(events.map((e) => e.cursor), events.map((_, i) => i + 1))
  assert.equal(events.find((e) => e.failure).failure.code, 'broken')
  assert.equal(events.at(-1).state, 'HANDOFF_STATE_COMPLETED')
  await end(s)
})

test('T7 after the last attempt it is dead-lettered, findable and audited', async () => {
  const { handoff_id } = await send('dead')
  const s = await serve('dead')
  for (let i = 1; i <= 3; i++) {
    const d = await s.delivery()
    assert.equal(d.attempt, i)
    await s.fail(d, true)
  }
  const h = await planner.state(handoff_id, 'DEAD_LETTERED')
  assert.equal(h.failure.code, 'broken')
  await b.audited({ event: 'handoff.dead_lettered', handoff_id })
  await quiet(s)
  await end(s)
})

test('A failure that is not retryable ends it at once', async () => {
  const { handoff_id } = await send('final')
  const s = await serve('final')
  assert.equal((await s.fail(await s.delivery(), false, 'no_such_order')).ok, true)
  const h = await planner.get(handoff_id)
  assert.deepEqual([h.state, h.failure.code], ['HANDOFF_STATE_FAILED', 'no_such_order'])
  await end(s)
})

test('Reject ends it with the reason', async () => {
  const { handoff_id } = await send('reject')
  const s = await serve('reject')
  const d = await s.delivery()
  await s.settle({ reject: { lease: d.lease, reason: 'outside my competence' } })
  const last = (await planner.watch(handoff_id).all()).at(-1)
  assert.deepEqual([last.state, last.note], ['HANDOFF_STATE_REJECTED', 'outside my competence'])
  await end(s)
})

test('Release gives it back and costs no attempt', async () => {
  await send('release')
  const s = await serve('release')
  const d = await s.delivery()
  assert.equal((await s.settle({ release: { lease: d.lease } })).ok, true)
  const again = await s.delivery()
  assert.equal(again.attempt, 1)
  assert.ok(again.lease.fencing_token > d.lease.fencing_token)
  await s.complete(again)
  await end(s)
})

test('Cancel of queued work: it is never delivered; Cancel again says the same', async () => {
  const { handoff_id } = await send('cancelq')
  assert.equal((await planner.cancel(handoff_id)).state, 'HANDOFF_STATE_CANCELLED')
  assert.equal((await planner.cancel(handoff_id)).state, 'HANDOFF_STATE_CANCELLED')
  const s = await serve('cancelq')
  await quiet(s)
  const last = (await planner.watch(handoff_id).all()).at(-1)
  assert.deepEqual([last.state, last.note], ['HANDOFF_STATE_CANCELLED', 'no longer needed'])
  await b.audited({ event: 'handoff.cancelled', handoff_id })
  await end(s)
})

test('Cancel of leased work: the worker gets Stop, its later report is LEASE_LOST', async () => {
  const { handoff_id } = await send('cancell')
  const s = await serve('cancell')
  const d = await s.delivery()
  const answer = await planner.cancel(handoff_id)
  assert.equal(answer.state, 'HANDOFF_STATE_CANCELLED')
  const stop = await s.stop()
  assert.deepEqual([stop.lease, stop.reason], [d.lease, 'REASON_CANCELLED'])
  const late = await s.complete(d)
  assert.deepEqual([late.ok, late.reason], [false, 'REASON_LEASE_LOST'])
  await planner.state(handoff_id, 'CANCELLED')
  await end(s)
})

test('E7 H-3 a tool that needs approval is held, answered OK, not delivered; cancel is a way out', async () => {
  const receipt = await planner.submit({ route: 'held', tool: 'refunds.issue_refund', side_effect: 'SIDE_EFFECT_WRITE' })
  assert.equal(receipt.state, 'HANDOFF_STATE_HELD')
  assert.deepEqual([receipt.decision.outcome, receipt.decision.reason], ['OUTCOME_HOLD', 'REASON_APPROVAL_REQUIRED'])
  const s = await serve('held')
  await quiet(s)
  assert.equal((await planner.get(receipt.handoff_id)).state, 'HANDOFF_STATE_HELD')
  const a = await b.audited({ event: 'decision', trace_id: receipt.trace_id })
  assert.deepEqual([a.outcome, a.reason, a.tool, a.agent], ['hold', 'approval_required', 'refunds.issue_refund', 'planner'])
  assert.equal((await planner.cancel(receipt.handoff_id)).state, 'HANDOFF_STATE_CANCELLED')
  await send('held')
  await s.complete(await s.delivery())
  await end(s)
})

test('E7 what is held expires at its deadline', async () => {
  const { handoff_id, state } = await planner.submit({ route: 'holdexp', tool: 'refunds.issue_refund', side_effect: 'SIDE_EFFECT_WRITE', deadline_ms: Date.now() + 4000 })
  assert.equal(state, 'HANDOFF_STATE_HELD')
  await planner.state(handoff_id, 'EXPIRED')
  await b.audited({ event: 'handoff.expired', handoff_id })
})

test('Higher priority goes first, first in first out within one', async () => {
  const ids = {}
  for (const [name, priority] of [['low1', 0], ['low2', 0], ['mid', 5], ['high', 9]]) ids[name] = (await send('order', { priority })).handoff_id
  const s = await serve('order')
  const got = []
  for (let i = 0; i < 4; i++) { const d = await s.delivery(); got.push(d.lease.handoff_id); await s.complete(d) }
  assert.deepEqual(got, [ids.high, ids.mid, ids.low1, ids.low2])
  await end(s)
})

test('A scheduled start is waited for', async () => {
  const start = Date.now() + 3000
  const receipt = await send('later', { start_at_ms: start })
  assert.equal(receipt.state, 'HANDOFF_STATE_SCHEDULED')
  const s = await serve('later')
  const d = await s.delivery(10000)
  assert.ok(Date.now() >= start - 50, `${start - Date.now()} ms too early`)
  await s.complete(d)
  await end(s)
})

test('Queued work expires at its deadline and is not delivered', async () => {
  const { handoff_id } = await send('expire', { deadline_ms: Date.now() + 4000 })
  await planner.state(handoff_id, 'EXPIRED')
  const s = await serve('expire')
  await quiet(s)
  await b.audited({ event: 'handoff.expired', handoff_id })
  await end(s)
})

test('I-1 leased work past its deadline is stopped', async () => {
  const { handoff_id } = await send('deadline', { deadline_ms: Date.now() + 5000 })
  const s = await serve('deadline')
  const d = await s.delivery()
  const stop = await s.stop(10000)
  assert.deepEqual([stop.lease, stop.reason], [d.lease, 'REASON_DEADLINE_EXCEEDED'])
  assert.equal((await s.complete(d)).ok, false)
  await planner.state(handoff_id, 'EXPIRED')
  await end(s)
})

test('The lease is renewed while the stream lives: work longer than the lease stays with its worker', async () => {
  const { handoff_id } = await send('quiet')
  const s = await serve('quiet')
  const other = await serve('quiet', {}, worker2)
  const taken = await until('a delivery', () => s.deliveries()[0] || other.deliveries()[0])
  const [holder, idle] = s.deliveries()[0] ? [s, other] : [other, s]
  await holder.delivery()
  await sleep(8000)
  assert.deepEqual(idle.deliveries(), [])
  assert.equal((await holder.complete(taken)).ok, true)
  assert.equal((await planner.get(handoff_id)).attempt, 1)
  await end(s)
  await end(other)
})

test('Two workers share a route: each handoff is done once', async () => {
  const s = [await serve('two', { max_in_flight: 2 }), await serve('two', { max_in_flight: 2 }, worker2)]
  const done = []
  for (const x of s) x.each((f) => { if (f.delivery) { done.push(f.delivery.lease.handoff_id); x.write({ complete: { lease: f.delivery.lease, result: {} } }) } })
  const ids = await Promise.all(Array.from({ length: 40 }, () => send('two').then((r) => r.handoff_id)))
  await until('all done', () => done.length >= 40)
  await sleep(200)
  assert.deepEqual(done.sort(), ids.sort())
  await Promise.all(s.map(end))
})

test('An artifact comes in chunks, its last one is settled', async () => {
  const run = planner.run(read('artifacts'))
  const s = await serve('artifacts')
  const d = await s.delivery()
  s.write({ artifact: { lease: d.lease, artifact_id: 'log', name: 'log.txt', content_type: 'text/plain', data: Buffer.from('one '), append: false } })
  const last = await s.settle({ artifact: { lease: d.lease, artifact_id: 'log', data: Buffer.from('two'), append: true, last_chunk: true } })
  assert.equal(last.ok, true)
  await s.complete(d)
  const chunks = (await run.all()).filter((e) => e.artifact).map((e) => e.artifact)
  assert.equal(chunks.map((c) => c.data.toString()).join(''), 'one two')
  assert.equal(chunks.at(-1).last_chunk, true)
  await end(s)
})

test('Subscribe: a route that the agent may not serve is route_denied; the first frame must be open', async () => {
  const s = await planner.subscribe({ routes: ['window'] }, { wait: false })
  assert.equal((await s.end()).reason, 'route_denied')
  const t = await worker.subscribe({ routes: ['window', 'nowhere'] }, { wait: false })
  assert.equal((await t.end()).reason, 'route_denied')
  const call = worker.client.Subscribe(worker.meta())
  const over = new Promise((done) => call.on('error', (e) => done(e.metadata.get('baton-reason')[0])).on('data', () => {}))
  call.write({ flow: { max_in_flight: 1 } })
  assert.equal(await over, 'malformed_envelope')
  const nothing = await worker.report({}) // a decision like any other: OK, and Settled says no
  assert.deepEqual([nothing.ok, nothing.reason, nothing.state], [false, 'REASON_MALFORMED_ENVELOPE', 'HANDOFF_STATE_UNSPECIFIED'])
})

test('T7 two runs under one idempotency key are one handoff: the second learns the first\'s result', async () => {
  const same = { route: 'runs', idempotency_key: 'refund-1', payload: Buffer.from('{"n":1}') }
  const first = await planner.submit(same)
  const s = await serve('runs')
  await s.complete(await s.delivery(), { refund: 'R-1' })
  const second = await planner.submit(same)
  assert.deepEqual([second.duplicate, second.handoff_id, second.state], [true, first.handoff_id, 'HANDOFF_STATE_COMPLETED'])
  assert.equal(second.result.payload.toString(), '{"refund":"R-1"}')
  await denied(planner.submit({ ...same, payload: Buffer.from('{"n":2}') }), 'idempotency_conflict', 'ALREADY_EXISTS')
  const auditor = await b.agent('auditor')
  assert.equal((await auditor.submit(same)).duplicate, false, 'another agent\'s equal key neither reads nor suppresses')
  const eve = await b.issuer.mint(planner, { sub: 'user-eve' })
  assert.equal((await planner.submit(same, { token: eve })).duplicate, false, 'nor another principal\'s')
  await quiet(s, 0).catch(() => {})
  s.cut()
})

test('A hundred handoffs over one stream: all settled, none twice', async () => {
  const s = await serve('many', { max_in_flight: 64 })
  const seen = new Map()
  s.each((f) => {
    if (f.delivery) { seen.set(f.delivery.lease.handoff_id, (seen.get(f.delivery.lease.handoff_id) || 0) + 1); s.write({ complete: { lease: f.delivery.lease, result: {} } }) }
  })
  const pipe = planner.pipe()
  for (let ref = 1; ref <= 100; ref++) pipe.write({ submit: { envelope: planner.envelope(read('many')), ref } })
  await until('100 receipts', () => pipe.items.filter((r) => r.receipt?.handoff_id).length === 100)
  await until('100 deliveries', () => s.items.filter((f) => f.settled).length === 100)
  assert.deepEqual([...seen.values()], Array(100).fill(1))
  assert.ok(s.items.filter((f) => f.settled).every((f) => f.settled.ok))
  pipe.call.end()
  await end(s)
})

test('Payloads of 1 MiB that wait together all come, each at its first attempt', async () => {
  for (let i = 0; i < 3; i++) await send('bulk', { payload: Buffer.alloc(1000 << 10, 32) })
  const s = await serve('bulk', { max_in_flight: 3 })
  const got = [await s.delivery(), await s.delivery(), await s.delivery()]
  assert.deepEqual(got.map((d) => [d.attempt, d.envelope.payload.length]), Array(3).fill([1, 1000 << 10]))
  for (const d of got) assert.equal((await s.complete(d)).ok, true)
  await end(s)
})

test('A whole lease answer of 64 comes through a window of 100', async () => {
  for (let i = 0; i < 64; i++) await send('lots', { payload: Buffer.alloc(30 << 10, 32) })
  const s = await serve('lots', { max_in_flight: 100 })
  await until('64 deliveries', () => s.deliveries().length === 64)
  for (const d of s.deliveries()) s.write({ complete: { lease: d.lease, result: {} } })
  await until('64 settled', () => s.items.filter((f) => f.settled?.ok).length === 64)
  await end(s)
})

test('A subscriber that does not read for a while gets everything later, and no attempt is lost', async () => {
  for (let i = 0; i < 30; i++) await send('slow', { payload: Buffer.alloc(300 << 10, 32) })
  const s = await serve('slow', { max_in_flight: 200 })
  s.call.pause()
  await sleep(7000) // longer than the lease
  const lease = { handoff_id: 'x', fencing_token: 1 }
  for (let i = 0; i < 1500; i++) s.write({ complete: { lease, result: {} } })
  await sleep(500)
  s.call.resume()
  await until('30 deliveries', () => s.deliveries().length === 30)
  await until('an answer to each report', () => s.items.filter((f) => f.settled).length === 1500, 20000)
  assert.deepEqual(s.deliveries().map((d) => d.attempt), Array(30).fill(1))
  for (const d of s.deliveries()) s.write({ complete: { lease: d.lease, result: {} } })
  await until('all settled', () => s.items.filter((f) => f.settled?.ok).length === 30)
  await end(s)
})

test('What a cut stream was never sent goes back and has cost no attempt', async () => {
  for (let i = 0; i < 30; i++) await send('unread', { payload: Buffer.alloc(120 << 10, 32) })
  const s = await serve('unread', { max_in_flight: 30 })
  s.call.pause() // grpc-js takes some 16 messages all the same
  await until('30 leases', () => b.audit().filter((r) => r.event === 'handoff.leased' && r.route === 'unread').length === 30)
  s.cut()
  const other = await serve('unread', { max_in_flight: 30 }, worker2)
  await until('30 deliveries', () => other.deliveries().length === 30)
  const back = new Set(b.audit().filter((r) => r.event === 'handoff.released' && r.route === 'unread').map((r) => r.handoff_id))
  assert.ok(back.size >= 5, `${back.size} went back`)
  for (const d of other.deliveries()) assert.equal(d.attempt, back.has(d.lease.handoff_id) ? 1 : 2)
  for (const d of other.deliveries()) assert.equal((await other.complete(d)).ok, true)
  await end(other)
})

const cursors = (events) => events.map((e) => Number(e.cursor))
const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1)

test('Watch sends every event in order, whether they are few and large or many', async () => {
  for (const [route, n, size] of [['watched', 6, 1 << 20], ['chunks', 90, 100 << 10]]) {
    const { handoff_id } = await send(route)
    const s = await serve(route)
    const d = await s.delivery()
    for (let i = 0; i < n; i++) await s.settle({ artifact: { lease: d.lease, artifact_id: `a${i}`, data: Buffer.alloc(size, i), last_chunk: true } })
    await s.complete(d)
    assert.deepEqual(cursors(await planner.watch(handoff_id).all(20000)), upTo(n + 3), route)
    assert.deepEqual(cursors(await planner.watch(handoff_id, 4).all(20000)), upTo(n + 3).slice(4), route)
    await end(s)
  }
})

test('A pipe whose receipts are read late loses none', async () => {
  const n = 20000
  const pipe = planner.pipe()
  pipe.call.pause()
  for (let ref = 1; ref <= n; ref++) {
    pipe.write({ submit: { envelope: planner.envelope(read('receipts')), ref, dry_run: true } })
    if (ref % 500 === 0) await sleep(10)
  }
  pipe.call.end()
  await sleep(4000)
  pipe.call.resume()
  assert.equal(new Set((await pipe.all(30000)).map((r) => r.receipt.ref)).size, n)
})

test('A pipe that sends rubbish and reads nothing is told why it ends', async () => {
  const pipe = planner.pipe()
  pipe.call.pause()
  for (let ref = 1; ref <= 12000; ref++) pipe.write({ submit: { ref } })
  await sleep(2000)
  pipe.call.resume()
  const over = await pipe.end(20000)
  assert.deepEqual([over.code, over.reason], ['RESOURCE_EXHAUSTED', 'quota_exceeded'])
  assert.ok(Number(over.retry_after_ms) > 0)
})

test('Of several routes the empty ones take no window from the one with work, whether it waits or comes later', async () => {
  const routes = ['left', 'right', 'third']
  for (const route of routes) await send(route)
  const s = await serve('left', { routes, max_in_flight: 1 })
  const waited = new Set()
  for (let i = 0; i < 3; i++) { const d = await s.delivery(3000); waited.add(d.envelope.route); await s.complete(d) }
  assert.equal(waited.size, 3)
  const took = []
  for (const route of [...routes, ...routes, ...routes, ...routes]) {
    const sender = await b.agent('planner') // on any of the broker's threads
    const { handoff_id } = await sender.submit(read(route))
    const begun = Date.now(), d = await s.delivery()
    took.push(Date.now() - begun)
    assert.equal(d.lease.handoff_id, handoff_id)
    await s.complete(d)
    sender.close()
  }
  for (let i = 0; i < 3; i++) assert.ok(took.filter((ms, j) => j % 3 === i && ms < 300).length >= 3, `${took}`) // sooner than a poll would find it
  await end(s)
})

test('Of several busy routes each has its turn', async () => {
  for (let i = 0; i < 6; i++) for (const route of ['left', 'right']) await send(route)
  const s = await serve('left', { routes: ['left', 'right'], max_in_flight: 1 })
  const got = []
  for (let i = 0; i < 12; i++) { const d = await s.delivery(); got.push(d.envelope.route); await s.complete(d) }
  assert.equal(got.slice(0, 6).filter((r) => r === 'left').length, 3, got.join())
  await end(s)
})

test('Payloads and results of 16 MiB go all the way: delivery, Complete, Report, Get, Watch, List', async () => {
  const payload = Buffer.alloc(16 << 20, 32)
  const result = { payload: Buffer.alloc(16 << 20, 33), stop_reason: 'done' }
  const whole = (r) => assert.ok(r.payload.equals(result.payload))
  const ids = []
  for (const route of ['huge', 'huge', 'huge2']) ids.push((await send(route, { payload })).handoff_id)
  const s = await serve('huge', { routes: ['huge', 'huge2'], max_in_flight: 3 })
  const got = [await s.delivery(), await s.delivery(), await s.delivery()]
  for (const d of got) assert.ok(d.attempt === 1 && d.envelope.payload.equals(payload))
  assert.equal((await s.settle({ complete: { lease: got[0].lease, result } })).ok, true)
  for (const d of got.slice(1)) {
    const elsewhere = await b.agent('worker')
    assert.equal((await elsewhere.report({ complete: { lease: d.lease, result } })).ok, true)
    elsewhere.close()
  }
  for (const id of ids) {
    const h = await planner.get(id, { with_envelope: true })
    whole(h.result)
    assert.ok(h.envelope.payload.equals(payload))
    whole((await planner.watch(id).all()).at(-1).result)
  }
  const listed = []
  for (let page_token = ''; ;) {
    const page = await planner.list({ state: 'HANDOFF_STATE_COMPLETED', page_size: 500, page_token })
    listed.push(...page.handoffs)
    if (!(page_token = page.next_page_token)) break
  }
  const large = listed.filter((h) => h.route.startsWith('huge'))
  assert.deepEqual(large.map((h) => h.handoff_id).sort(), ids.sort())
  for (const h of large) whole(h.result)
  await end(s)
})
