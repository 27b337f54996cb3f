// Is work under an idempotency key done once, and is a key nobody's business but its sender's, his principal's and his route's?
import { randomUUID } from 'node:crypto'
import { test, before, after, assert, sleep } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied } from './lib/agent.js'

const OTHER = 'other_route'
const b = new Broker({ fsync: 'always', profiles: { [ROUTE]: profile(ROUTE), [OTHER]: profile(OTHER) } })
let planner, auditor, worker, gplanner
before(async () => { [planner, auditor, worker, gplanner] = await b.startWith('planner', 'auditor', 'worker', 'gplanner') })
after(() => b.remove())

const PAYLOAD = Buffer.from('{"order":"A-1"}')
const under = (key, more = {}) => ({ idempotency_key: key, payload: PAYLOAD, ...more })

test('attack 31: one key at once from two connections and by all kinds of calls: one handoff, done once, and the others are told of it', async () => {
  const twin = await b.agent('planner')
  const request = under('at-once')
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? planner : twin).submit(request)))
  const ids = new Set(answers.map((a) => a.handoff_id))
  assert.equal(ids.size, 1)
  assert.equal(answers.filter((a) => !a.duplicate).length, 1)
  const [id] = ids
  assert.equal((await (await planner.run(request)).take('the receipt', (e) => e.receipt)).receipt.handoff_id, id)
  const s = await worker.subscribe({ routes: [ROUTE], max_in_flight: 50 })
  const d = await s.delivery()
  await s.complete(d, { refund: 7 })
  await sleep(300)
  assert.deepEqual(s.deliveries(), [])
  await s.leave()
  const late = await twin.submit(request)
  assert.deepEqual([late.handoff_id, late.duplicate, late.state, late.result.payload.toString()], [id, true, 'HANDOFF_STATE_COMPLETED', '{"refund":7}'])
})

test('attack 31: an equal key of another agent, another user, another tenant or on another route neither reads nor suppresses', async () => {
  const bob = await b.issuer.mint(b.leaves.planner, { sub: 'user:bob' })
  const request = under('whose')
  const all = [await planner.submit(request), await planner.submit(request, { token: bob }), await auditor.submit(request), await gplanner.submit(request),
    await planner.submit({ ...request, route: OTHER })]
  assert.deepEqual(all.map((a) => a.duplicate), all.map(() => false))
  assert.equal(new Set(all.map((a) => a.handoff_id)).size, all.length)
  assert.equal((await planner.submit(request, { token: bob })).handoff_id, all[1].handoff_id)
  assert.equal((await auditor.submit(request)).handoff_id, all[2].handoff_id)
})

test('attack 31: the same key for anything else is idempotency_conflict, tells nothing of the first, and changes nothing of it', async () => {
  const request = under('conflict', { tool: 'notes.any', side_effect: 'SIDE_EFFECT_WRITE', destination: 'api.example.com', scopes: ['orders:read'] })
  const first = await planner.submit(request)
  const changes = [{ payload: Buffer.from('{"order":"A-2"}') }, { tool: 'orders.close' }, { side_effect: 'SIDE_EFFECT_EXTERNAL_SEND' }, { destination: 'docs.example.com' },
    { scopes: ['orders:read', 'refunds:draft'] }]
  for (const change of changes) {
    const r = await denied(planner.submit({ ...request, ...change }), 'idempotency_conflict', 'ALREADY_EXISTS')
    assert.equal(r.handoff_id, undefined)
    assert.ok(!JSON.stringify(r.status).includes(first.handoff_id))
  }
  assert.equal((await planner.get(first.handoff_id)).state, 'HANDOFF_STATE_QUEUED')
  const again = await planner.submit({ ...request, priority: 9, labels: { a: 'b' }, deadline_ms: Date.now() + 60000 }) // what does not say what is done may differ
  assert.deepEqual([again.handoff_id, again.duplicate], [first.handoff_id, true])
})

test('A duplicate uses up its own nonce, and a key whose handoff was cancelled still names it', async () => {
  const request = under('cancelled')
  const { handoff_id } = await planner.submit(request)
  const nonce = randomUUID()
  assert.equal((await planner.submit({ ...request, nonce })).duplicate, true)
  await denied(planner.submit({ ...under('another'), nonce }), 'replayed_nonce')
  await planner.cancel(handoff_id)
  const after = await planner.submit(request)
  assert.deepEqual([after.handoff_id, after.duplicate, after.state], [handoff_id, true, 'HANDOFF_STATE_CANCELLED'])
})

test('attack 32: many envelopes of one millisecond are all taken, each of them once', async () => {
  const issued_at_ms = Date.now()
  const nonces = Array.from({ length: 300 }, () => randomUUID())
  const first = await Promise.all(nonces.map((nonce) => planner.submit({ nonce, issued_at_ms, route: OTHER })))
  assert.equal(new Set(first.map((a) => a.handoff_id)).size, nonces.length)
  for (const nonce of nonces.slice(0, 20)) await denied(planner.submit({ nonce, issued_at_ms, route: OTHER }), 'replayed_nonce')
})
