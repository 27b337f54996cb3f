// Which envelopes are taken? Form, sizes, times, tools, scopes, side effects, destinations: each refusal beside its honest twin.
import http2 from 'node:http2'
import fs from 'node:fs'
import { test, before, after, assert } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied, refused } from './lib/agent.js'
import { bytesField, encode, varint, varintField } from './lib/wire.js'

const document = fs.readFileSync(new URL('./fixtures/profile-document.json', import.meta.url), 'utf8')
const reads = profile('reads', { tools: { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } } })
const b = new Broker({ profiles: { [ROUTE]: profile(ROUTE), reads, document: document.replace('https://identity.example.com', 'https://static.issuer.example').replace(ROUTE, 'document') } })
let planner, bystander

before(async () => { [planner, bystander] = await b.startWith('planner', 'bystander') })
after(() => b.remove())

// This change is refused for this reason, with the decision audited; the same envelope without it is taken.
async function refusedChange (change, reason, code, { field } = {}) {
  const r = await denied(planner.submit(change), reason, code)
  if (field) assert.equal(r.status.decision.field, field, r.message)
  await b.audited({ event: 'decision', outcome: 'deny', reason, trace_id: r.trace_id })
  await planner.submit()
  return r
}
const malformed = (change, field) => refusedChange(change, 'malformed_envelope', 'INVALID_ARGUMENT', { field })

test('E1 I-4 A-3 a missing scope is denied before execution and the denial is traced', async () => {
  const token = await b.issuer.mint(planner, { scope: 'orders:read' })
  const trace = '0af7651916cd43dd8448eb211c80319c'
  const r = await denied(planner.submit({ traceparent: `00-${trace}-b7ad6b7169203331-01` }, { token }), 'missing_scope', 'PERMISSION_DENIED')
  assert.equal(r.trace_id, trace)
  const a = await b.audited({ event: 'decision', trace_id: trace })
  assert.deepEqual([a.outcome, a.reason, a.agent, a.tool, a.scopes], ['deny', 'missing_scope', 'planner', 'refunds.draft_refund', 'orders:read'])
  assert.match(a.policy_version, /^sha256:/)
  await planner.submit()
})

test('T6 A-1 scopes asked for beyond the token\'s or the tool\'s are missing_scope / narrower ones are taken', async () => {
  await refusedChange({ scopes: ['refunds:draft', 'admin:all'] }, 'missing_scope', 'PERMISSION_DENIED')
  await planner.submit({ scopes: ['refunds:draft'] })
})

test('T2 A-2 a tool that the route does not list is tool_denied', () => refusedChange({ tool: 'shell.exec' }, 'tool_denied', 'PERMISSION_DENIED'))

test('T2 A-1 a route that the agent may not call, or that is not there, is route_denied: the two look the same', async () => {
  const gone = await refusedChange({ route: 'no_such_route' }, 'route_denied', 'PERMISSION_DENIED')
  const hidden = await denied(bystander.submit(), 'route_denied', 'PERMISSION_DENIED')
  assert.equal(gone.message.replaceAll('no_such_route', ROUTE).replaceAll('planner', 'bystander'), hidden.message)
})

test('T2 a side effect declared lower than pinned is side_effect_denied / as pinned it is taken', async () => {
  await refusedChange({ side_effect: 'SIDE_EFFECT_READ' }, 'side_effect_denied', 'PERMISSION_DENIED')
  await refusedChange({ tool: 'orders.close', side_effect: 'SIDE_EFFECT_DRAFT' }, 'side_effect_denied')
  await refusedChange({ tool: 'notes.any', side_effect: 'SIDE_EFFECT_DRAFT' }, 'side_effect_denied')
  await planner.submit({ tool: 'notes.any', side_effect: 'SIDE_EFFECT_WRITE' })
})

test('T7 G-4 A-3 anything but read needs an idempotency key', async () => {
  await refusedChange({ idempotency_key: '' }, 'missing_idempotency_key', 'INVALID_ARGUMENT')
  await planner.submit({ tool: 'orders.lookup', side_effect: 'SIDE_EFFECT_READ', idempotency_key: '' })
})

test('E4 T4 N-1 N-6 A-3 a destination off the list is egress_denied, recorded with the trace id / a listed one is taken', async () => {
  const mail = { tool: 'email.notify', side_effect: 'SIDE_EFFECT_EXTERNAL_SEND' }
  const r = await refusedChange({ ...mail, destination: 'https://evil.example/upload' }, 'egress_denied', 'PERMISSION_DENIED')
  const a = await b.audited({ event: 'decision', trace_id: r.trace_id })
  assert.deepEqual([a.reason, a.destination], ['egress_denied', 'https://evil.example/upload'])
  await planner.submit({ ...mail, destination: 'https://api.example.com/send' })
  await planner.submit({ ...mail, destination: 'api.example.com:443' })
})

test('N-8 N-5 an external send without a destination, or to one without a class, fails closed', async () => {
  const mail = { tool: 'email.notify', side_effect: 'SIDE_EFFECT_EXTERNAL_SEND' }
  await refusedChange(mail, 'egress_denied')
  for (const destination of ['unlisted.example.com', 'api.example.com.evil.example', 'sub.api.example.com', 'docs.example.com']) {
    await refusedChange({ ...mail, destination }, 'egress_denied')
  }
})

test('N-2 E9 B3 a private address, a metadata endpoint, plain http or user info as destination is egress_denied', async () => {
  const mail = { tool: 'email.notify', side_effect: 'SIDE_EFFECT_EXTERNAL_SEND' }
  for (const destination of ['127.0.0.1', '10.0.0.7:443', '192.168.1.1', '169.254.169.254', 'https://[::1]/', 'https://[fd00::1]/', 'http://api.example.com/',
    'https://api.example.com@evil.example/', 'https://2130706433/', 'ftp://api.example.com/', 'localhost']) {
    await denied(planner.submit({ ...mail, destination }), 'egress_denied', 'PERMISSION_DENIED')
  }
  await planner.submit({ ...mail, destination: 'https://api.example.com/' })
})

test('T5 B1 another tenant named in the envelope is tenant_boundary / the caller\'s own is taken', async () => {
  await refusedChange({ tenant: 'globex' }, 'tenant_boundary', 'PERMISSION_DENIED')
  await planner.submit({ tenant: 'acme' })
})

test('A-3 the order of reasons: audience, tenant, scope, idempotency key, destination', async () => {
  const all = { tool: 'email.notify', side_effect: 'SIDE_EFFECT_EXTERNAL_SEND', destination: 'evil.example', idempotency_key: '', tenant: 'globex' }
  const nothing = await b.issuer.mint(planner, { scope: 'other', aud: 'other' })
  const noScope = await b.issuer.mint(planner, { scope: 'other' })
  await denied(planner.submit(all, { token: nothing }), 'wrong_audience')
  await denied(planner.submit(all, { token: noScope }), 'tenant_boundary')
  await denied(planner.submit({ ...all, tenant: '' }, { token: noScope }), 'missing_scope')
  await denied(planner.submit({ ...all, tenant: '' }), 'missing_idempotency_key')
  await denied(planner.submit({ ...all, tenant: '', idempotency_key: 'k1' }), 'egress_denied')
  await planner.submit({ ...all, tenant: '', idempotency_key: 'k1', destination: 'api.example.com' })
})

test('A-5 the document\'s own profile is accepted as it stands: allowed tools run, approval_required ones are held', async () => {
  const token = await b.issuer.mint(planner)
  const ok = await planner.submit({ route: 'document', tool: 'orders.lookup', side_effect: 'SIDE_EFFECT_WRITE' }, { token })
  assert.equal(ok.state, 'HANDOFF_STATE_QUEUED')
  const held = await planner.submit({ route: 'document', tool: 'refunds.issue_refund', side_effect: 'SIDE_EFFECT_WRITE' }, { token })
  assert.equal(held.state, 'HANDOFF_STATE_HELD')
  const one = await b.issuer.mint(planner, { scope: 'orders:read' })
  await denied(planner.submit({ route: 'document', tool: 'orders.lookup', side_effect: 'SIDE_EFFECT_WRITE' }, { token: one }), 'missing_scope')
  for (const h of [ok, held]) await planner.cancel(h.handoff_id)
})

// ---- form ----
test('T7 a nonce that is missing, short, long or of other characters is malformed', async () => {
  for (const nonce of ['', 'short', 'x'.repeat(65), 'sixteen chars ok', 'a/b/c/d/e/f/g/h/i', '0123456789abcde{']) await malformed({ nonce }, 'nonce')
  await planner.submit({ nonce: `${'n'.repeat(40)}-${Date.now()}` })
})

test('Names with other characters than the contract\'s are malformed', async () => {
  for (const route of ['', 'Upper', 'a b', '{acme/x}', '../x', 'x'.repeat(64), '.hidden']) await malformed({ route }, 'route')
  for (const tool of ['', 'A.b', 'a\u00e9', 'x'.repeat(64)]) await malformed({ tool }, 'tool')
})

test('Fields out of range are malformed', async () => {
  await malformed({ side_effect: 'SIDE_EFFECT_UNSPECIFIED' }, 'side_effect')
  await malformed({ priority: 10 }, 'priority')
  await malformed({ content_type: 'x'.repeat(128) }, 'content_type')
  await malformed({ idempotency_key: 'k'.repeat(129) }, 'idempotency_key')
  await malformed({ idempotency_key: 'caf\u00e9' }, 'idempotency_key')
  await malformed({ scopes: Array.from({ length: 33 }, (_, i) => `s:${i}`) }, 'scopes')
  await malformed({ scopes: ['refunds:draft', 'refunds:draft'] }, 'scopes')
  await malformed({ labels: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`l${i}`, 'v'])) }, 'labels')
  await malformed({ labels: { l: 'v'.repeat(129) } }, 'labels')
  await malformed({ issued_at_ms: 0 }, 'issued_at_ms')
  await malformed({ start_at_ms: Date.now() + 60000, deadline_ms: Date.now() + 30000 })
  await malformed({ deadline_ms: Date.now() - 1000 })
})

test('NUL, control characters and bad UTF-8 in strings are malformed, never cut', async () => {
  const e = (extra) => bytesField(1, Buffer.concat([encode('baton.v1.TaskEnvelope', planner.envelope()), extra]))
  for (const bad of ['api.example.com\0.evil', 'a\r\nb', 'a\x7fb', 'a\x01']) await denied(planner.raw('Submit', e(bytesField(11, Buffer.from(bad)))), 'malformed_envelope')
  for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
    await denied(planner.raw('Submit', e(bytesField(5, Buffer.from(bad)))), 'malformed_envelope', 'INVALID_ARGUMENT')
  }
  await planner.raw('Submit', e(bytesField(5, Buffer.from('text/plain'))))
})

test('A singular field, the envelope or a label\'s key that comes twice is malformed, never merged', async () => {
  const once = encode('baton.v1.TaskEnvelope', planner.envelope())
  const label = bytesField(20, Buffer.concat([bytesField(1, Buffer.from('team')), bytesField(2, Buffer.from('x'))]))
  await denied(planner.raw('Submit', Buffer.concat([bytesField(1, once), bytesField(1, once)])), 'malformed_envelope')
  await denied(planner.raw('Submit', Buffer.concat([bytesField(1, once), bytesField(1, bytesField(2, Buffer.from('orders.lookup')))])), 'malformed_envelope')
  await denied(planner.raw('Submit', bytesField(1, Buffer.concat([once, bytesField(2, Buffer.from('orders.lookup'))]))), 'malformed_envelope')
  await denied(planner.raw('Submit', bytesField(1, Buffer.concat([once, label, label]))), 'malformed_envelope')
  await planner.raw('Submit', bytesField(1, Buffer.concat([once, label])))
})

// The request's own types nest three deep at most, so depth itself is judged by test_wire_prescan (nesting_ends_at_the_limit).
test('Protobuf nested thousands deep hurts nobody: groups are refused by name, what an unknown field nests is not walked into', async () => {
  const says = async (bytes, what) => assert.match((await denied(planner.raw('Submit', bytes), 'malformed_envelope', 'INVALID_ARGUMENT')).message, what)
  const nest = (number, n) => { let deep = Buffer.from('x'); for (let i = 0; i < n; i++) deep = bytesField(number, deep); return deep }
  const once = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope()))
  await says(nest(1, 4000), /envelope\.route: text is not UTF-8 or has control characters/)
  await says(Buffer.alloc(40000, 0x0b), /wire type is a group or unknown/)
  await says(Buffer.concat([once, Buffer.alloc(40000, varint(1000 << 3 | 3))]), /1000: wire type is a group or unknown/)
  await planner.raw('Submit', Buffer.concat([once, nest(64, 4000)]))
  await planner.submit()
})

test('Wide protobuf is refused by the number of its fields / fewer of the same are taken', async () => {
  const wide = async (bytes, field) => {
    const r = await denied(planner.raw('Submit', bytes), 'malformed_envelope', 'INVALID_ARGUMENT')
    assert.equal(r.message, `malformed_envelope: ${field}: too many fields`)
  }
  const envelope = (...more) => bytesField(1, Buffer.concat([encode('baton.v1.TaskEnvelope', planner.envelope()), ...more.flat()]))
  const many = (n, fn) => Array.from({ length: n }, (_, i) => fn(i))
  const label = (i) => bytesField(20, Buffer.concat([bytesField(1, Buffer.from(`l${i}`)), bytesField(2, Buffer.from('v'))]))
  const number = () => varintField(1000, 1)
  await wide(envelope(many(300, label)), 'envelope.labels') // 256 fields in an envelope
  await planner.raw('Submit', envelope(many(16, label)))
  await wide(envelope(many(300, number)), 'envelope.1000')
  await planner.raw('Submit', envelope(many(200, number)))
  await wide(Buffer.concat([envelope(), ...many(5000, number)]), '1000') // 4,096 in all
  await planner.raw('Submit', Buffer.concat([envelope(), ...many(4000, number)]))
  await wide(Buffer.concat([envelope(), Buffer.alloc(1 << 20, bytesField(1000, []))]), '1000')
  await planner.submit()
})

test('Truncated and random bytes are malformed', async () => {
  const good = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope()))
  for (const cut of [1, 5, good.length >> 1, good.length - 1]) await denied(planner.raw('Submit', good.subarray(0, cut)), 'malformed_envelope')
  for (let seed = 1; seed < 60; seed++) {
    let x = seed * 2654435761 >>> 0
    const junk = Buffer.from(Array.from({ length: seed * 7 }, () => { x = (x * 1664525 + 1013904223) >>> 0; return x >>> 24 }))
    const r = await refused(planner.raw('Submit', junk))
    assert.ok(['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED'].includes(r.code), r.message)
  }
  await denied(planner.raw('Submit', Buffer.alloc(0)), 'malformed_envelope')
  await planner.submit()
})

// ---- sizes ----
test('A payload over the limit is payload_too_large / one at the limit is taken and comes back whole', async () => {
  await refusedChange({ payload: Buffer.alloc((1 << 20) + 1, 'x') }, 'payload_too_large', 'RESOURCE_EXHAUSTED')
  const full = Buffer.alloc(1 << 20, 'y')
  const { handoff_id } = await planner.submit({ payload: full })
  const got = await planner.get(handoff_id, { with_envelope: true })
  assert.ok(got.envelope.payload.equals(full))
  await planner.cancel(handoff_id)
})

function h2 () {
  const session = http2.connect(`https://localhost:${b.port}`, { ca: fs.readFileSync(b.serverCa.cert), cert: fs.readFileSync(planner.cert), key: fs.readFileSync(planner.key), maxSessionMemory: 200 })
  session.on('error', () => {})
  const call = (path, bytes, headers = {}) => new Promise((done) => {
    const rq = session.request({ ':method': 'POST', ':path': path, te: 'trailers', 'content-type': 'application/grpc', authorization: `Bearer ${planner.token}`, ...headers })
    const got = {}
    rq.on('response', (h) => Object.assign(got, h))
    rq.on('trailers', (t) => Object.assign(got, t))
    rq.on('data', () => {})
    rq.on('error', (e) => { got.error = e.code })
    rq.on('close', () => done(got))
    rq.end(bytes)
  })
  return { session, call }
}

test('A gRPC message over the call\'s size is RESOURCE_EXHAUSTED, before it is buffered; the connection lives on', async () => {
  const { session, call } = h2()
  const path = '/baton.v1.HandoffService/Submit'
  const big = Buffer.alloc(5 + (40 << 20))
  big.writeUInt32BE(40 << 20, 1)
  const r = await call(path, big)
  assert.deepEqual([r[':status'], r['grpc-status']], [200, '8'], JSON.stringify(r))
  const message = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope()))
  const next = await call(path, Buffer.concat([Buffer.from([0, 0, 0, message.length >> 8, message.length & 255]), message]))
  assert.equal(next['grpc-status'], '0', JSON.stringify(next))
  session.close()
})

test('A frame that announces 4 GiB, or is cut short, is refused at once', async () => {
  const { session, call } = h2()
  const path = '/baton.v1.HandoffService/Submit'
  const huge = await call(path, Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]))
  assert.equal(huge['grpc-status'], '8', JSON.stringify(huge))
  const cut = await call(path, Buffer.from([0, 0, 0, 0, 9, 1, 2]))
  assert.ok(Number(cut['grpc-status']) > 0 || cut.error, JSON.stringify(cut))
  const none = await call(path, Buffer.alloc(0))
  assert.ok(Number(none['grpc-status']) > 0, JSON.stringify(none))
  session.close()
  await planner.submit()
})

test('gRPC: a compressed message without a negotiated encoding is UNIMPLEMENTED; a bad grpc-timeout is refused', async () => {
  const { session, call } = h2()
  const message = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope()))
  const framed = (flag) => Buffer.concat([Buffer.from([flag, 0, 0, message.length >> 8, message.length & 255]), message])
  const path = '/baton.v1.HandoffService/Submit'
  assert.equal((await call(path, framed(1)))['grpc-status'], '12')
  const odd = await call(path, framed(0), { 'grpc-timeout': 'soon' })
  assert.ok(odd['grpc-status'] !== '0' || odd.error, JSON.stringify(odd))
  assert.equal((await call(path, framed(0), { 'grpc-timeout': '5S' }))['grpc-status'], '0')
  session.close()
})

// ---- times ----
test('T7 a stale envelope and one from the future are stale_envelope, with the broker\'s time', async () => {
  for (const change of [{ issued_at_ms: Date.now() - 6 * 60000 }, { issued_at_ms: Date.now() + 60000 }, { issued_at_ms: Date.now() - 5000, expires_at_ms: Date.now() - 1000 }]) {
    const r = await refusedChange(change, 'stale_envelope', 'INVALID_ARGUMENT')
    assert.ok(Math.abs(Number(r.server_time_ms) - Date.now()) < 30000)
  }
  await planner.submit({ issued_at_ms: Date.now() - 500, expires_at_ms: Date.now() + 60000 })
  await planner.submit({ issued_at_ms: Date.now() + 500 })
})

test('expires_at beyond the window is capped or refused, never believed', async () => {
  await denied(planner.submit({ issued_at_ms: Date.now() - 6 * 60000, expires_at_ms: Date.now() + 60 * 60000 }), 'stale_envelope')
})

test('T6 a child of a handoff, or a signature, is refused by name while this version cannot check it', async () => {
  await denied(planner.submit({ parent_handoff_id: 'A'.repeat(27) }), 'delegation_invalid', 'PERMISSION_DENIED')
  await denied(planner.unary('Submit', { envelope: planner.envelope(), signature: Buffer.from('x') }), 'malformed_envelope')
})
