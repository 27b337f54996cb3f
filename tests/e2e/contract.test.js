// Are the contract's smaller promises kept? What proto/baton/v1 says of single fields, sizes and details, one test each.
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied, read } from './lib/agent.js'

const slow = { sandbox: { ...profile('x').sandbox, limits: { max_runtime_ms: 700 } }, delivery: { ...profile('x').delivery, lease_ms: 5000, backoff_ms: [100, 200], max_attempts: 2 } }
const b = new Broker({ profiles: { [ROUTE]: profile(ROUTE), slow: profile('slow', slow), changing: profile('changing') } })
let planner, worker

before(async () => { [planner, worker] = await b.startWith('planner', 'worker') })
after(() => b.remove())


test('I-8 T3 a token is refused in every text of the envelope / the same envelope without it is taken', async () => {
  const short = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl'
  for (const change of [{ traceparent: short }, { traceparent: planner.token }, { tracestate: `v=${short}` }, { scopes: [short] }, { parent_handoff_id: short },
    { content_type: short }, { destination: short }, { idempotency_key: short }, { nonce: short.replaceAll('.', '_') + '.x.y' }, { labels: { k: short } }, { labels: { [short]: 'v' } }]) {
    await denied(planner.submit(change), 'malformed_envelope', 'INVALID_ARGUMENT')
  }
  await planner.submit()
})

test('A failure\'s code is 1 to 64 of [a-z0-9_] / at both ends it is taken', async () => {
  const s = await worker.subscribe({ routes: ['changing'] })
  for (const code of ['_x', 'c'.repeat(64), '7']) {
    const { handoff_id } = await planner.submit(read('changing'))
    const d = await s.delivery()
    for (const bad of ['', 'a.b', 'A', 'a-b', 'c'.repeat(65)]) {
      assert.equal((await s.settle({ fail: { lease: d.lease, failure: { code: bad, message: 'm', retryable: false } } })).reason, 'REASON_MALFORMED_ENVELOPE', bad)
    }
    assert.equal((await s.settle({ fail: { lease: d.lease, failure: { code, message: 'm', retryable: false } } })).ok, true, code)
    assert.equal((await planner.get(handoff_id)).failure.code, code)
  }
  await s.leave()
})

test('A message far over its size is payload_too_large with trace, details and audit, and the connection lives on', async () => {
  for (const mib of [3, 4]) { // not more: node's own session gives up at 10 MiB
    const r = await denied(planner.submit({ payload: Buffer.alloc(mib << 20) }), 'payload_too_large', 'RESOURCE_EXHAUSTED')
    await b.audited({ event: 'decision', reason: 'payload_too_large', trace_id: r.trace_id, agent: 'planner' })
  }
  await planner.submit()
})

test('ErrorInfo says in its metadata what the trailers say', async () => {
  const token = await b.issuer.mint(planner, { scope: 'orders:read' })
  const r = await denied(planner.submit({}, { token }), 'missing_scope')
  assert.deepEqual(r.status.errorInfo.metadata, { field: 'scope', policy_version: r.policy_version, trace_id: r.trace_id })
  assert.match(r.policy_version, /^sha256:[0-9a-f]{16}$/)
})

test('A delivery that runs longer than max_runtime_ms is stopped and tried again, then dead-lettered', async () => {
  const { handoff_id } = await planner.submit(read('slow'))
  const s = await worker.subscribe({ routes: ['slow'] })
  for (let attempt = 1; attempt <= 2; attempt++) {
    const d = await s.delivery()
    assert.equal(d.attempt, attempt)
    assert.ok(d.run_deadline_ms <= Date.now() + 700)
    const { stop } = await s.take('the stop', (f) => f.stop)
    assert.deepEqual([stop.lease.fencing_token, stop.reason], [d.lease.fencing_token, 'REASON_DEADLINE_EXCEEDED'])
  }
  await planner.state(handoff_id, 'DEAD_LETTERED')
  await until('one that is done in time', async () => {
    const { handoff_id } = await planner.submit(read('slow'))
    const d = await s.delivery()
    return (await s.complete(d)).ok && d.lease.handoff_id === handoff_id && planner.state(handoff_id, 'COMPLETED')
  }, 30000)
  await s.leave()
})

test('O-4 work put aside at its delivery names the policy that did it', async () => {
  const { handoff_id, decision } = await planner.submit(read('changing'))
  b.profiles.changing = profile('changing', { tools: { allowed: ['refunds.draft_refund'] } })
  b.writeProfiles()
  await b.reloaded()
  const s = await worker.subscribe({ routes: ['changing'] })
  const line = await b.audited({ event: 'handoff.quarantined', handoff_id, reason: 'tool_denied' })
  assert.match(line.policy_version, /^sha256:[0-9a-f]{16}$/)
  assert.notEqual(line.policy_version, decision.policy_version)
  await s.leave()
})

test('Cancel with cascade is taken: a handoff has no children yet', async () => {
  const { handoff_id } = await planner.submit()
  assert.equal((await planner.cancel(handoff_id, { cascade: true })).state, 'HANDOFF_STATE_CANCELLED')
})
