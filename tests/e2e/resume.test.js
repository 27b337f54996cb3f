// What does a stream that resumes its leases get, and who keeps them while the old stream still stands?
import { test, before, after, assert, sleep } from './lib/suite.js'
import { Broker, profile } from './lib/broker.js'
import { read } from './lib/agent.js'
import { jose } from './lib/tokens.js'

const del = (d) => ({ delivery: { ...profile('x').delivery, ...d } })
const six = (name) => Array.from({ length: 6 }, (_, i) => name + i) // streams land on either of two workers: enough to meet both cases
const LONG = { lease_ms: 20000, resume_ms: 20000 }
const routes = {
  asserted: del(LONG), long: del({ lease_ms: 60000, resume_ms: 60000 }), bare: del({ assertion: 'none', ...LONG }), tries: del({ backoff_ms: [600, 60000], max_attempts: 5, ...LONG }),
  ...Object.fromEntries(six('old').map((r) => [r, del({ lease_ms: 9000, resume_ms: 1000 })])),
  ...Object.fromEntries(six('dead').map((r) => [r, {}]))
}
const b = new Broker({ profiles: Object.fromEntries(Object.entries(routes).map(([n, more]) => [n, profile(n, more)])) })
let planner, worker, worker2

before(async () => { [planner, worker, worker2] = await b.startWith('planner', 'worker', 'worker2') })
after(() => b.remove())

async function cutAndResume (route) {
  const { handoff_id } = await planner.submit(read(route))
  const s = await worker.subscribe({ routes: [route] })
  const d = await s.delivery()
  s.cut()
  const again = await worker.subscribe({ routes: [route], resume: [d.lease] })
  assert.deepEqual(again.granted.resumed, [d.lease])
  return { handoff_id, d, again }
}

test('A-1 after a resume a fresh assertion comes at once, once, for this connection / not on a route without assertions', async () => {
  const { d, again, handoff_id } = await cutAndResume('asserted')
  const { assertion } = await again.take('an assertion', (f) => f.assertion, 3000)
  assert.deepEqual(assertion.lease, d.lease)
  const claims = jose.decodeJwt(assertion.assertion)
  assert.equal(claims.cnf['x5t#S256'], worker.thumbprint)
  assert.equal(claims.exp * 1000, Math.floor(assertion.expires_at_ms / 1000) * 1000)
  await b.audited({ event: 'assertion.issued', handoff_id })
  await sleep(1000)
  assert.deepEqual(again.items, [])
  await again.complete(d)
  await again.leave()
  const bare = await cutAndResume('bare')
  await sleep(1000)
  assert.deepEqual([bare.d.assertion, bare.again.items], ['', []])
  await bare.again.complete(bare.d)
  await bare.again.leave()
})

test('Leases that the store cannot be asked about are not called lost: the stream ends with store_unavailable / then they are resumed', async () => {
  const { handoff_id } = await planner.submit(read('long'))
  const s = await worker.subscribe({ routes: ['long'] })
  const d = await s.delivery()
  s.cut()
  const pid = await b.redisPid()
  process.kill(pid, 'SIGSTOP')
  try {
    const blind = await worker.subscribe({ routes: ['long'], resume: [d.lease] }, { wait: false })
    const end = await blind.end(20000)
    assert.deepEqual([end.code, end.reason, blind.items], ['UNAVAILABLE', 'store_unavailable', []])
  } finally { process.kill(pid, 'SIGCONT') }
  await b.ready()
  const again = await worker.subscribe({ routes: ['long'], resume: [d.lease] })
  assert.deepEqual(again.granted.resumed, [d.lease])
  assert.equal((await again.complete(d)).ok, true)
  assert.equal((await planner.get(handoff_id)).attempt, 1)
  await again.leave()
})

test('A failure after a resume backs off by its attempt', async () => {
  await planner.submit(read('tries'))
  let s = await worker.subscribe({ routes: ['tries'] })
  for (let i = 0; i < 2; i++) await s.fail(await s.delivery(), true)
  const third = await s.delivery(8000)
  assert.equal(third.attempt, 3)
  s.cut()
  s = await worker.subscribe({ routes: ['tries'], resume: [third.lease] })
  const failed = Date.now()
  await s.fail(third, true)
  await s.complete(await s.delivery(10000))
  assert.ok(Date.now() - failed >= 2300, `${Date.now() - failed} ms after the third attempt`)
  await s.leave()
})

test('T7 a lease resumed on another connection does not lapse when the old stream ends', async () => {
  const one = async (route) => {
    const { handoff_id } = await planner.submit(read(route))
    const [a, c] = [await b.agent('worker'), await b.agent('worker')]
    const old = await a.subscribe({ routes: [route] })
    const d = await old.delivery()
    const begun = Date.now()
    const s = await c.subscribe({ routes: [route], resume: [d.lease] })
    await sleep(7000 - (Date.now() - begun)) // shortly before the lease would lapse by itself
    old.cut()
    await sleep(4000)
    const settled = await s.complete(d)
    s.cut()
    a.close()
    c.close()
    return [settled.ok, (await planner.get(handoff_id)).attempt, b.audit().some((r) => r.event === 'handoff.lapsed' && r.handoff_id === handoff_id)]
  }
  assert.deepEqual(await Promise.all(six('old').map(one)), Array(6).fill([true, 1, false]))
})

test('T7 an old stream that still stands does not keep a lease whose new holder is gone', async () => {
  const one = async (route) => {
    const { handoff_id } = await planner.submit(read(route))
    const [a, c] = [await b.agent('worker'), await b.agent('worker')]
    const old = await a.subscribe({ routes: [route] })
    const d = await old.delivery()
    const s = await c.subscribe({ routes: [route], resume: [d.lease] })
    await sleep(300)
    s.cut()
    old.write({ flow: { max_in_flight: 0 } })
    const other = await worker2.subscribe({ routes: [route] })
    const again = await other.delivery(8000)
    assert.deepEqual([again.lease.handoff_id, again.attempt], [handoff_id, 2])
    await other.complete(again)
    other.cut()
    old.cut()
    a.close()
    c.close()
  }
  await Promise.all(six('dead').map(one))
})
