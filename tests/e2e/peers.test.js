// Who gets a connection at all, and as whom? Certificates, good and bad, through a real gRPC client (and node's TLS for what gRPC hides).
import fs from 'node:fs'
import tls from 'node:tls'
import http2 from 'node:http2'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { Broker } from './lib/broker.js'
import { Agent, denied, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { Ca } from './lib/pki.js'

const LONG = 'spiffe://acme.example/'.padEnd(2048, 'x')
const b = new Broker({
  admin: true,
  config: (t) => t.replace('tls:\n', 'admin:\n  audience: support-agent-runtime\ntls:\n').replace(/(domain: acme\.example, bundle: [^}]*)}/, (_, head) => `${head}, crl: ${JSON.stringify(crl())}}`) +
    `  - {name: longid, tenant: acme, id: "${LONG}"}\n`
})
const crl = () => b.path('pki', 'acme.crl')
let planner, foreign
let twins = 0

const as = async (leaf) => {
  const full = { tenant: 'acme', ...leaf, name: leaf.agent || 'planner', trust: b.serverCa.cert }
  const options = { 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 } // one handshake
  const a = new Agent(full, b.addr, { token: full.thumbprint && await b.issuer.mint(full), options })
  b.made.push(a)
  return a
}
// The same on the operators' port: the planner has a role there.
const operate = (leaf) => {
  const o = new Operator(b.adminAddr, { ...leaf, trust: b.serverCa.cert }, { options: { 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 } })
  b.made.push(o)
  return o
}
const ANA = { sans: ['URI:spiffe://acme.example/planner'] }

before(async () => {
  await b.prepare()
  b.acme.crl(crl(), [])
  await b.start()
  planner = await b.agent('planner')
  const root = new Operator(b.adminSocket)
  await root.init(planner.spiffe)
  root.close()
  foreign = new Ca(b.path('pki'), 'foreign', { uri: 'spiffe://acme.example' })
})
after(() => b.remove())

// Results of handshakes so far, without the good ones.
async function handshakes () {
  const rows = (await b.http('/metrics')).body.matchAll(/^baton_handshakes_total\{.*result="([^"]+)".*\} (\d+)$/gm)
  const all = {} // on both ports
  for (const [, result, n] of rows) if (result !== 'ok') all[result] = (all[result] || 0) + Number(n)
  return all
}

// How one is asked for something on each of the two ports.
const doors = [
  { open: as, ask: (a) => a.submit({}, { timeout: 20000 }) },
  { open: async (leaf) => operate(leaf), ask: (o) => o.call('ListRoutes', {}, { timeout: 20000 }) }
]

// On either port the handshake is refused (gRPC clients see UNAVAILABLE) for this reason and no other, an honest certificate beside it is served.
async function notServed (leaf, why) {
  const honest = b.acme.leaf(`twin-${twins++}`, ANA)
  for (const { open, ask } of doors) {
    const stranger = await open(leaf)
    const twin = await open(honest)
    const before = await handshakes()
    const r = await refused(ask(stranger))
    assert.equal(r.code, 'UNAVAILABLE', r.message)
    stranger.close()
    await ask(twin)
    twin.close()
    const now = await handshakes()
    for (const k of Object.keys(now)) if ((now[k] -= before[k] || 0) === 0) delete now[k]
    assert.deepEqual(now, { [why]: 1 })
  }
}

test('I-5 B4 no client certificate: no connection / a registered agent\'s is served', () => notServed({ cert: null, key: null }, 'no_certificate'))

test('I-5 a certificate of a foreign CA is refused / the same name from the right CA is served', () => notServed(foreign.leaf('f1', ANA), 'certificate:untrusted_chain'))

test('I-5 an expired certificate is refused / a fresh one is served', () => notServed(b.acme.leaf('expired', { ...ANA, days: -1 }), 'certificate:certificate_expired'))

test('I-5 two URI SANs are refused / one is served', () =>
  notServed(b.acme.leaf('two', { sans: ['URI:spiffe://acme.example/planner', 'URI:spiffe://acme.example/worker'] }), 'certificate:two_uri_sans'))

// DER by hand (X.690), for names that the openssl command does not write. A tag of RFC 5280 §4.2.1.6's GeneralName, and what is in it.
const der = (tag, ...parts) => {
  const body = Buffer.concat(parts.map((p) => Buffer.from(p)))
  const long = body.length > 127 ? [0x80 | (body.length > 255 ? 2 : 1), ...(body.length > 255 ? [body.length >> 8] : [])] : []
  return Buffer.concat([Buffer.from([tag, ...long, body.length & 255]), body])
}
const san = (...names) => ({ sans: [`DER:${der(0x30, ...names).toString('hex')}`] })
const uri = (text) => der(0x86, text)

test('I-5 attack 1: a URI SAN with a NUL in it is refused / without it is served', async () => {
  const bad = ['spiffe://acme.example/planner\0', 'spiffe://acme.example/planner\0.evil.example', 'spiffe://acme.example\0.evil.example/planner', '\0spiffe://acme.example/planner']
  for (const [i, id] of bad.entries()) await notServed(b.acme.leaf(`nul${i}`, san(uri(id))), 'certificate:bad_spiffe_id')
  const good = b.acme.leaf('no-nul', san(uri('spiffe://acme.example/planner')))
  for (const { open, ask } of doors) await ask(await open(good))
})

test('I-5 attack 2: no URI SAN, or one of another type that reads the same, is refused / beside the URI it does not count', async () => {
  const id = 'spiffe://acme.example/planner'
  const upn = Buffer.from('060a2b060104018237140203', 'hex') // 1.3.6.1.4.1.311.20.2.3
  const others = {
    dns: der(0x82, id), email: der(0x81, id), ip: der(0x87, id), directory: der(0xa4, der(0x30, der(0x31, der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, id))))),
    other: der(0xa0, upn, der(0xa0, der(0x0c, id)))
  }
  await notServed(b.acme.leaf('no-san', {}), 'certificate:no_uri_san')
  await notServed(b.acme.leaf('dns-name', { sans: ['DNS:planner.acme.example', 'email:planner@acme.example'] }), 'certificate:no_uri_san')
  for (const [name, other] of Object.entries(others)) await notServed(b.acme.leaf(`type-${name}`, san(other)), 'certificate:no_uri_san')
  const claims = Object.values(others).map((o) => Buffer.from(o.toString('latin1').replaceAll('planner', 'auditor'), 'latin1'))
  const a = await as(b.acme.leaf('all-types', san(...claims, uri(id), ...claims)))
  assert.equal((await a.whoami()).agent.name, 'planner')
  await operate(b.acme.leaf('all-types-op', san(...claims, uri(id), ...claims))).call('ListRoutes')
  const nobody = operate(b.acme.leaf('other-types-op', san(...Object.values(others), uri('spiffe://acme.example/auditor'), ...Object.values(others)))) // who has no role, and names the planner
  await denied(nobody.call('ListRoutes'), 'role_denied')
})

test('I-5 attack 16: an id with characters of a pattern is no SPIFFE id, on either port / the id that it would fit is served', async () => {
  for (const [i, id] of ['spiffe://acme.example/*', 'spiffe://acme.example/plan?er', 'spiffe://acme.example/[a-z]+', 'spiffe://*/planner', 'spiffe://acme.example/planner|auditor', 'spiffe://acme.example/%2A', 'spiffe://acme.example/{planner,auditor}'].entries()) {
    await notServed(b.acme.leaf(`pattern${i}`, san(uri(id))), 'certificate:bad_spiffe_id')
  }
})

test('I-5 attack 3: the subject names nobody, reordered, multi-valued or claiming another agent / the URI SAN alone does', async () => {
  const subjects = ['/CN=auditor', '/CN=auditor+OU=agents/O=acme', '/O=acme/OU=agents+CN=auditor', '/CN=planner+CN=auditor', '/CN=auditor/CN=planner',
    '/CN=spiffe:\\/\\/acme.example\\/auditor', '/UID=auditor/DC=acme/DC=example']
  for (const [i, subject] of subjects.entries()) {
    if (i < 3) await notServed(b.acme.leaf(`rdn-only${i}`, { subject }), 'certificate:no_uri_san')
    const a = await as(b.acme.leaf(`rdn${i}`, { ...ANA, subject }))
    assert.equal((await a.whoami()).agent.name, 'planner', subject)
    const o = operate(b.acme.leaf(`rdn-op${i}`, { sans: ['URI:spiffe://acme.example/auditor'], subject: subject.replaceAll('auditor', 'planner') }))
    await denied(o.call('ListRoutes'), 'role_denied')
    o.close()
    await a.submit()
    await denied(a.submit({}, { token: await b.issuer.mint({ ...a, name: 'auditor' }) }), 'identity_mismatch', 'UNAUTHENTICATED')
    a.close()
  }
})

test('I-5 a SPIFFE id that is not well formed is refused', async () => {
  const bad = ['spiffe://acme.example/planner/', 'spiffe://acme.example//planner', 'spiffe://acme.example/../planner', 'https://acme.example/planner',
    'spiffe://acme.example:1/planner', 'spiffe://u@acme.example/planner', 'spiffe://acme.example/planner?x=1', 'spiffe://acme.example/pl%61nner',
    'spiffe://ACME.example/planner', 'SPIFFE://acme.example/planner', 'spiffe://acme.example/planner#x', 'spiffe://acme.example/./planner', 'spiffe://acme.example']
  for (const [i, id] of bad.entries()) await notServed(b.acme.leaf(`bad${i}`, san(uri(id))), 'certificate:bad_spiffe_id')
})

test('T5 one trust domain\'s CA cannot vouch for another\'s agents / its own it can', async () => {
  await notServed(b.globex.leaf('cross', ANA), 'certificate:untrusted_chain')
  await (await b.agent('gplanner')).submit()
})

test('T5 a CA that another domain\'s root signed too proves its own domain\'s agents under its own root only', async () => {
  const issuing = new Ca(b.path('pki'), 'issuing', { by: b.globex })
  const cross = new Ca(b.path('pki'), 'cross-signed', { by: b.acme, twin: issuing })
  const gana = { sans: ['URI:spiffe://globex.example/gplanner'] }
  await notServed(issuing.leaf('cross1', { ...gana, above: [cross] }), 'certificate:untrusted_chain')
  await notServed(issuing.leaf('cross2', gana), 'certificate:untrusted_chain')
  await notServed(issuing.leaf('cross3', { ...ANA, above: [issuing] }), 'certificate:untrusted_chain')
  const g = await as({ ...issuing.leaf('uncrossed', { ...gana, above: [issuing] }), agent: 'gplanner', tenant: 'globex' })
  assert.equal((await g.whoami()).agent.tenant, 'globex')
})

test('I-5 a leaf that is a CA, or whose key is for something else, is refused', async () => {
  await notServed(b.acme.leaf('isca', { ...ANA, ca: true, usage: 'critical,digitalSignature,keyCertSign' }), 'certificate:leaf_is_ca')
  await notServed(b.acme.leaf('server-only', { ...ANA, eku: 'serverAuth' }), 'certificate:extended_key_usage')
  await notServed(b.acme.leaf('any-use', { ...ANA, eku: 'anyExtendedKeyUsage' }), 'certificate:extended_key_usage')
  const usages = ['critical,digitalSignature,keyCertSign', 'critical,digitalSignature,cRLSign', 'critical,keyAgreement', 'digitalSignature', undefined]
  for (const [i, usage] of usages.entries()) await notServed(b.acme.leaf(`usage${i}`, { ...ANA, usage: usage || '' }), 'certificate:key_usage')
  await (await as(b.acme.leaf('no-eku', { ...ANA, eku: '' }))).submit()
})

test('I-5 a chain too long, or too big, is refused / at the limit it is served', async () => {
  const cas = [b.globex]
  for (let i = 1; i <= 4; i++) cas.push(new Ca(b.path('pki'), `level${i}`, { by: cas[i - 1] }))
  const chain = (n) => ({ sans: ['URI:spiffe://globex.example/gplanner'], above: cas.slice(1, n + 1).reverse() })
  const served = async (leaf) => (await as({ ...leaf, agent: 'gplanner', tenant: 'globex' })).whoami()
  await served(cas[3].leaf('chain5', chain(3))) // leaf, three CAs, root
  await notServed(cas[4].leaf('chain6', chain(4)), 'certificate:chain_too_long')
  const comment = (n) => ({ ...ANA, more: [`nsComment=${'x'.repeat(n)}`] })
  await (await as(b.acme.leaf('big', comment(30000)))).submit()
  await notServed(b.acme.leaf('too-big', comment(33000)), 'protocol')
})

// What readiness says of trust, as soon as it has looked.
const remedy = (text) => until(`readiness to say ${text}`, async () => text.test(JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'trust').remedy))

async function reload (change = (t) => t) {
  b.writeConfig((t) => change(b.change(t)))
  await b.reloaded()
}

test('I-5 a trust domain with an empty bundle trusts nobody, and readiness says so / with its CA in it, it does; its neighbours are served', async () => {
  const initech = new Ca(b.path('pki'), 'initech', { uri: 'spiffe://initech.example' })
  const [bundle, id] = [b.path('pki', 'initech-bundle.pem'), { sans: ['URI:spiffe://initech.example/nobody'] }]
  const trusted = (t) => t.replace(/^issuers:/m, `    - {domain: initech.example, bundle: ${JSON.stringify(bundle)}}\n$&`) +
    '  - {name: nobody, tenant: acme, id: "spiffe://initech.example/nobody"}\n'
  await notServed(initech.leaf('nobody1', id), 'certificate:unknown_trust_domain')
  fs.writeFileSync(bundle, '')
  await reload(trusted)
  await notServed(initech.leaf('nobody2', id), 'certificate:untrusted_chain')
  await notServed(b.acme.leaf('nobody3', id), 'certificate:untrusted_chain')
  await remedy(/the bundle of initech.example is empty/)
  fs.copyFileSync(initech.cert, bundle)
  await reload(trusted)
  assert.equal((await (await as({ ...initech.leaf('nobody4', id), agent: 'nobody' })).whoami()).agent.name, 'nobody')
  await reload()
})

test('I-5 an id of 2049 bytes is refused / of 2048 it is served', async () => {
  await notServed(b.acme.leaf('longer', { sans: [`URI:${LONG}x`] }), 'certificate:bad_spiffe_id')
  const { agent } = await (await as({ ...b.acme.leaf('long', { sans: [`URI:${LONG}`] }), agent: 'longid' })).whoami()
  assert.deepEqual([agent.name, agent.spiffe_id], ['longid', LONG])
})

test('O-1 an agent that is not registered is unknown_peer / a registered one is served', async () => {
  const ghost = await as({ ...b.acme.leaf('ghost', { sans: ['URI:spiffe://acme.example/ghost'] }), agent: 'ghost' })
  const r = await denied(ghost.submit(), 'unknown_peer', 'UNAUTHENTICATED')
  await b.audited({ event: 'decision', reason: 'unknown_peer', trace_id: r.trace_id, spiffe_id: 'spiffe://acme.example/ghost' })
  const { remote, certificate_sha256 } = await b.audited({ event: 'peer.connected', spiffe_id: 'spiffe://acme.example/ghost' })
  assert.match(certificate_sha256, /^[\w-]{43}$/)
  ghost.close()
  await b.audited({ event: 'peer.closed', spiffe_id: 'spiffe://acme.example/ghost', remote, certificate_sha256 })
  await planner.submit()
})

test('I-5 I-7 attack 4: agent A\'s certificate with agent B\'s id in the token is identity_mismatch', async () => {
  await denied(planner.submit({}, { token: await b.issuer.mint(planner, { client_id: 'auditor' }) }), 'identity_mismatch', 'UNAUTHENTICATED')
  await planner.submit()
  const o = operate(b.leaves.auditor) // nor does the planner's token, or his name in one, lend the planner's role to another certificate
  await denied(o.call('ListRoutes', {}, { token: planner.token }), 'token_binding', 'UNAUTHENTICATED')
  await denied(o.call('ListRoutes', {}, { token: await b.issuer.mint(b.leaves.auditor, { client_id: 'planner', sub: planner.spiffe }) }), 'role_denied')
  await operate(b.leaves.planner).call('ListRoutes', {}, { token: planner.token })
})

const handshake = (options) => new Promise((done) => {
  const s = tls.connect({ host: '127.0.0.1', port: b.port, servername: 'localhost', ca: fs.readFileSync(b.serverCa.cert), cert: fs.readFileSync(planner.cert), key: fs.readFileSync(planner.key), ...options })
  let data = ''
  s.on('secureConnect', () => { if (options.say) s.write(options.say) })
  s.on('data', (d) => { data += d.toString('latin1') })
  s.on('error', (e) => done({ error: e.code || e.message, data }))
  s.on('close', () => done({ closed: true, data }))
  s.on('secureConnect', () => options.peek && setTimeout(() => { done({ open: true, protocol: s.getProtocol(), alpn: s.alpnProtocol, ticket: !!s.sawTicket }); s.destroy() }, 300))
  s.on('session', () => { s.sawTicket = true })
})

test('N-3 TLS 1.2 is refused / TLS 1.3 with ALPN h2 stays open and gives no ticket', async () => {
  assert.ok((await handshake({ ALPNProtocols: ['h2'], maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' })).error)
  const good = await handshake({ ALPNProtocols: ['h2'], peek: true })
  assert.deepEqual(good, { open: true, protocol: 'TLSv1.3', alpn: 'h2', ticket: false })
})

test('N-3 a session is never resumed: each connection proves its certificate anew', async () => {
  const connect = (session) => new Promise((yes, no) => {
    const s = tls.connect({ host: '127.0.0.1', port: b.port, servername: 'localhost', ca: fs.readFileSync(b.serverCa.cert), cert: fs.readFileSync(planner.cert), key: fs.readFileSync(planner.key), ALPNProtocols: ['h2'], session })
    s.on('error', no)
    s.on('session', () => no(new Error('the server gave a ticket')))
    s.once('data', () => { yes({ session: s.getSession(), reused: s.isSessionReused() }); s.destroy() }) // its SETTINGS: tickets would have come before
  })
  const first = await connect()
  assert.equal(first.reused, false)
  assert.equal((await connect(first.session)).reused, false)
})

// From the end of the handshake on: what was said, and whether the connection was closed before any time-out of the server's (5 s).
const atOnce = (options, ms) => new Promise((done) => {
  const s = tls.connect({ host: '127.0.0.1', port: b.port, servername: 'localhost', ca: fs.readFileSync(b.serverCa.cert), cert: fs.readFileSync(planner.cert), key: fs.readFileSync(planner.key), ...options })
  const got = { handshake: false, read: 0, closed: false }
  const late = setTimeout(() => { done(got); s.destroy() }, ms)
  s.on('secureConnect', () => { got.handshake = true })
  s.on('data', (d) => { got.read += d.length })
  s.on('error', (e) => { got.error = e.code })
  s.on('close', () => { got.closed = true; clearTimeout(late); done(got) })
})

test('A client that offers no ALPN, or only another, is closed at once and told nothing / one that offers h2 stays open', async () => {
  assert.deepEqual(await atOnce({}, 4000), { handshake: true, read: 0, closed: true })
  const other = await atOnce({ ALPNProtocols: ['http/1.1'] }, 4000)
  assert.deepEqual([other.handshake, other.read, other.closed], [false, 0, true], other.error)
  assert.match(other.error, /NO_APPLICATION_PROTOCOL/)
  const twin = await atOnce({ ALPNProtocols: ['h2'] }, 3000)
  assert.deepEqual([twin.handshake, twin.read > 0, twin.closed], [true, true, false])
  const { body } = await b.http('/metrics')
  assert.match(body, /baton_handshakes_total\{.*result="alpn".*\} 2/)
})

test('A first frame that is no HTTP/2 is closed and does no harm', async () => {
  const r = await handshake({ ALPNProtocols: ['h2'], say: 'GET / HTTP/1.1\r\nhost: x\r\n\r\n' })
  assert.ok(r.closed || r.error)
  await planner.submit()
})

test('Not gRPC: another content type is 415, another method is refused', async () => {
  const session = http2.connect(`https://localhost:${b.port}`, { ca: fs.readFileSync(b.serverCa.cert), cert: fs.readFileSync(planner.cert), key: fs.readFileSync(planner.key) })
  session.on('error', () => {})
  const ask = (headers) => new Promise((done) => {
    const rq = session.request(headers)
    rq.on('response', (h) => { done(h); rq.close() })
    rq.on('error', (e) => done({ error: e.message }))
    rq.end('{}')
  })
  const path = '/baton.v1.HandoffService/WhoAmI'
  assert.equal((await ask({ ':method': 'POST', ':path': path, te: 'trailers', 'content-type': 'application/json' }))[':status'], 415)
  const get = await ask({ ':method': 'GET', ':path': path, te: 'trailers', 'content-type': 'application/grpc' })
  assert.ok(get.error || get[':status'] >= 400 || Number(get['grpc-status']) > 0, JSON.stringify(get))
  session.close()
  await planner.whoami()
})

test('Many connections of strangers leave room for an honest agent', async () => {
  const strangers = await Promise.all(Array.from({ length: 20 }, () => handshake({ ALPNProtocols: ['h2'], cert: undefined, key: undefined, say: 'x' })))
  assert.ok(strangers.every((s) => s.error || s.closed))
  const served = await until('an honest call', () => planner.submit().then(() => true))
  assert.ok(served)
})

// The certificate is refused from the reload on; the others of its CA are not.
async function untilRefused (leaf) {
  b.signal('SIGHUP')
  await until('the certificate to be refused', async () => {
    const a = await as(leaf)
    try { return (await refused(a.submit({}, { timeout: 20000 }))).code === 'UNAVAILABLE' } finally { a.close() }
  })
}

test('I-7 attack 12: a certificate on the revocation list is refused after a reload and on each new connection, without a restart / its neighbours are served', async () => {
  const [bad, good] = [b.acme.leaf('revoked', ANA), b.acme.leaf('neighbour', ANA)]
  const before = await as(bad)
  const neighbour = await as(good)
  const [bads, goods] = [operate(bad), operate(good)] // as operators
  for (const o of [bads, goods]) await o.call('ListRoutes')
  const mine = before.watch((await before.submit()).handoff_id)
  const other = neighbour.watch((await neighbour.submit()).handoff_id)
  for (const w of [mine, other]) await w.take('the first event')
  b.acme.crl(crl(), [bad])
  await untilRefused(bad)
  await until('the open connection to close', () => mine.ended)
  await until('both connections to be counted', async () => /baton_connections_closed_total\{.*why="certificate:revoked"\} [2-9]/.test((await b.http('/metrics')).body))
  assert.equal(other.ended, null)
  await neighbour.submit()
  await (await as(good)).submit()
  for (const o of [bads, operate(bad)]) await until('the operator to be refused', async () => (await refused(o.call('ListRoutes', {}, { timeout: 20000 }))).code === 'UNAVAILABLE')
  for (const o of [goods, operate(good)]) await o.call('ListRoutes')
})

test('I-7 a revocation list that is out of date refuses its whole domain (fails closed) / other domains are served', async () => {
  const leaf = b.acme.leaf('fine', ANA)
  await (await as(leaf)).submit()
  await remedy(/the CRL of acme.example ends soon/) // within three days
  b.acme.crl(crl(), [], { stale: true })
  await untilRefused(leaf)
  await remedy(/the CRL of acme.example is out of date/)
  assert.match((await b.http('/metrics')).body, /baton_crl_expiry_timestamp_seconds\{domain="acme.example"\} \d/)
  await (await b.agent('gplanner')).submit()
  b.acme.crl(crl(), [])
  b.signal('SIGHUP')
  await until('a fresh list', async () => (await as(leaf)).submit())
})

test('I-5 I-7 a certificate that ends while it is connected: the connection closes then, with the reason / its neighbour\'s stays open', async () => {
  const leaf = b.acme.leaf('brief', { ...ANA, until: new Date(Date.now() + 9000) })
  const [brief, neighbour] = [await as(leaf), await as(b.acme.leaf('lasting', ANA))]
  const mine = brief.watch((await brief.submit()).handoff_id)
  const other = neighbour.watch((await neighbour.submit()).handoff_id)
  for (const w of [mine, other]) await w.take('the first event')
  const bare = http2.connect(`https://localhost:${b.port}`, { ca: fs.readFileSync(b.serverCa.cert), cert: fs.readFileSync(leaf.cert), key: fs.readFileSync(leaf.key) })
  const goaway = new Promise((done) => bare.on('goaway', (code, last, text) => done(`${code} ${text}`)))
  const { certificate_expires_at_ms: ends } = await brief.whoami()
  assert.equal(await goaway, '0 certificate_expired')
  bare.destroy()
  assert.ok(Date.now() >= ends - 50, 'not before its end')
  const { code } = await mine.end()
  assert.equal(code, 'UNAVAILABLE')
  assert.match((await b.http('/metrics')).body, /baton_connections_closed_total\{.*why="certificate_expired"\} 2/)
  await notServed(leaf, 'certificate:certificate_expired')
  assert.equal(other.ended, null)
  await neighbour.submit()
  await sleep(20) // a stream that is cancelled while node 20 still reads an answer keeps its native code in a loop for ever
  other.call.cancel()
  await other.end()
})
