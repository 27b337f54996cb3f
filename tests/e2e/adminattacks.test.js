// Which of the published attacks on identity would open a door of operators? listen.admin, the admin socket and the metrics port, each attack beside an honest
// twin; those that fit the agents' port too are in peers, tokens, frontdoor and attacks.
import fs from 'node:fs'
import path from 'node:path'
import { X509Certificate, createHash } from 'node:crypto'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { denied, read, refused, shutOut } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { Raw, F, T, frame, headers, identity, message } from './lib/rawh2.js'
import { ROOT, encode } from './lib/wire.js'
import { Provider } from './lib/provider.js'
import { jose } from './lib/tokens.js'
import { content, files, modeOf } from './lib/shown.js'

const AUDIENCE = 'support-agent-runtime' // the operators' too: a token may then serve for both, and must not lend anything
const config = (t) => t.replace('tls:\n', `admin:\n  audience: ${AUDIENCE}\ntls:\n`) + 'limits: {waiting_per_sender: 4}\nregistry: {allow_private_fetches: true}\n'
const lax = { // a route that asks for nothing of its own
  ...profile('lax'), identity: { ...profile('lax').identity, required_scopes: [] },
  tools: { allowed: ['any.thing', 'orders.lookup'], spec: { 'orders.lookup': { scopes: [], side_effect: 'read' }, 'any.thing': { scopes: [], side_effect: 'read' } } }
}
const b = new Broker({ admin: true, profiles: { [ROUTE]: profile(ROUTE), shared: profile('shared'), lax }, config })
const all = ['platform', 'sre', 'auditor']
const people = {}
const made = []
const person = (name, tenant) => (people[name] ||= b.person(name, tenant))
const operator = (name, opts, at = b) => { const o = new Operator(at.adminAddr, person(name), opts); made.push(o); return o }
let local, root, ours, planner, worker, gplanner, gworker

before(async () => {
  [planner, worker, gplanner, gworker] = await b.startWith('planner', 'worker', 'gplanner', 'gworker')
  local = new Operator(b.adminSocket)
  made.push(local)
  await local.init(person('root').spiffe)
  root = operator('root')
  await root.grant('acme-all', all, person('ours').spiffe, { tenant: 'acme' })
  ours = operator('ours')
})
after(async () => { for (const o of made) o.close(); await b.remove() })

const ask = (op, method, request, opts) => op.call(method, request, { service: ['Get', 'List', 'History', 'Apply', 'Delete'].includes(method) ? 'ResourceService' : undefined, ...opts })
const said = (op, method, request, opts) => ask(op, method, request, opts).then((m) => JSON.stringify(m), (e) => `${e.code} ${e.details}`)

// ---- 4, 6: who he is, and for which tenant ----

test('attack 4: an operator\'s certificate with another\'s token, or an agent\'s, lends neither\'s roles / his own token does', async () => {
  await root.grant('by-claim', 'auditor', { issuer: 'static', claim: 'groups', value: 'ops' })
  const token = await b.issuer.mint(person('ana'), { groups: ['ops'], client_id: 'ana' })
  const [a, o] = [operator('ana'), operator('bob')]
  await a.call('ListRoutes', {}, { token })
  await denied(o.call('ListRoutes', {}, { token }), 'token_binding', 'UNAUTHENTICATED')
  await denied(root.call('ListRoutes', {}, { token }), 'token_binding', 'UNAUTHENTICATED') // nor does he fall back to what his certificate may
  await denied(a.call('ListRoutes'), 'role_denied')
})

test('attack 6: no field, header or page token leads an operator of one tenant into another: each call of the table / in his own they work', async () => {
  const theirs = [], mine = []
  for (let i = 0; i < 3; i++) { theirs.push((await gplanner.submit(read('shared'))).handoff_id); mine.push((await planner.submit(read('shared'))).handoff_id) }
  const fence = await root.revoke({ agent: { kind: 'agent', tenant: 'globex', name: 'gworker' } })
  const ref = (kind, name, tenant = 'globex') => ({ kind, tenant, name })
  const gone = (s, what) => assert.match(s, /^(5|7|3) (not_found|role_denied|malformed_envelope): /, what)
  const spec = { tenant: 'acme', name: 'lent', spiffe_id: 'spiffe://acme.example/lent', owner: 'team', may_call: ['shared'] }
  const asked = [ // nested and left out: where a tenant can hide
    ['SetRouteState', { route: ref('route', 'shared'), state: 'ROUTE_STATE_PAUSED', reason: 'x' }], ['Revoke', { route: ref('route', 'shared'), reason: 'x' }],
    ['Revoke', { tool: 'orders.lookup', within: 'globex', reason: 'x' }], ['Revoke', { tool: 'orders.lookup', reason: 'x' }], ['Revoke', { agent: ref('agent', 'gplanner'), reason: 'x', dry_run: true }],
    ['Lift', { revocation_id: fence.revocation_id, reason: 'x' }], ['GetHandoff', { handoff_id: theirs[0] }],
    ['Apply', { resources: [{ agent: spec }, { agent: { ...spec, name: 'planted', tenant: 'globex', spiffe_id: 'spiffe://globex.example/planted' } }], reason: 'x' }],
    ['Apply', { resources: [{ tenant: { name: 'globex', max_waiting: 1 } }], reason: 'x' }], ['Apply', { resources: [{ issuer: { name: 'mine', url: 'https://x.example', tenants: ['acme', 'globex'] } }], reason: 'x' }],
    ['Apply', { resources: [{ role: { name: 'more', roles: ['sre'], spiffe_id: person('ours').spiffe, tenant: 'globex' } }], reason: 'x' }],
    ['Delete', { ref: ref('tenant', 'globex', ''), version: '1', reason: 'x' }], ['Get', ref('tenant', 'globex', 'acme')], ['Get', ref('agent', 'gplanner', '')],
    ['Status', {}], ['Drain', { node: 'test-node', last: true, reason: 'x' }]
  ]
  const metadata = { 'baton-tenant': 'globex', tenant: 'globex', 'x-tenant-id': 'globex', 'x-baton-role': 'sre' }
  for (const [method, request] of asked) {
    gone(await said(ours, method, request), `${method} ${JSON.stringify(request)}`)
    gone(await said(ours, method, request, { metadata }), method)
  }
  for (const method of ['ReplayDeadLetters', 'PurgeDeadLetters']) {
    const r = await ours.call(method, { handoff_ids: theirs, reason: 'x' })
    assert.deepEqual(r.letters.map((l) => l.reason), theirs.map(() => 'REASON_NOT_FOUND'))
  }
  for (const method of ['Quarantine', 'ReleaseHandoffs']) {
    const r = await ours.call(method, { handoff_ids: [...theirs, mine[0]], reason: 'x' }, { metadata })
    assert.deepEqual([Number(r.count), r.left.map((l) => l.handoff_id)], [1, theirs])
  }
  // pages: where another operator's list goes on
  const tenantOf = { ListRoutes: (m) => m.routes.map((r) => r.route.tenant), ListHandoffs: (m) => m.handoffs.map((h) => h.sender.tenant), List: (m) => m.resources.map((r) => r.agent.tenant), ListDeadLetters: (m) => m.handoffs.map((h) => h.sender.tenant),
    ListRevocations: (m) => m.revocations.map((r) => r.agent.tenant), CheckStore: (m) => m.findings.map((f) => f.tenant) }
  const pages = { ListRoutes: (page_token) => ({ page_size: 1, page_token }), ListHandoffs: (page_token, tenant) => ({ tenant, filter: { page_size: 1, page_token } }), List: (page_token) => ({ kind: 'agent', page_size: 1, page_token }),
    ListDeadLetters: (page_token) => ({ page_size: 1, page_token }), ListRevocations: (page_token) => ({ page_token }), CheckStore: (page_token, tenant) => ({ tenant, page_token }) }
  for (const [method, form] of Object.entries(pages)) {
    const tokens = method === 'ListDeadLetters' ? ['globex shared - 0', 'globex shared AAAAAAAAAAAAAAAAAAAAAAAAAAA 1'] : method === 'ListRevocations' ? [fence.revocation_id, '0'.repeat(16)] : []
    for (let token = '', i = 0; i < 40 && !tokens.includes(token || '-'); i++) {
      const m = await ask(root, method, form(token, 'globex'))
      if (!m.next_page_token) break
      tokens.push(token = m.next_page_token)
    }
    for (const token of tokens) {
      const m = await ask(ours, method, form(token, 'acme')).catch((e) => { gone(`${e.code} ${e.details}`, method); return null })
      if (m) assert.ok(tenantOf[method](m).every((t) => t === 'acme'), `${method} ${token}`)
    }
  }
  assert.equal((await gplanner.get(theirs[0])).state, 'HANDOFF_STATE_QUEUED')
  assert.equal((await root.call('GetHandoff', { handoff_id: theirs[0] })).state, 'HANDOFF_STATE_QUEUED')
  assert.equal((await ours.call('GetHandoff', { handoff_id: mine[0] })).state, 'HANDOFF_STATE_QUEUED')
  await denied(ask(root, 'Get', ref('agent', 'lent', 'acme')), 'not_found') // beside what was refused nothing was done
  await ours.set('shared', 'RUNNING', { tenant: 'acme' })
  await root.lift(fence.revocation_id)
  for (const id of theirs) await gplanner.cancel(id)
  for (const id of mine) await planner.cancel(id)
})

// ---- 12: what was taken away ----

test('attack 12: an operator\'s subject that is revoked is refused by each token of before, on his connection and on new ones, on each port / a later token is good', async () => {
  await root.grant('subjects', 'auditor', { issuer: 'static', claim: 'groups', value: 'night' })
  const cai = person('cai'), mint = () => b.issuer.mint(cai, { sub: 'user-cai', client_id: 'cai', groups: ['night'] })
  const [token, open] = [await mint(), operator('cai')]
  await open.call('ListRoutes', {}, { token })
  const r = await root.revoke({ subject: 'user-cai' })
  await denied(open.call('ListRoutes', {}, { token }), 'revoked', 'PERMISSION_DENIED')
  await denied(operator('cai').call('ListRoutes', {}, { token }), 'revoked', 'PERMISSION_DENIED')
  await b.stop()
  await b.start() // what was revoked is not forgotten by a restart
  await denied(operator('cai').call('ListRoutes', {}, { token }), 'revoked', 'PERMISSION_DENIED')
  await sleep(1100)
  await until('a later token to be good', async () => operator('cai').call('ListRoutes', {}, { token: await mint() }))
  await root.lift(r.revocation_id);
  [planner, worker, gplanner, gworker] = await Promise.all(['planner', 'worker', 'gplanner', 'gworker'].map((n) => b.agent(n)))
})

test('I-7 attack 12: an operator is refused by each kind of revocation that names what he shows: token, jti, subject, key, issuer, certificate, on his connection and on new ones / another token or certificate with the role is good, and lifted it is too', async () => {
  const dora = person('dora')
  const mint = (change, opts) => b.issuer.mint(dora, { sub: 'user-dora', client_id: 'dora', groups: ['shift'], ...change }, opts)
  await ask(root, 'Apply', { resources: [{ issuer: { name: 'beside', url: 'https://beside.example', tenants: ['acme'], jwks: fs.readFileSync(b.issuer.file) } }], reason: 'x' })
  for (const issuer of ['static', 'beside']) await root.grant(`shift-${issuer}`, 'auditor', { issuer, claim: 'groups', value: 'shift' })
  await root.grant('by-cert', 'auditor', person('edda').spiffe)
  const open = operator('dora'), good = await mint({ sub: 'user-other' })
  const kinds = {
    token_sha256: [createHash('sha256'), await mint({})], jti: ['jti-of-dora', await mint({ jti: 'jti-of-dora' })], subject: ['user-dora', await mint({})],
    key_id: ['ed', await mint({}, { kid: 'ed' })], issuer: [{ kind: 'issuer', name: 'beside' }, await mint({ iss: 'https://beside.example' })]
  }
  kinds.token_sha256[0] = kinds.token_sha256[0].update(kinds.token_sha256[1].split('.').slice(0, 2).join('.')).digest('hex')
  for (const [kind, [what, token]] of Object.entries(kinds)) {
    await open.call('ListRoutes', {}, { token })
    const r = await root.revoke({ [kind]: what })
    for (const o of [open, operator('dora')]) await denied(o.call('ListRoutes', {}, { token }), 'revoked', 'PERMISSION_DENIED').catch((e) => assert.fail(`${kind}: ${e.message}`))
    await open.call('ListRoutes', {}, { token: good })
    await root.lift(r.revocation_id)
    await open.call('ListRoutes', {}, { token })
  }
  const edda = operator('edda'), [first, other] = [person('edda'), { ...b.acme.leaf('edda-twin', { sans: [`URI:${person('edda').spiffe}`] }), trust: b.serverCa.cert }]
  await edda.call('ListRoutes')
  const r = await root.revoke({ certificate_sha256: first.thumbprint })
  for (const o of [edda, operator('edda')]) await shutOut(() => o.call('ListRoutes'))
  const second = new Operator(b.adminAddr, other)
  made.push(second)
  await second.call('ListRoutes')
  await root.lift(r.revocation_id)
  await until('the first to be good again', () => operator('edda').call('ListRoutes').then(() => true, () => false))
})

test('attack 15: an operator\'s call that waits for keys is judged when they come: his role was taken away, and so nothing is done / kept, it is', async () => {
  const p = await new Provider({ name: 'waiting', server: b.server, file: b.path('waiting.jwks') }).start()
  try {
    const ca_der = [new X509Certificate(fs.readFileSync(b.serverCa.cert)).raw]
    const go = p.hold()
    await ask(root, 'Apply', { resources: [{ issuer: { name: 'waiting', url: p.url, tenants: ['acme'], ca_der, allow_private: true } }], reason: 'x' })
    for (const name of ['passing', 'staying']) await root.grant(name, 'sre', { issuer: 'waiting', claim: 'client_id', value: name })
    const calls = await Promise.all(['passing', 'staying'].map(async (name) => operator(name).call('SetRouteState', { route: { name: 'shared', tenant: 'acme' }, state: 'ROUTE_STATE_RUNNING', reason: name },
      { token: await p.issuer.mint({ ...person(name), name }), timeout: 20000 }).then(() => 'done', (e) => e.details)).map((c) => [c]))
    await until('the fetch', () => p.begun.length)
    await root.ungrant('passing')
    go()
    const [gone, kept] = await Promise.all(calls.map(([c]) => c))
    assert.match(gone, /^role_denied: /)
    assert.equal(kept, 'done')
    await b.audited({ event: 'route.state', spiffe_id: person('staying').spiffe })
    assert.equal(b.audit().some((r) => r.event === 'route.state' && r.spiffe_id === person('passing').spiffe), false)
  } finally { await p.stop() }
})

// ---- 16, 18 ----

test('attack 16: a name with characters of a pattern picks nothing, on no port: routes, senders, traces, tenants, agents, kinds / the name itself picks its own', async () => {
  const id = (await planner.submit(read('shared'))).handoff_id
  for (const odd of ['*', '?hared', 'share[d]', 's%', '.*', 'shared|other', '{acme/shared}', 'acme/*', '[^x]*', '\\s']) {
    for (const [method, request] of [['Quarantine', { route: odd, tenant: 'acme' }], ['Quarantine', { route: 'shared', tenant: odd }], ['SetRouteState', { route: { name: odd, tenant: 'acme' }, state: 'ROUTE_STATE_PAUSED' }],
      ['Revoke', { agent: { kind: 'agent', tenant: 'acme', name: odd } }], ['Revoke', { tenant: odd }], ['Revoke', { route: { kind: 'route', tenant: 'acme', name: odd } }], ['Revoke', { tool: odd }]]) {
      assert.match(await said(root, method, { reason: 'x', ...request }), /^(3|5) (malformed_envelope|not_found): /, `${method} ${odd}`)
    }
    for (const pick of [{ sender: odd }, { trace_id: odd }]) assert.equal(Number((await root.call('Quarantine', { ...pick, tenant: 'acme', reason: 'x' })).count), 0, odd)
    for (const [method, request, of] of [['ListRoutes', { route: odd }, 'routes'], ['ListRoutes', { tenant: odd }, 'routes'], ['ListHandoffs', { tenant: 'acme', sender: odd }, 'handoffs'], ['ListHandoffs', { tenant: 'acme', filter: { trace_id: odd } }, 'handoffs'],
      ['List', { kind: 'agent', tenant: odd }, 'resources'], ['List', { kind: odd }, 'resources']]) {
      const m = await ask(root, method, request).catch((e) => { assert.match(e.details, /^(malformed_envelope|not_found): /); return { [of]: [] } })
      assert.deepEqual(m[of], [], `${method} ${odd}`)
    }
    const r = await refused(planner.submit(read(odd)))
    assert.ok(['malformed_envelope', 'route_denied'].includes(r.reason), r.reason)
    assert.deepEqual((await planner.list({ route: odd })).handoffs, [])
    const s = await worker.subscribe({ routes: [odd] }, { wait: false })
    assert.notEqual((await s.end()).code, 'OK')
  }
  assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_QUEUED')
  assert.equal(Number((await root.call('Quarantine', { route: 'shared', sender: 'planner', tenant: 'acme', reason: 'x' })).count), 1)
  await planner.cancel(id)
})

test('attack 18: a route\'s own profile that asks for nothing, and a tenant\'s own limits, drop no check that is for all / what passes them is taken', async () => {
  const easy = (more = {}) => read('lax', more)
  const ids = []
  await ask(root, 'Apply', { resources: [{ tenant: { name: 'acme', max_waiting: 1000000, max_bytes: 2 ** 40 } }], reason: 'its own' })
  const send = async (more, opts) => { const r = await planner.submit(easy(more), opts); ids.push(r.handoff_id); return r }
  await send({}, { token: await b.issuer.mint(planner, { scope: '' }) }) // it does ask for no scope
  const nonce = 'the-same-nonce-again', first = planner.envelope(easy({ nonce }))
  await send(first)
  await denied(planner.submit({ ...first, payload: Buffer.from('{"other":1}') }), 'replayed_nonce')
  await denied(planner.submit(easy({ issued_at_ms: Date.now() - 600000 })), 'stale_envelope')
  await denied(planner.submit(easy({ payload: Buffer.alloc(2 << 20, 'x') })), 'payload_too_large')
  await denied(planner.submit(easy({ tool: 'any.thing', destination: 'http://169.254.169.254/latest' })), 'egress_denied')
  await denied(planner.submit(easy(), { token: await b.issuer.mint(planner, { tenant: 'globex' }) }), 'tenant_boundary')
  await denied(planner.submit(easy(), { token: await b.issuer.mint({ ...planner, thumbprint: worker.thumbprint }) }), 'token_binding')
  await denied(planner.submit(easy(), { token: await b.issuer.mint(planner, { aud: 'another' }) }), 'wrong_audience')
  await denied(planner.submit(easy(), { token: '' }), 'missing_token')
  await denied(worker.submit(easy()), 'route_denied')
  const r = await root.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'planner' } })
  await shutOut(() => planner.submit(easy()))
  await root.lift(r.revocation_id, { release_handoffs: true })
  await until('the planner to be taken again', () => send({}).catch(() => null))
  while (ids.length < 4) await send({})
  assert.match((await denied(planner.submit(easy()), 'quota_exceeded')).message, /sender|planner/) // four wait of this sender: a tenant's million does not lift that
  for (const id of ids) await planner.cancel(id)
})

// ---- 19, 20: headers ----

test('attack 19: on the admin socket and the metrics port headers that claim to come from inside decide nothing, and come back nowhere', async () => {
  const inside = { 'x-forwarded-client-cert': `URI=${person('root').spiffe}`, 'x-forwarded-for': '10.9.8.7', 'x-remote-user': 'forged-user', 'baton-operator': 'forged-user', 'baton-roles': 'approver:acme/shared', 'x-spiffe-id': person('root').spiffe, 'grpc-status': '0' }
  await local.call('SetRouteState', { route: { name: 'shared', tenant: 'acme' }, state: 'ROUTE_STATE_RUNNING', reason: 'headers on the socket' }, { metadata: inside })
  const line = await b.audited({ event: 'route.state', rpc: 'SetRouteState', roles: 'sre', spiffe_id: undefined })
  assert.match(line.remote, new RegExp(`^uid=${process.getuid()} pid=${process.pid}$`))
  await denied(local.grant('forged', 'auditor', person('ana').spiffe), 'role_denied') // the socket gives no role away, whoever he says to be
  await denied(local.call('Apply', { resources: [{ role: { name: 'forged', roles: ['auditor'], spiffe_id: person('ana').spiffe } }], reason: 'x' }, { metadata: { ...inside, authorization: 'Bearer x' } }), 'role_denied')
  const page = await fetch(`http://127.0.0.1:${b.metricsPort}/metrics`, { headers: { ...inside, authorization: 'Bearer forged-token', forwarded: 'for=10.9.8.7' } })
  assert.equal(page.status, 200)
  for (const text of [await page.text(), ...page.headers.values(), b.log(), ...b.auditLines()]) assert.doesNotMatch(text, /forged-user|forged-token|10\.9\.8\.7/)
})

test('attack 19: HTTP/2\'s own pseudo headers lend no other listener\'s calls: an agent\'s call on the operators\' ports, and theirs on his, are not there, whatever :authority and :scheme say', async () => {
  const cases = [[{ path: b.adminSocket }, '/baton.v1.HandoffService/WhoAmI'], [identity(b, person('root'), undefined, b.adminPort), '/baton.v1.HandoffService/WhoAmI'],
    [identity(b, b.leaves.planner), '/baton.v1.OperateService/ListRoutes'], [identity(b, b.leaves.planner), '/baton.v1.ResourceService/InitAdmin'], [identity(b, person('root'), undefined, b.adminPort), '/baton.v1.ResourceService/InitAdmin']]
  for (const [where, method] of cases) {
    const c = new Raw(where)
    await c.greet()
    for (const [i, more] of [{}, { ':authority': 'admin.sock', ':scheme': 'unix' }, { ':authority': `127.0.0.1:${b.adminPort}` }].entries()) {
      c.write(frame(T.HEADERS, F.END_HEADERS, 1 + 2 * i, headers(more, method)), frame(T.DATA, F.END_STREAM, 1 + 2 * i, message(Buffer.alloc(0))))
      assert.equal((await c.answer(1 + 2 * i))['grpc-status'], '12', method)
    }
    c.close()
  }
  await local.call('ListRoutes')
  await planner.whoami()
})

// ---- 22, 23: keys and copies ----

test('attack 22: no secret is built in or derived: two fresh installations share no key, the sources hold none, and what Baton signs is no token anywhere', async () => {
  const x = await new Broker({ admin: true, config }).start()
  try {
    const keys = (at) => Object.fromEntries(files(at.path('state')).filter((f) => /\.keys?$/.test(f)).map((f) => [path.basename(f), fs.readFileSync(f, 'utf8')]))
    const [here, there] = [keys(b), keys(x)]
    assert.deepEqual(Object.keys(here).sort(), ['assertion.key', 'seal.keys'])
    for (const name of Object.keys(here)) {
      const secrets = (text) => text.split(/\s+/).filter((w) => w.length >= 32)
      assert.ok(secrets(here[name]).length)
      for (const s of secrets(here[name])) assert.ok(!there[name].includes(s), name)
    }
    for (const f of [...files(path.join(ROOT, 'deploy')), ...files(path.join(ROOT, 'docs')), ...files(path.join(ROOT, 'broker')), path.join(ROOT, 'README.md')].filter((f) => !f.includes('node_modules'))) {
      const text = fs.readFileSync(f, 'latin1')
      assert.doesNotMatch(text, /-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}|^[a-z0-9._-]{1,63} [A-Za-z0-9_-]{43}$/m, f)
    }
    // the other's files, and its assertions: of no use here
    const [p, w] = [await x.agent('planner'), await x.agent('worker')]
    const s = await w.subscribe()
    await p.submit()
    const d = await s.delivery()
    const own = await worker.subscribe()
    await planner.submit()
    const e = await own.delivery()
    for (const token of [d.assertion, e.assertion]) {
      assert.equal(jose.decodeProtectedHeader(token).typ, 'baton-delivery+jwt')
      await denied(worker.submit(read(ROUTE), { token }), 'invalid_token')
      await denied(new Operator(b.adminAddr, { ...worker, trust: b.serverCa.cert }).call('ListRoutes', {}, { token }), 'invalid_token')
      await denied(root.call('ListRoutes', {}, { token }), 'invalid_token')
    }
    await s.complete(d)
    await own.complete(e)
    for (const one of [s, own]) await one.leave()
  } finally { await x.remove() }
})

test('attack 23: sealed resources that were swapped between their names in Redis are nobody\'s: roles, tenants and issuers by them are none, revocations stay what they were / as they were sealed they hold', async () => {
  const apply = (spec) => ask(root, 'Apply', { resources: [spec], reason: 'x' })
  const der = [new X509Certificate(fs.readFileSync(b.serverCa.cert)).raw]
  await apply({ role: { name: 'swap-a', roles: ['auditor'], spiffe_id: person('eve').spiffe } })
  await apply({ role: { name: 'swap-b', roles: ['sre'], spiffe_id: person('fay').spiffe } })
  for (const [name, max_waiting] of [['swap-a', 7], ['swap-b', 8]]) await apply({ tenant: { name, max_waiting } })
  for (const name of ['swap-a', 'swap-b']) await apply({ issuer: { name, url: `https://${name}.example`, tenants: ['acme'], ca_der: der } })
  const [v, w] = [await root.revoke({ jti: 'one-jti' }), await root.revoke({ jti: 'two-jti' })]
  const [eve, fay] = [operator('eve'), operator('fay')]
  for (const o of [eve, fay]) await o.call('ListRoutes')
  const alarms = () => b.log().split('\n').filter((l) => l.includes('"registry.unsealable"')).length
  const before = alarms()
  await b.redis(async (r) => {
    for (const [k, l] of [...['role', 'tenant', 'issuer'].map((kind) => [`${kind}/swap-a`, `${kind}/swap-b`]), [v, w].map((z) => `revocation/${z.revocation_id}`)]) {
      const [x, y] = [await r.call('HGET', '{/}:s', k), await r.call('HGET', '{/}:s', l)]
      for (const [name, value] of [[k, y], [l, x]]) {
        const bytes = Buffer.from(value)
        bytes.writeUIntBE(bytes.readUIntBE(0, 6) + 1, 0, 6) // as a later version: what is no later is not looked at
        await r.call('HSET', '{/}:s', name, bytes)
        await r.call('ZADD', '{/}:z', await r.call('HINCRBY', '{/}:m', 'g', '1'), name)
      }
    }
  })
  await until('all eight to be found out', () => alarms() >= before + 8)
  await until('nobody to have a role by them', async () => (await said(eve, 'ListRoutes')).startsWith('7 ') && (await said(fay, 'ListRoutes')).startsWith('7 '))
  for (const name of ['swap-a', 'swap-b']) {
    for (const kind of ['role', 'issuer']) assert.match(await said(root, 'Get', { kind, name }), /^5 /, `${kind}/${name}`)
    assert.match(await said(root, 'Get', { kind: 'tenant', name }), /"version":"".*"max_waiting":0/) // it is there, and nobody knows its limits: what it sends is refused
  }
  const there = (await root.call('ListRevocations')).revocations.filter((m) => m.jti)
  assert.deepEqual(there.map((m) => [m.id, m.jti]).sort(), [[v.revocation_id, 'one-jti'], [w.revocation_id, 'two-jti']].sort())
  await denied(planner.submit(read('shared'), { token: await b.issuer.mint(planner, { jti: 'two-jti' }) }), 'revoked')
  await planner.cancel((await planner.submit(read('shared'))).handoff_id)
})

test('attack 23: Delete and Apply of a name with another\'s version change nothing; a file whose entry is another\'s is refused before anything is done', async () => {
  const agent = (name, more = {}) => ({ tenant: 'acme', name, spiffe_id: `spiffe://acme.example/${name}`, owner: 'team', ...more })
  for (const name of ['one', 'two']) await ask(root, 'Apply', { resources: [{ agent: agent(name) }], reason: 'x' })
  await ask(root, 'Apply', { resources: [{ agent: agent('two', { owner: 'others' }), version: '1' }], reason: 'x' })
  await denied(ask(root, 'Delete', { ref: { kind: 'agent', tenant: 'acme', name: 'one' }, version: '2', reason: 'x' }), 'wrong_state')
  const bad = [{ agent: agent('three') }, { agent: agent('four', { spiffe_id: 'spiffe://acme.example/one' }) }] // one of whom is another's
  assert.match((await refused(ask(root, 'Apply', { resources: bad, reason: 'x' }))).message, /spiffe_id: it is that of/)
  await denied(ask(root, 'Get', { kind: 'agent', tenant: 'acme', name: 'three' }), 'not_found')
  await denied(ask(ours, 'Apply', { resources: [{ agent: agent('five') }, { agent: agent('one', { tenant: 'globex' }) }], reason: 'x' }), 'role_denied')
  await denied(ask(root, 'Get', { kind: 'agent', tenant: 'acme', name: 'five' }), 'not_found')
  const file = b.path('twice.yaml')
  const doc = (owner) => `kind: agent\ntenant: acme\nname: one\nspiffe_id: spiffe://acme.example/one\nowner: ${owner}\n`
  fs.writeFileSync(file, `${doc('a')}---\n${doc('b')}`)
  const baton = (...args) => promisify(execFile)(BATON, args, { env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}` } }).then(() => 0, (e) => e.code)
  assert.notEqual(await baton('apply', '-f', file, '--reason', 'x'), 0)
  fs.writeFileSync(file, doc('c'))
  assert.equal(await baton('apply', '-f', file, '--reason', 'x'), 0)
  assert.equal((await ask(root, 'Get', { kind: 'agent', tenant: 'acme', name: 'one' })).agent.owner, 'c')
})

test('attack 23: the file of revocations of another deployment, or one that was changed, keeps batond from starting, by its name / its own, put back, holds, also by a key that was the first before', async () => {
  const x = await new Broker({ admin: true, config }).start(), y = await new Broker({ admin: true, config }).start()
  try {
    for (const one of [x, y]) {
      const op = new Operator(one.adminSocket)
      await op.revoke({ tenant: 'acme' })
      op.close()
      await one.stop()
    }
    const file = x.path('state', 'revocations'), own = fs.readFileSync(file)
    const lines = own.toString().split('\n'), digest = lines.slice(0, -2).join('\n') + '\n'
    const forged = Buffer.from(`${digest.replace(/ 1 (\d+) /, ' 2 $1 ')}${lines.at(-2)}\n`)
    for (const bad of [fs.readFileSync(y.path('state', 'revocations')), forged]) {
      fs.writeFileSync(file, bad)
      x.launch()
      await x.exited
      assert.notEqual(x.exit.code, 0)
      assert.match(x.log(), /revocations is damaged, or of another deployment/)
    }
    fs.writeFileSync(file, own)
    const keys = x.path('state', 'seal.keys')
    fs.writeFileSync(keys, `fresh ${Buffer.alloc(32, 7).toString('base64url')}\n${fs.readFileSync(keys)}`)
    await x.start()
    const p = await x.agent('planner')
    await shutOut(() => p.submit(read(ROUTE)))
    await until('the file to be by the new key', () => !fs.readFileSync(file).equals(own))
    assert.deepEqual(fs.readFileSync(file).toString().split('\n').slice(0, -2), lines.slice(0, -2))
  } finally { await x.remove(); await y.remove() }
}, 90000)

// ---- 29, 30 ----

test('attack 29: operators who come, ask, are cut and lose their roles, all at once, on both doors: nobody is served by a role that is gone, and nothing is left of them', async () => {
  const open = () => fs.readdirSync(`/proc/${b.process.pid}/fd`).length
  const quiet = open(), end = Date.now() + 4000
  const odd = encode('baton.v1.ListRoutesRequest', { page_size: 1 })
  const storm = async (i) => {
    for (let n = 0; Date.now() < end; n++) {
      const c = new Raw(i % 2 ? { path: b.adminSocket } : identity(b, person(`storm${i % 4}`), undefined, b.adminPort))
      if (await c.open) {
        await c.greet().catch(() => {})
        for (let k = 0; k < 5; k++) c.write(frame(T.HEADERS, F.END_HEADERS, 1 + 2 * k, headers({}, '/baton.v1.OperateService/ListRoutes')), ...(n % 3 ? [frame(T.DATA, F.END_STREAM, 1 + 2 * k, message(odd))] : []))
        if (n % 2) await sleep(3)
      }
      c.close()
    }
  }
  const change = async () => {
    for (let n = 0; Date.now() < end; n++) {
      await root.grant(`storm${n}`, 'auditor', person(`storm${n % 4}`).spiffe)
      await root.ungrant(`storm${n}`)
      const r = await root.revoke({ certificate_sha256: person(`storm${n % 4}`).thumbprint })
      await root.lift(r.revocation_id)
    }
  }
  for (let i = 0; i < 4; i++) person(`storm${i}`)
  await Promise.all([...Array.from({ length: 8 }, (_, i) => storm(i)), change()])
  for (let i = 0; i < 4; i++) await until('the last revocation to be lifted', () => said(operator(`storm${i}`), 'ListRoutes').then((s) => s.startsWith('7 role_denied')))
  await root.call('ListRoutes')
  await local.call('ListRoutes')
  await planner.whoami()
  for (const o of made.filter((m) => m !== root && m !== local && m !== ours)) o.close()
  await until('descriptors to come back', () => open() <= quiet + 12)
}, 60000)

test('attack 30: no token of an operator, good, bad or on the socket, reaches log, audit, metrics, the store or the state folder; the socket and the files are the user\'s alone', async () => {
  await root.grant('secretive', 'auditor', { issuer: 'static', claim: 'groups', value: 'late' })
  const gil = person('gil'), tokens = [await b.issuer.mint(gil, { groups: ['late'], client_id: 'gil' }), await b.issuer.mint(gil, { aud: 'elsewhere' }), 'eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.']
  const o = operator('gil')
  await o.call('ListRoutes', {}, { token: tokens[0] })
  for (const token of tokens.slice(1)) await refused(o.call('ListRoutes', {}, { token }))
  for (const token of tokens) await local.call('ListRoutes', {}, { token })
  await b.audited({ event: 'rpc', rpc: 'ListRoutes', subject: 'user-ana', spiffe_id: gil.spiffe })
  const secrets = tokens.flatMap((t) => [t, t.split('.')[2]]).filter((s) => s.length > 20)
  const keys = ['seal.keys'].flatMap((f) => fs.readFileSync(b.path('state', f), 'utf8').trim().split(/\s+/)).filter((w) => w.length === 43)
  const texts = [['metrics', (await b.http('/metrics')).body], ['log', b.log()], ['audit', b.auditLines().join('\n')], ...files(b.path('state')).filter((f) => !/\.keys?$/.test(f)).map((f) => [f, content(f).toString('latin1')])]
  for (const [where, text] of texts) for (const s of [...secrets, ...keys]) assert.ok(!text.includes(s), where)
  assert.equal(fs.statSync(b.adminSocket).mode & 0o777, 0o600)
  for (const f of files(b.path('state'))) assert.equal(modeOf(f) & 0o077, 0, f)
})
