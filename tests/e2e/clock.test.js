// What if somebody sets the clock? batond's wall clock steps, an hour or 400 days, forth and back, while its monotonic clock, its Redis and its
// agents know the time. While it is wrong what is dated is refused; nothing is accepted that should not be; nothing ends that has time left by
// the clock that does not step; and when it is right again all goes on.
import fs from 'node:fs'
import { randomUUID } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, profile } from './lib/broker.js'
import { Agent, denied, refusalOf, read } from './lib/agent.js'
import { StepClock } from './lib/faults.js'
import { Operator } from './lib/operator.js'

const HOUR = 3600
const DAYS = 400 * 24 * HOUR
const long = { ...profile('x').delivery, default_deadline_ms: 6 * HOUR * 1000, max_deadline_ms: 24 * HOUR * 1000 }
const clock = new StepClock()
const b = new Broker({
  ...clock.broker,
  admin: true,
  profiles: {
    plain: profile('plain', { delivery: long }), held: profile('held', { delivery: { ...long, lease_ms: 3000 } }), ahead: profile('ahead', { delivery: long }),
    timed: profile('timed', { delivery: { ...long, max_attempts: 1 }, sandbox: { ...profile('x').sandbox, limits: { max_runtime_ms: 4000 } } })
  },
  config: (t) => `${t}limits: {keepalive: 1s, keepalive_timeout: 4s}\n` // a connection is looked at that often
})
let planner, worker

before(async () => { [planner, worker] = await b.startWith('planner', 'worker') })
after(async () => { clock.set(0); await b.remove(); clock.remove() })

const now = () => Math.floor(Date.now() / 1000)
const token = (at) => b.issuer.mint(planner, { iat: at, nbf: at - 1, exp: at + 600 })
const ticks = () => { const f = fs.readFileSync(`/proc/${b.process.pid}/stat`, 'utf8').split(') ')[1].split(' '); return Number(f[11]) + Number(f[12]) }

async function cycle (route = 'plain') {
  const s = await worker.subscribe({ routes: [route] })
  const { handoff_id } = await planner.submit(read(route))
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  assert.equal((await s.complete(d)).ok, true)
  await s.leave()
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
}

// Runs fn while the clock is wrong; then it is right, and all goes on.
async function wrong (seconds, fn) {
  clock.set(seconds)
  try {
    const [from, lines] = [ticks(), b.log().split('\n').length]
    await fn()
    await sleep(1000)
    assert.ok(ticks() - from < 250 && b.log().split('\n').length - lines < 300, 'it does not spin')
  } finally {
    clock.set(0)
  }
  await b.ready()
  await until('its agents to be back', () => planner.whoami()) // whose connections it may have closed
  await cycle()
}

for (const [name, step] of [['an hour ahead', HOUR], ['an hour behind', -HOUR], ['400 days ahead', DAYS], ['400 days behind', -DAYS]]) {
  test(`The clock steps ${name}: honest envelopes, tokens of another time and certificates are refused, and taken when it is right`, async () => {
    const stale = await token(now() + step)
    const once = { route: 'ahead', nonce: randomUUID() }
    await wrong(step, async () => {
      const dated = (at) => read('plain', { issued_at_ms: at * 1000 })
      // Certificates have dates too: nobody gets in, and whose has expired is sent away.
      const out = (agent) => agent.whoami({ timeout: 15000 }).then(() => false, (e) => refusalOf(e).code === 'UNAVAILABLE')
      if (Math.abs(step) > HOUR) assert.ok(await out(await b.agent('planner')), 'its certificate is of another time')
      if (step === DAYS) { await until('the connection to be closed', () => out(planner)); return }
      await denied(planner.submit(read('plain')), 'stale_envelope')
      await denied(planner.submit(dated(now() + step)), step > 0 ? 'expired_token' : 'invalid_token')
      // Old papers for an old clock: a token that was good then, an envelope stamped then. Redis has not forgotten what time it is.
      if (step < 0) await denied(planner.submit(dated(now() + step), { token: stale }), 'stale_envelope')
      // The same in advance: taken once, and only once, when the clock is back too.
      if (step > 0) await planner.submit({ ...dated(now() + step), ...once }, { token: stale })
      if (step > 0) await denied(planner.submit({ ...dated(now() + step), ...once }, { token: stale }), 'replayed_nonce')
    })
    if (step === HOUR) await denied(planner.submit(read('ahead', once)), 'replayed_nonce')
    await denied(planner.submit(read('plain'), { token: stale }), step > 0 ? 'invalid_token' : 'expired_token')
  }, 60000)
}

test('The clock steps an hour and back: a lease with time left is kept, and completed', async () => {
  const s = await worker.subscribe({ routes: ['held'] })
  const { handoff_id } = await planner.submit(read('held'))
  const d = await s.delivery()
  for (const step of [HOUR, -HOUR]) await wrong(step, () => sleep(3500)) // longer than the lease
  assert.equal((await s.complete(d)).ok, true)
  assert.equal((await planner.get(handoff_id)).attempt, 1)
  await s.leave()
})

test('A lease whose stream is cut lapses in its time, whatever the clock says', async () => {
  const { handoff_id } = await planner.submit(read('held'))
  const first = await worker.subscribe({ routes: ['held'] })
  await first.delivery()
  await wrong(-HOUR, async () => {
    first.cut()
    const s = await worker.subscribe({ routes: ['held'] })
    const d = await s.delivery()
    assert.deepEqual([d.lease.handoff_id, d.attempt], [handoff_id, 2])
    assert.equal((await s.complete(d)).ok, true)
    await s.leave()
  })
})

test('A delivery that is too long under way is stopped in its time, though the clock was set back an hour meanwhile', async () => {
  clock.set(HOUR)
  const at = now() + HOUR
  const { handoff_id } = await planner.submit(read('timed', { issued_at_ms: at * 1000 }), { token: await token(at) })
  const s = await worker.subscribe({ routes: ['timed'] })
  const d = await s.delivery()
  clock.set(0)
  assert.deepEqual((await s.stop()).lease, d.lease)
  await planner.state(handoff_id, 'DEAD_LETTERED')
  // and set forward it is not stopped early
  const other = await planner.submit(read('timed'))
  const e = await s.delivery()
  clock.set(HOUR)
  assert.equal((await s.complete(e)).ok, true)
  clock.set(0)
  assert.equal((await planner.get(other.handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
  await s.leave()
})

test('R-3 What ended by a clock that was ahead has not ended once it is right: an agent that expires later works, what is revoked for a time is refused', async () => {
  const op = new Operator(b.adminSocket), spiffe = 'spiffe://acme.example/passing'
  await op.init(b.person('root').spiffe)
  const register = (name, more) => op.call('Apply', { resources: [{ agent: { tenant: 'acme', name, spiffe_id: `spiffe://acme.example/${name}`, owner: 'a test', may_call: ['plain'], may_originate: true, ...more } }], reason: 'a test' })
  await register('passing', { expires_at_ms: Date.now() + HOUR / 2 * 1000 })
  const leaf = { ...b.acme.leaf('passing', { sans: [`URI:${spiffe}`] }), name: 'passing', tenant: 'acme', spiffe, trust: b.serverCa.cert }
  const passing = new Agent(leaf, b.addr, { token: await b.issuer.mint(leaf) })
  await op.revoke({ tool: 'refunds.draft_refund' }, { until_ms: Date.now() + HOUR / 2 * 1000 })
  const holds = async () => { await denied(planner.submit({ route: 'plain' }), 'revoked'); await passing.submit(read('plain')) }
  await holds()
  clock.set(HOUR)
  try {
    await register('another', {}) // it is reckoned anew who is there, by the clock that is wrong
    const at = now() + HOUR
    await denied(passing.submit(read('plain', { issued_at_ms: at * 1000 }), { token: await b.issuer.mint(leaf, { iat: at, nbf: at - 1, exp: at + 600 }) }), 'unknown_peer')
  } finally { clock.set(0) }
  await until('both to be as before', async () => { await holds(); return true }, 15000)
  passing.close()
  op.close()
})

test('R-3 A clock that is ahead of the store: what a node has put aside by itself is counted for the revocation all the same', async () => {
  const op = new Operator(b.adminSocket), s = await worker.subscribe({ routes: ['held'] })
  const jti = randomUUID(), { handoff_id } = await planner.submit(read('held'), { token: await b.issuer.mint(planner, { jti }) })
  await s.delivery()
  clock.set(HOUR)
  try {
    const r = await op.revoke({ jti })
    assert.equal(Number(r.handoffs_quarantined), 1)
    await op.lift(r.revocation_id)
  } finally { clock.set(0) }
  await until('its agents to be back', () => planner.whoami())
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_QUARANTINED')
  s.cut()
  op.close()
})
