// What ends a Pipe, and what does not? Refused frames, a Credential of somebody else, a node that goes away.
import { test, before, after, assert } from './lib/suite.js'
import { Broker, ROUTE } from './lib/broker.js'
import { Frames } from './lib/agent.js'
import { StaticIssuer } from './lib/tokens.js'
import { bytesField, encode, varintField } from './lib/wire.js'

const second = 'https://second.issuer.example'
const b = new Broker({
  config: (t) => t.replace('issuers:\n', `issuers:\n  - {name: second, url: ${second}, jwks_file: ${JSON.stringify(b.path('second.jwks'))}, tenants: [acme], algorithms: [ES256], binding: certificate, max_lifetime: 1h}\n`)
})
let planner, worker, other

before(async () => {
  other = await new StaticIssuer(b.path('second.jwks'), second).make({ es: 'ES256' })
  ;[planner, worker] = await b.startWith('planner', 'worker')
})
after(() => b.remove())

const dry = (ref, change) => ({ submit: { envelope: planner.envelope(change), ref, dry_run: true } })
const frameBytes = (frame) => encode('baton.v1.PipeFrame', frame)
const receipt = async (pipe, ref) => (await pipe.take(`receipt ${ref}`, (r) => r.receipt?.ref === ref)).receipt
const reason = async (pipe, ref) => (await receipt(pipe, ref)).decision.reason

// A Pipe that takes frames as bytes.
function rawPipe () {
  const { path, responseDeserialize } = planner.client.Pipe
  const pipe = new Frames(planner.client.makeBidiStreamRequest(path, (x) => x, responseDeserialize, planner.meta()))
  pipe.write = (bytes) => pipe.call.write(bytes)
  return pipe
}

test('A frame whose envelope is refused by its form is a receipt with its ref, the pipe lives on', async () => {
  const pipe = rawPipe()
  pipe.write(frameBytes(dry(1)))
  pipe.write(frameBytes(dry(2, { tool: 'orders.lookup\u0001' })))
  const twice = Buffer.concat([bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope())), bytesField(1, Buffer.alloc(0)), varintField(3, 3)])
  pipe.write(bytesField(1, twice))
  pipe.write(frameBytes(dry(4)))
  assert.deepEqual([await reason(pipe, 1), await reason(pipe, 4)], ['REASON_ALLOWED', 'REASON_ALLOWED'])
  const bad = await receipt(pipe, 2)
  assert.deepEqual([bad.handoff_id, bad.decision.outcome, bad.decision.reason, bad.decision.field], ['', 'OUTCOME_DENY', 'REASON_MALFORMED_ENVELOPE', 'submit.envelope.tool'])
  assert.equal(await reason(pipe, 3), 'REASON_MALFORMED_ENVELOPE')
  await b.audited({ event: 'decision', trace_id: bad.trace_id, reason: 'malformed_envelope' })
  pipe.call.end()
  assert.equal((await pipe.end()).code, 'OK')
})

test('A frame that cannot be read ends the pipe, after the receipts of what was stored before it', async () => {
  const pipe = rawPipe()
  const read = { tool: 'orders.lookup', side_effect: 'SIDE_EFFECT_READ', idempotency_key: '' }
  for (let ref = 1; ref <= 40; ref++) pipe.write(frameBytes({ submit: { envelope: planner.envelope(read), ref } }))
  pipe.write(Buffer.from([0x0a, 0x7f, 0x00]))
  assert.equal((await pipe.end()).reason, 'malformed_envelope')
  const stored = pipe.items.filter((r) => r.receipt?.handoff_id)
  assert.deepEqual(stored.map((r) => r.receipt.ref).sort((x, y) => x - y), Array.from({ length: 40 }, (_, i) => i + 1))
  for (const { receipt: r } of stored) await planner.cancel(r.handoff_id)
})

for (const [name, mint] of [
  ['subject', () => b.issuer.mint(planner, { sub: 'user-eve' })],
  ['issuer', () => other.mint(planner)]
]) {
  test(`T5 the first Credential of a pipe may not name another ${name} than the token that it began with`, async () => {
    const pipe = planner.pipe()
    pipe.write(dry(1))
    assert.equal(await reason(pipe, 1), 'REASON_ALLOWED')
    pipe.write({ credential: { access_token: await mint() } })
    pipe.write(dry(2))
    assert.equal((await pipe.end()).reason, 'identity_mismatch')
    assert.deepEqual(pipe.items, [])
  })
}

test('T5 a Credential of the same principal is taken, also after the first token has expired / without a first token it is the first', async () => {
  const now = Math.floor(Date.now() / 1000)
  for (const token of [planner.token, await b.issuer.mint(planner, { iat: now - 600, nbf: now - 600, exp: now - 120 }), '']) {
    const pipe = planner.pipe({ token })
    pipe.write({ credential: { access_token: await b.issuer.mint(planner) } })
    pipe.write(dry(1))
    assert.equal(await reason(pipe, 1), 'REASON_ALLOWED')
    pipe.write({ credential: { access_token: await b.issuer.mint(planner, { sub: 'user-eve' }) } })
    assert.equal((await pipe.end()).reason, 'identity_mismatch')
  }
})

test('T5 a Credential on Subscribe names the principal of its token / another ends the stream', async () => {
  const s = await worker.subscribe()
  s.write({ credential: { access_token: await b.issuer.mint(worker) } })
  await planner.submit()
  assert.equal((await s.complete(await s.delivery())).ok, true)
  await s.leave()
  const t = await worker.subscribe()
  t.write({ credential: { access_token: await b.issuer.mint(worker, { sub: 'user-eve' }) } })
  assert.equal((await t.end()).reason, 'identity_mismatch')
})

test('While the node drains, a submit on an open pipe is a receipt that says so / what came before was taken', async () => {
  const pipe = planner.pipe()
  pipe.write({ submit: { envelope: planner.envelope({ route: ROUTE }), ref: 1 } })
  assert.equal((await receipt(pipe, 1)).state, 'HANDOFF_STATE_QUEUED')
  const s = await worker.subscribe()
  const d = await s.delivery()
  b.signal('SIGTERM')
  await s.take('a notice', (f) => f.notice)
  pipe.write({ submit: { envelope: planner.envelope(), ref: 2 } })
  const late = await receipt(pipe, 2)
  assert.deepEqual([late.handoff_id, late.decision.reason, late.decision.retry_after_ms], ['', 'REASON_DRAINING', 200])
  assert.equal((await s.complete(d)).ok, true)
  pipe.call.end()
  assert.equal((await pipe.end()).code, 'OK')
  s.cut()
  await b.exited
  await b.stop()
})
