// What do the audit and events say of a life that took detours: a scheduled start, a back-off, a second worker, a crash?
import fs from 'node:fs'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, profile } from './lib/broker.js'
import { read } from './lib/agent.js'

const names = ['later', 'retry', 'lapse', 'given', 'first', 'ends0', 'ends1', 'ends2', 'ends3']
const b = new Broker({ profiles: Object.fromEntries(names.map((n) => [n, profile(n)])) })
let planner, worker, worker2

const start = async () => { [planner, worker, worker2] = await b.startWith('planner', 'worker', 'worker2') }
before(start)
after(() => b.remove())

// After a restart a newly stamped envelope is taken once the clock has passed the floor of the route's slot and the skew.
const send = (route, more = {}) => until('a receipt', () => planner.submit(read(route, more)))
const serve = (route, who = worker) => who.subscribe({ routes: [route] })
const life = (id) => b.audit().filter((r) => r.handoff_id === id && r.event.startsWith('handoff.')).map((r) => r.event.slice('handoff.'.length)).sort()
const counted = async (route, state) => Number(((await b.http('/metrics')).body.match(new RegExp(`baton_handoffs_total\\{.*route="${route}".*state="${state}".*\\} (\\d+)`)) || [0, 0])[1])

async function once (route) {
  const { handoff_id } = await send(route)
  const s = await serve(route)
  await s.complete(await s.delivery())
  await s.leave()
  return handoff_id
}

test('O-8 a scheduled start is handoff.queued in the audit, not a lapse', async () => {
  const { handoff_id } = await send('later', { start_at_ms: Date.now() + 3000 })
  const s = await serve('later')
  await s.complete(await s.delivery())
  await s.leave()
  await b.audited({ event: 'handoff.completed', handoff_id })
  assert.deepEqual(life(handoff_id), ['completed', 'leased', 'queued'])
})

test('O-8 the end of a back-off is no line and no count of its own / a lapse is handoff.lapsed', async () => {
  const { handoff_id } = await send('retry')
  const s = await serve('retry')
  await s.fail(await s.delivery(), true)
  await s.complete(await s.delivery())
  await s.leave()
  await b.audited({ event: 'handoff.completed', handoff_id })
  assert.deepEqual(life(handoff_id), ['completed', 'failed', 'leased', 'leased'])
  assert.equal(await counted('retry', 'queued'), 2)
  const lost = await send('lapse')
  const dead = await serve('lapse')
  await dead.delivery()
  dead.cut()
  const again = await serve('lapse')
  await again.complete(await again.delivery())
  await again.leave()
  await b.audited({ event: 'handoff.completed', handoff_id: lost.handoff_id })
  assert.deepEqual(life(lost.handoff_id), ['completed', 'lapsed', 'leased', 'leased'])
})

test('O-3 each lease of a handoff names who had it: after a lapse, after a release / and when there was one', async () => {
  for (const [route, back] of [['lapse', (s) => s.cut()], ['given', async (s, d) => { await s.settle({ release: { lease: d.lease } }); await s.leave() }]]) {
    const { handoff_id } = await send(route)
    const s = await serve(route)
    const d = await s.delivery()
    s.write({ flow: { max_in_flight: 0 } })
    await back(s, d)
    const other = await serve(route, worker2)
    const again = await other.delivery()
    const leases = async () => (await planner.watch(handoff_id).all()).filter((e) => e.assignee).map((e) => e.assignee.name)
    const early = planner.watch(handoff_id)
    await until('both leases', () => early.items.filter((e) => e.assignee).length === 2)
    assert.deepEqual(early.items.filter((e) => e.assignee).map((e) => e.assignee.name), ['worker', 'worker2'])
    await other.complete(again)
    assert.deepEqual(await leases(), ['worker', 'worker2'])
    await other.leave()
  }
  const id = await once('first')
  assert.deepEqual((await planner.watch(id).all()).map((e) => e.assignee?.name), [undefined, 'worker', undefined])
})

test('O-8 after a crash and a rotation only what changed in the run that crashed is reconciled, and counted as it was written', async () => {
  const before = await once('first')
  await b.stop()
  await start()
  const during = await once('first')
  await b.crash()
  fs.renameSync(b.path('audit.jsonl'), b.path('audit.1'))
  await start()
  const line = await until('the reconciliation', () => b.log().split('\n').find((l) => l.includes('audit.reconciled')))
  const lines = b.audit().filter((r) => r.reconciled)
  assert.ok(lines.some((r) => r.handoff_id === during && r.event === 'handoff.completed'))
  assert.ok(!lines.some((r) => r.handoff_id === before))
  assert.equal(JSON.parse(line).written, lines.length)
})

test('O-8 what happens after a crash is written once / what the crash kept out of the audit is written', async () => {
  const lost = await once('first')
  const ends = await Promise.all(names.filter((n) => n.startsWith('ends')).map((r) => send(r, { deadline_ms: Date.now() + 1500 })))
  await b.audited({ event: 'handoff.completed', handoff_id: lost })
  await b.crash()
  fs.writeFileSync(b.path('audit.jsonl'), b.auditLines().filter((l) => !(l.includes(lost) && l.includes('handoff.completed'))).map((l) => l + '\n').join(''))
  await sleep(2000)
  await start()
  for (const { handoff_id } of ends) await b.audited({ event: 'handoff.expired', handoff_id })
  await b.audited({ event: 'handoff.completed', handoff_id: lost, reconciled: true })
  await sleep(500)
  assert.deepEqual(ends.map((r) => life(r.handoff_id)), ends.map(() => ['expired']))
})
