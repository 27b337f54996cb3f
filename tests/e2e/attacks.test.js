// Which holes of other brokers would open here? One test for each published attack of tests/attacks.md that has no better home in another file;
// each passes the honest request too.
import fs from 'node:fs'
import { randomUUID } from 'node:crypto'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, ROUTE } from './lib/broker.js'
import { denied, read, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { bytesField, encode, grpc } from './lib/wire.js'
import { CODE, F, Raw, T, frame, headers, identity, literal, message, u32 } from './lib/rawh2.js'

const b = new Broker({ workers: 1, admin: true })
let planner, worker, root, eve // an operator with all roles, and one with none

before(async () => {
  [planner, worker] = await b.startWith('planner', 'worker')
  const local = new Operator(b.adminSocket)
  const [first, last] = ['root', 'eve'].map((name) => b.person(name))
  await local.init(first.spiffe)
  local.close();
  [root, eve] = [first, last].map((p) => new Operator(b.adminAddr, p))
  b.made.push(root, eve)
})
after(() => b.remove())

const rss = () => Number(fs.readFileSync(`/proc/${b.process.pid}/statm`, 'utf8').split(' ')[1]) * 4096
const sanitized = () => fs.readFileSync(`/proc/${b.process.pid}/maps`, 'utf8').includes('asan')

test('attack 19: headers that claim to come from inside decide nothing: agent, tenant, certificate and principal are those of TLS and token', async () => {
  const metadata = {
    'x-forwarded-client-cert': 'By=spiffe://acme.example/broker;URI=spiffe://globex.example/globex-planner', 'x-forwarded-for': '10.0.0.1', 'x-spiffe-id': 'spiffe://acme.example/auditor',
    'baton-agent': 'auditor', 'baton-tenant': 'globex', 'baton-reason': 'allowed', 'baton-trace-id': 'f'.repeat(32), 'baton-policy-version': 'none', 'x-real-ip': '127.0.0.1', 'grpc-status': '0'
  }
  const who = await planner.whoami({ metadata })
  assert.deepEqual([who.agent.name, who.agent.tenant], ['planner', 'acme'])
  const { handoff_id, trace_id } = await planner.submit({}, { metadata })
  assert.notEqual(trace_id, 'f'.repeat(32))
  const line = await b.audited({ handoff_id, event: 'decision' })
  assert.deepEqual([line.agent, line.tenant], ['planner', 'acme'])
  assert.ok(!JSON.stringify(line).includes('globex'))
  await denied(planner.submit({}, { token: '', metadata: { ...metadata, 'x-access-token': planner.token } }), 'missing_token')
  await planner.cancel(handoff_id)
  const inside = { ...metadata, 'x-forwarded-client-cert': `URI=${root.spiffe}`, 'x-spiffe-id': root.spiffe, 'baton-role': 'platform', 'baton-roles': 'platform,sre,auditor', 'baton-operator': 'root', 'x-remote-user': 'root' }
  await denied(eve.call('ListRoutes', {}, { metadata: inside }), 'role_denied')
  await root.call('ListRoutes', {}, { metadata: inside })
  const denial = await b.audited({ event: 'decision', reason: 'role_denied' })
  assert.deepEqual([denial.spiffe_id, denial.roles], [eve.spiffe, undefined])
})

test('attack 24: CR, LF, NUL and other controls in names reach no log, no header and no key: refused / the same names without them are taken', async () => {
  for (const odd of ['\r\n', '\n', '\0', '\x1b[2J', '\u2028', '\u0085']) {
    for (const field of ['route', 'tool', 'idempotency_key', 'destination', 'nonce', 'tenant']) {
      const value = `x${odd}baton-reason: allowed`
      const r = await refused(planner.submit({ [field]: value }).catch((e) => { throw e }).then((a) => assert.fail(`${field} ${JSON.stringify(value)} was taken`)))
      assert.ok(!r.message.includes(odd), `${field}: ${JSON.stringify(r.message)}`)
      assert.equal([...JSON.stringify(r.trailers.getMap())].some((c) => c < ' '), false)
    }
  }
  const { handoff_id } = await planner.submit({ nonce: randomUUID(), idempotency_key: 'plain' })
  await planner.cancel(handoff_id)
  for (const odd of ['\r\n', '\n', '\0', '\x1b[2J', '\u2028', '\u0085']) {
    const value = `x${odd}baton-reason: allowed`
    const asked = [['ListRoutes', { route: value, tenant: value, page_token: value }], ['SetRouteState', { route: { name: value }, state: 'ROUTE_STATE_PAUSED', reason: 'x' }], ['ListHandoffs', { tenant: value }],
      ['SetRouteState', { route: { name: ROUTE, tenant: 'acme' }, state: 'ROUTE_STATE_RUNNING', reason: value }], ['ReplayDeadLetters', { handoff_ids: [value], reason: value }], ['CheckStore', { tenant: value }], ['Drain', { node: value, reason: 'x' }], ['Drain', { node: 'nobody', reason: value }],
      ['Get', { kind: 'agent', tenant: value, name: value }], ['Get', { kind: 'role', name: value }], ['List', { kind: value }], ['Delete', { ref: { kind: 'role', name: value }, version: '1', reason: 'x' }],
      ['Apply', { resources: [{ role: { name: 'x', roles: ['sre'], spiffe_id: 'spiffe://acme.example/x' } }], reason: value }], ['Apply', { resources: [{ role: { name: 'x', roles: ['sre'], issuer: 'static', claim: 'x', value } }], reason: 'x' }]]
    for (const [method, request] of asked) {
      const said = await root.call(method, request, { service: ['Get', 'List', 'Delete', 'Apply'].includes(method) ? 'ResourceService' : undefined }).then(() => '', (e) => e.details + JSON.stringify(e.metadata.getMap()))
      assert.ok(!said.includes(odd) && !said.includes(JSON.stringify(odd).slice(1, -1)), `${method}: ${JSON.stringify(said)}`)
    }
  }
  await root.set(ROUTE, 'RUNNING', { tenant: 'acme' })
  for (const line of [...b.auditLines(), ...b.log().trim().split('\n')]) JSON.parse(line) // each line is whole, and one
  await b.redis(async (r) => { for (const k of await r.keys()) assert.ok(!/[\r\n]/.test(k.toString('latin1').split(/:[be]:/)[0]), k.toString('latin1')) })
})

test('attack 24: a header with CR, LF or NUL resets its stream (RFC 9113 §8.2.1) / without, it is served', async () => {
  for (const [leaf, port, method] of [[b.leaves.planner, b.port, undefined], [root, b.adminPort, '/baton.v1.OperateService/ListRoutes']]) {
    const c = new Raw(identity(b, leaf, undefined, port))
    await c.greet()
    const ask = (stream, more) => c.write(frame(T.HEADERS, F.END_HEADERS, stream, Buffer.concat([headers({}, method), ...more])), frame(T.DATA, F.END_STREAM, stream, message(Buffer.alloc(0))))
    for (const [i, bad] of ['a\r\nb', 'a\nb', 'a\0b'].entries()) {
      ask(1 + 4 * i, [literal('x-note', bad)])
      assert.equal(await c.reset(1 + 4 * i), CODE.PROTOCOL_ERROR)
      ask(3 + 4 * i, [literal('x-note', 'plain')])
      assert.equal((await c.answer(3 + 4 * i))['grpc-status'], '0')
    }
    ask(21, [literal('X-Upper', 'case')])
    assert.equal(await c.reset(21), CODE.PROTOCOL_ERROR)
    c.close()
  }
})

test('attack 26: the same message again and again is refused each time and costs no memory', async () => {
  const again = planner.envelope(read(ROUTE))
  const first = await planner.unary('Submit', { envelope: again })
  const pipe = planner.pipe()
  const flood = async (n) => {
    for (let i = 0; i < n; i++) pipe.write({ submit: { ref: i + 1, envelope: again } })
    await until('all receipts', () => pipe.items.filter((m) => m.receipt).length === n, 30000)
    return pipe.items.splice(0).map((m) => m.receipt)
  }
  await flood(4000)
  const before = rss()
  for (const r of await flood(4000)) assert.equal(r.decision.reason, 'REASON_REPLAYED_NONCE')
  if (!sanitized()) assert.ok(rss() - before < 24 << 20, `${rss() - before} bytes`)
  assert.equal((await planner.list()).handoffs.filter((h) => h.handoff_id === first.handoff_id).length, 1)
  await planner.cancel(first.handoff_id)
  pipe.call.end()
  await pipe.end()
})

test('attack 27: very many properties: labels, scopes and unknown fields of an envelope have caps / at the cap they are taken', async () => {
  const labels = (n) => Array.from({ length: n }, (_, i) => ({ key: `k${i}`, value: 'v' }))
  const { handoff_id } = await planner.submit({ labels: labels(16) })
  await planner.cancel(handoff_id)
  await denied(planner.submit({ labels: labels(17) }), 'malformed_envelope')
  await denied(planner.submit({ labels: labels(5000) }), 'malformed_envelope')
  const envelope = encode('baton.v1.TaskEnvelope', planner.envelope())
  await denied(planner.raw('Submit', bytesField(1, Buffer.concat([envelope, ...Array.from({ length: 20000 }, (_, i) => bytesField(100 + i, 'x'))]))), 'malformed_envelope')
})

test('attack 28: offsets and limits at their ends: pages, cursors and time-outs neither overflow nor read elsewhere', async () => {
  const sent = []
  for (let i = 0; i < 3; i++) sent.push((await planner.submit(read(ROUTE))).handoff_id)
  for (const page_size of [0, 1, 500]) assert.ok((await planner.list({ page_size })).handoffs.length >= 1)
  for (const page_size of [501, 4294967295]) assert.match((await denied(planner.list({ page_size }), 'malformed_envelope')).message, /page_size/)
  const page = await planner.list({ page_size: 1 })
  const next = await planner.list({ page_size: 1, page_token: page.next_page_token })
  assert.notEqual(next.handoffs[0].handoff_id, page.handoffs[0].handoff_id)
  for (const page_token of ['x', '-1', '18446744073709551616', '0'.repeat(300), page.next_page_token + 'A', page.next_page_token.slice(1)]) {
    const r = await planner.list({ page_token }).then((a) => ({ code: 'OK', a }), (e) => ({ code: e.code }))
    assert.ok(r.code === grpc.status.INVALID_ARGUMENT || (r.code === 'OK' && r.a.handoffs.every((h) => sent.includes(h.handoff_id) || h.route === ROUTE)), `${page_token}: ${r.code}`)
  }
  for (const cursor of [Number.MAX_SAFE_INTEGER, '18446744073709551615']) {
    const gone = (await planner.submit(read(ROUTE))).handoff_id
    const w = planner.watch(gone, cursor)
    await new Promise((done) => setTimeout(done, 200))
    await planner.cancel(gone)
    await w.end()
    assert.deepEqual(w.items, [])
  }
  const c = new Raw(identity(b, b.leaves.planner))
  await c.greet()
  for (const [i, [timeout, status]] of [['99999999H', '0'], ['1S', '0'], ['100000000S', null], ['-1S', null], ['1', null], ['18446744073709551616n', null]].entries()) {
    c.write(frame(T.HEADERS, F.END_HEADERS, 2 * i + 1, headers({ 'grpc-timeout': timeout })), frame(T.DATA, F.END_STREAM, 2 * i + 1, message(Buffer.alloc(0))))
    const got = (await c.answer(2 * i + 1))['grpc-status']
    assert.ok(status === null ? got !== '0' : got === status, `grpc-timeout ${timeout}: ${got}`)
  }
  c.write(frame(T.WINDOW_UPDATE, 0, 0, u32(0x7fffffff)))
  await c.ended()
  assert.equal(c.goaway.code, CODE.FLOW_CONTROL_ERROR)
  for (const id of sent) await planner.cancel(id)
  assert.ok((await worker.whoami()).agent)
})
