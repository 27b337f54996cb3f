// Who gets a connection at all, and as whom? Certificates, good and bad, through a real gRPC client (and node's TLS for what gRPC hides).
import fs from 'node:fs'
import tls from 'node:tls'
import http2 from 'node:http2'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker } from './lib/broker.js'
import { Agent, denied, refused } from './lib/agent.js'
import { Ca } from './lib/pki.js'

const b = new Broker({ config: (t) => t.replace(/(domain: acme\.example, bundle: [^}]*)}/, (_, head) => `${head}, crl: ${JSON.stringify(crl())}}`) })
const crl = () => b.path('pki', 'acme.crl')
let planner, foreign
let twins = 0

const as = async (leaf) => {
  const full = { tenant: 'acme', ...leaf, name: 'planner', ...(leaf.agent && { name: leaf.agent }), trust: b.serverCa.cert }
  const options = { 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 } // one handshake
  const a = new Agent(full, b.addr, { token: full.thumbprint && await b.issuer.mint(full), options })
  b.made.push(a)
  return a
}
const ANA = { sans: ['URI:spiffe://acme.example/planner'] }

before(async () => {
  await b.prepare()
  b.acme.crl(crl(), [])
  await b.start()
  planner = await b.agent('planner')
  foreign = new Ca(b.path('pki'), 'foreign', { uri: 'spiffe://acme.example' })
})
after(() => b.remove())

// Results of handshakes so far, without the good ones.
async function handshakes () {
  const rows = (await b.http('/metrics')).body.matchAll(/^baton_handshakes_total\{.*result="([^"]+)".*\} (\d+)$/gm)
  return Object.fromEntries([...rows].map((m) => [m[1], Number(m[2])]).filter(([result]) => result !== 'ok'))
}

// The handshake is refused (gRPC clients see UNAVAILABLE) for this reason and no other, an honest certificate beside it is served.
async function notServed (leaf, why) {
  const stranger = await as(leaf)
  const twin = await as(b.acme.leaf(`twin-${twins++}`, ANA))
  const before = await handshakes()
  const r = await refused(stranger.submit({}, { timeout: 3000 }))
  assert.equal(r.code, 'UNAVAILABLE', r.message)
  stranger.close()
  await twin.submit()
  twin.close()
  const now = await handshakes()
  for (const k of Object.keys(now)) if ((now[k] -= before[k] || 0) === 0) delete now[k]
  assert.deepEqual(now, { [why]: 1 })
}

test('I-5 B4 no client certificate: no connection / a registered agent\'s is served', () => notServed({ cert: null, key: null }, 'no_certificate'))

test('I-5 a certificate of a foreign CA is refused / the same name from the right CA is served', () => notServed(foreign.leaf('f1', ANA), 'certificate:untrusted_chain'))

test('I-5 an expired certificate is refused / a fresh one is served', () => notServed(b.acme.leaf('expired', { ...ANA, days: -1 }), 'certificate:certificate_expired'))

test('I-5 two URI SANs are refused / one is served', () =>
  notServed(b.acme.leaf('two', { sans: ['URI:spiffe://acme.example/planner', 'URI:spiffe://acme.example/worker'] }), 'certificate:two_uri_sans'))

test('I-5 no URI SAN, or one of another type that reads the same, is refused', async () => {
  await notServed(b.acme.leaf('none', { sans: ['DNS:planner.acme.example'] }), 'certificate:no_uri_san')
  await notServed(b.acme.leaf('typed', { sans: ['DNS:acme.example', 'email:planner@acme.example'] }), 'certificate:no_uri_san')
})

test('I-5 a SPIFFE id that is not well formed is refused', async () => {
  const bad = ['spiffe://acme.example/planner/', 'spiffe://acme.example//planner', 'spiffe://acme.example/../planner', 'https://acme.example/planner',
    'spiffe://acme.example:1/planner', 'spiffe://u@acme.example/planner', 'spiffe://acme.example/planner?x=1', 'spiffe://acme.example/pl%61nner']
  for (const [i, uri] of bad.entries()) await notServed(b.acme.leaf(`bad${i}`, { sans: [`URI:${uri}`] }), 'certificate:bad_spiffe_id')
})

test('T5 one trust domain\'s CA cannot vouch for another\'s agents / its own it can', async () => {
  await notServed(b.globex.leaf('cross', ANA), 'certificate:untrusted_chain')
  await (await b.agent('gplanner')).submit()
})

test('I-5 a leaf that is a CA, or made for servers only, is refused', async () => {
  await notServed(b.acme.leaf('isca', { ...ANA, ca: true, usage: 'critical,digitalSignature,keyCertSign' }), 'certificate:leaf_is_ca')
  await notServed(b.acme.leaf('server-only', { ...ANA, eku: 'serverAuth' }), 'certificate:extended_key_usage')
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

test('I-5 I-7 agent A\'s certificate with agent B\'s id in the token is identity_mismatch', async () => {
  await denied(planner.submit({}, { token: await b.issuer.mint(planner, { client_id: 'auditor' }) }), 'identity_mismatch', 'UNAUTHENTICATED')
  await planner.submit()
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

// From the end of the handshake on: what was said, and whether the connection was closed within a second.
const atOnce = (options) => new Promise((done) => {
  const s = tls.connect({ host: '127.0.0.1', port: b.port, servername: 'localhost', ca: fs.readFileSync(b.serverCa.cert), cert: fs.readFileSync(planner.cert), key: fs.readFileSync(planner.key), ...options })
  const got = { handshake: false, read: 0, closed: false }
  const late = setTimeout(() => { done(got); s.destroy() }, 1000)
  s.on('secureConnect', () => { got.handshake = true })
  s.on('data', (d) => { got.read += d.length })
  s.on('error', (e) => { got.error = e.code })
  s.on('close', () => { got.closed = true; clearTimeout(late); done(got) })
})

test('A client that offers no ALPN, or only another, is closed at once and told nothing / one that offers h2 stays open', async () => {
  assert.deepEqual(await atOnce({}), { handshake: true, read: 0, closed: true })
  const other = await atOnce({ ALPNProtocols: ['http/1.1'] })
  assert.deepEqual([other.handshake, other.read, other.closed], [false, 0, true], other.error)
  assert.match(other.error, /NO_APPLICATION_PROTOCOL/)
  const twin = await atOnce({ ALPNProtocols: ['h2'] })
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
    try { return (await refused(a.submit({}, { timeout: 3000 }))).code === 'UNAVAILABLE' } finally { a.close() }
  })
}

test('I-7 a certificate on the revocation list is refused after a reload, without a restart / its neighbours are served', async () => {
  const [bad, good] = [b.acme.leaf('revoked', ANA), b.acme.leaf('neighbour', ANA)]
  const before = await as(bad)
  const neighbour = await as(good)
  const mine = before.watch((await before.submit()).handoff_id)
  const other = neighbour.watch((await neighbour.submit()).handoff_id)
  for (const w of [mine, other]) await w.take('the first event')
  b.acme.crl(crl(), [bad])
  await untilRefused(bad)
  await until('the open connection to close', () => mine.ended)
  assert.match((await b.http('/metrics')).body, /baton_connections_closed_total\{.*why="certificate:revoked"\} [2-9]/)
  assert.equal(other.ended, null)
  await neighbour.submit()
  await (await as(good)).submit()
})

test('I-7 a revocation list that is out of date refuses its whole domain (fails closed) / other domains are served', async () => {
  const leaf = b.acme.leaf('fine', ANA)
  await (await as(leaf)).submit()
  const trust = async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'trust')
  assert.match((await trust()).remedy, /the CRL of acme.example ends soon/) // within three days
  b.acme.crl(crl(), [], { stale: true })
  await untilRefused(leaf)
  assert.match((await until('a remedy', async () => { const t = await trust(); return /out of date/.test(t.remedy) && t })).remedy, /the CRL of acme.example is out of date/)
  assert.match((await b.http('/metrics')).body, /baton_crl_expiry_timestamp_seconds\{domain="acme.example"\} \d/)
  await (await b.agent('gplanner')).submit()
  b.acme.crl(crl(), [])
  b.signal('SIGHUP')
  await until('a fresh list', async () => (await as(leaf)).submit())
})
