// Is a certificate still good? A real OCSP responder is asked about each that connects: what it says, what it does not, and what is no answer of its.
import fs from 'node:fs'
import http from 'node:http'
import { execFileSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, ROUTE, LEFT_BEHIND } from './lib/broker.js'
import { Agent, denied, read, shutOut } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { Operator } from './lib/operator.js'
import { Before, Responder, withoutNonce } from './lib/responder.js'

const q = JSON.stringify
const PLANNER = 'spiffe://acme.example/planner'
const once = { 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 }
let section = {}
let on = true
const ocsp = () => `${section.crl ? `, crl: ${q(section.crl)}` : ''}, ocsp: {url: ${q(section.url || responder?.url || 'http://127.0.0.1:1')}, allow_private: ${section.allow_private ?? true}, max_age: ${section.max_age || '1h'}${section.stale ? `, stale: ${section.stale}` : ''}${section.cert_id ? `, cert_id: ${section.cert_id}` : ''}${section.nonce ? `, nonce: ${section.nonce}` : ''}}`
const b = new Broker({ admin: true, config: (t) => t.replace(/(domain: acme\.example, bundle: [^}]*)}/, (_, head) => `${head}${on ? ocsp() : ''}}`) + LEFT_BEHIND })
let responder, delegate

before(async () => {
  await b.prepare()
  responder = new Responder(b.path('pki'), b.acme)
  delegate = b.acme.leaf('responder', { eku: 'OCSPSigning', more: ['noCheck=ignored'] })
  await responder.start()
  b.writeConfig()
  await b.start()
})
after(async () => { await b.remove(); await responder.stop() })

let n = 0
function leaf (says, ca = b.acme, id = PLANNER) {
  const l = ca.leaf(`leaf-${++n}`, { sans: [`URI:${id}`] })
  responder.says(l, says)
  return l
}
async function as (l, name = 'planner') {
  const full = { ...l, name, tenant: 'acme', trust: b.serverCa.cert }
  const a = new Agent(full, b.addr, { token: await b.issuer.mint(full), options: once })
  b.made ||= []
  b.made.push(a)
  return a
}
const submit = (a) => a.submit(read(ROUTE), { timeout: 15000 })
const works = async (a) => assert.ok((await submit(a)).handoff_id)
const serves = async (l) => { const a = await as(l); await works(a); return a }
const refused = (l, reason, code) => shutOut(async () => { const a = await as(l); try { return await submit(a) } finally { a.close() } }, reason, code)
const gone = (a) => until('the connection to close', () => a.client.getChannel().getConnectivityState(false) !== 2)
const stays = (a) => assert.equal(a.client.getChannel().getConnectivityState(false), 2)
const metric = async (name) => Number((await b.http('/metrics')).body.match(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm'))?.[1] ?? NaN)
const answers = async (result) => (await metric(`baton_ocsp_answers_total{domain="acme.example",result="${result}"}`)) || 0
const left = () => metric('baton_ocsp_left_seconds{domain="acme.example"}')
const trust = async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'trust')
async function reload (change) { section = change; b.writeConfig(); await b.reloaded() }
async function restart (change) { await responder.stop(); Object.assign(responder, change); await responder.start() }

test('I-7 A certificate that the responder calls good works, and is asked about once however many connections have it / one that is revoked is refused, and so is one that it does not know', async () => {
  const good = leaf('good')
  const many = await Promise.all(Array.from({ length: 6 }, () => serves(good)))
  await works(many[0])
  assert.equal(responder.asked(good), 1)
  assert.equal(await answers('good'), 1)
  const bad = leaf('revoked'), stranger = leaf(undefined)
  assert.match((await refused(bad, 'revoked', 'PERMISSION_DENIED')).message, /OCSP responder/)
  await refused(stranger, 'unknown_peer', 'UNAUTHENTICATED')
  for (const a of many) { stays(a); await works(a) }
  assert.equal((await b.audited({ event: 'ocsp.revoked', outcome: 'deny', reason: 'revoked', certificate_sha256: bad.thumbprint })).spiffe_id, PLANNER)
  await b.audited({ event: 'ocsp.unknown', certificate_sha256: stranger.thumbprint })
  assert.match(b.log(), /"event":"ocsp\.revoked".*"reason":"keyCompromise"/)
  await until('the time that is left', async () => await left() > 200 && await left() <= 300)
})

test('I-7 Whoever is of another trust domain is not asked about, nor whoever a foreign CA vouches for / whoever its own CA vouches for is', async () => {
  await (await b.agent('gplanner')).submit()
  const foreign = new Ca(b.path('pki'), 'acme-foreign', { uri: 'spiffe://acme.example' })
  const l = foreign.leaf('foreign', { sans: [`URI:${PLANNER}`] })
  const a = await as(l)
  await assert.rejects(submit(a))
  a.close()
  await sleep(300)
  for (const x of [l, b.leaves.gplanner]) assert.equal(responder.asked(x), 0)
  const own = leaf('good')
  await serves(own)
  assert.equal(responder.asked(own), 1)
})

test('I-7 R-3 Who is revoked while connected is cut off, with the reason on its stream, before its answer runs out / the neighbour stays', async () => {
  await reload({ max_age: '10s' })
  const theirs = leaf('good', b.acme, 'spiffe://acme.example/worker'), mine = leaf('good')
  const worker = await as(theirs, 'worker'), neighbour = await serves(mine)
  const stream = await worker.subscribe()
  await until('it to be asked about again', () => responder.asked(mine) >= 2, 20000)
  stays(worker)
  responder.says(theirs, 'revoked')
  const end = await stream.end(20000)
  assert.equal(end.reason, 'revoked', end.message)
  await gone(worker)
  await refused(theirs, 'revoked')
  stays(neighbour)
  await works(neighbour)
  assert.ok(await metric('baton_revoked_connections_closed_total{listener="agents"}') >= 1)
  responder.says(theirs, 'good')
  await until('it to be let in again', async () => { const a = await as(theirs, 'worker'); try { await a.whoami(); return true } finally { a.close() } }, 25000)
})

test('I-7 The responder is down: nobody new is let in, who is there goes on until the answer runs out, then it is closed / when it is back all are let in', async () => {
  await reload({ max_age: '5s' })
  const known = leaf('good'), fresh = leaf('good')
  const mine = await serves(known)
  await responder.stop()
  const r = await refused(fresh, 'status_unavailable', 'UNAVAILABLE')
  assert.ok(Number(r.retry_after_ms) > 0)
  await works(mine)
  await until('the alarm', () => /"event":"ocsp\.failed".*"domain":"acme\.example"/.test(b.log()))
  await until('/readyz', async () => /^the OCSP responder of acme\.example gives no answer that counts \(http:\/\/127\.0\.0\.1:\d+: .*/.test((await trust()).remedy))
  await gone(mine)
  await refused(known, 'status_unavailable')
  assert.equal(await left(), 0)
  await responder.start()
  for (const l of [known, fresh]) await until('it to be let in', async () => { const a = await as(l); try { await works(a); return true } finally { a.close() } }, 70000)
  await until('the end of the alarm', async () => !/OCSP/.test((await trust()).remedy))
  assert.match(b.log(), /"event":"ocsp\.answered"/)
}, 120000)

test('I-7 With allow-for a good answer that was had counts on while the responder is down, for so long / who had none is refused', async () => {
  await reload({ max_age: '3s', stale: '{allow-for: 8s}' })
  const known = leaf('good'), fresh = leaf('good')
  const mine = await serves(known)
  const begun = Date.now()
  await responder.stop()
  await refused(fresh, 'status_unavailable')
  while (Date.now() - begun < 5000) { await works(mine); await sleep(500) }
  await gone(mine)
  await refused(known, 'status_unavailable')
  await responder.start()
}, 60000)

test('I-7 A responder with a certificate for it is believed, issued by the same CA / without that purpose, of another CA, or on a list of the domain, it is not', async () => {
  await reload({})
  await restart({ signer: delegate })
  const l = leaf('good')
  await serves(l)
  const plain = b.acme.leaf('plain-signer', { eku: 'clientAuth' })
  await restart({ signer: plain })
  await refused(leaf('good'), 'status_unavailable')
  await until('the reason', () => /"event":"ocsp\.refused".*id-kp-OCSPSigning/.test(b.log()))
  await b.audited({ event: 'ocsp.refused', reason: 'status_unavailable' })
  const none = b.acme.leaf('no-purpose-signer', { eku: '' })
  await restart({ signer: none })
  await refused(leaf('good'), 'status_unavailable')
  await restart({ signer: b.globex.leaf('foreign-responder', { eku: 'OCSPSigning' }) })
  await refused(leaf('good'), 'status_unavailable')
  const listed = b.acme.leaf('listed-responder', { eku: 'OCSPSigning' })
  b.acme.crl(b.path('acme.crl'), [listed])
  await reload({ crl: b.path('acme.crl') })
  await restart({ signer: listed })
  await refused(leaf('good'), 'status_unavailable')
  await until('the reason', () => /"event":"ocsp\.refused".*a list of the trust domain stands against it/.test(b.log()))
  await restart({ signer: delegate })
  await serves(leaf('good'))
  await reload({})
  await restart({ signer: b.acme })
  await serves(leaf('good'))
  assert.ok(await answers('refused') >= 4)
})

test('I-7 An old answer, one about another certificate, and what is none are refused, whatever they say', async () => {
  const file = (name) => b.path(name)
  const record = (l, ...more) => { // without a nonce, as a responder that signs beforehand would answer
    execFileSync('openssl', ['ocsp', '-issuer', b.acme.cert, '-sha256', '-cert', l.cert, '-no_nonce', '-reqout', file('rq')], { stdio: 'ignore' })
    execFileSync('openssl', ['ocsp', '-index', responder.index, '-CA', b.acme.cert, '-rsigner', b.acme.cert, '-rkey', b.acme.key, '-reqin', file('rq'), '-respout', file('rs'), ...more], { stdio: 'ignore' })
    return fs.readFileSync(file('rs'))
  }
  let body
  const types = new Set()
  const trap = http.createServer((rq, rs) => { types.add(`${rq.method} ${rq.headers['content-type']} ${rq.headers.accept}`); rq.resume(); rq.on('end', () => typeof body === 'function' ? body(rq, rs) : rs.writeHead(200).end(body)) })
  await new Promise((done) => trap.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${trap.address().port}`
  await reload({ url, max_age: '3s' })
  const ahead = leaf('good')
  body = record(ahead, '-nmin', '5')
  await serves(ahead) // signed beforehand, and in date
  const [old, mine, other] = [leaf('good'), leaf('good'), leaf('good')]
  body = record(old)
  await sleep(3500)
  await refused(old, 'status_unavailable')
  await until('the reason', () => /older than ocsp\.max_age/.test(b.log()))
  body = record(other, '-nmin', '5')
  await refused(mine, 'status_unavailable')
  await until('the reason', () => /not about this certificate/.test(b.log()))
  const real = await fetch(responder.url, { method: 'POST', body: (execFileSync('openssl', ['ocsp', '-issuer', b.acme.cert, '-sha256', '-cert', mine.cert, '-nonce', '-reqout', file('rq')], { stdio: 'ignore' }), fs.readFileSync(file('rq'))), headers: { 'content-type': 'application/ocsp-request' } })
  body = Buffer.from(await real.arrayBuffer())
  const wrong = {
    another_nonce: [body, /another nonce/, mine],
    rubbish: [Buffer.from('<html>please sign in</html>'), /no OCSP answer/],
    huge: [Buffer.alloc(100000, 0x30), /too large/],
    trailing: [Buffer.concat([record(other, '-nmin', '5'), Buffer.from([0])]), /no OCSP answer/],
    redirect: [(rq, rs) => rs.writeHead(302, { location: responder.url }).end(), /redirected/],
    error: [(rq, rs) => rs.writeHead(500).end(), /status is not 200/],
    silence: [() => {}, /timed out/]
  }
  for (const [name, [answer, why, which]] of Object.entries(wrong)) {
    body = answer
    await until(`${name} to be refused`, async () => { await refused(which || leaf('good'), 'status_unavailable'); return why.test(b.log()) }, 20000)
  }
  assert.deepEqual([...types], ['POST application/ocsp-request application/ocsp-response'])
  trap.closeAllConnections()
  await new Promise((done) => trap.close(done))
}, 90000)

test('I-7 Many that come at once are asked about side by side, no more than 64 at a time, and all are served', async () => {
  let open = 0, most = 0, begun, let_go
  const held = new Promise((done) => { let_go = done })
  const forward = http.createServer(async (rq, rs) => {
    most = Math.max(most, ++open)
    rs.on('close', () => { open-- })
    begun ||= setTimeout(let_go, 1000)
    if (open === 64) let_go()
    const parts = []
    for await (const p of rq) parts.push(p)
    await held
    const r = await fetch(responder.url, { method: 'POST', body: Buffer.concat(parts), headers: { 'content-type': rq.headers['content-type'] } })
    rs.writeHead(200).end(Buffer.from(await r.arrayBuffer()))
  })
  await new Promise((done) => forward.listen(0, '127.0.0.1', done))
  const leaves = []
  for (const name of ['planner', 'worker', 'worker2', 'auditor', 'bystander']) for (let i = 0; i < 15; i++) leaves.push([leaf('good', b.acme, `spiffe://acme.example/${name}`), name])
  await reload({ url: `http://127.0.0.1:${forward.address().port}` })
  for (const a of b.made || []) a.close()
  b.made = []
  let early = null // refused before its question could have waited too long
  await Promise.all(leaves.map(async ([l, name]) => {
    const a = await as(l, name)
    await until(`${name} to be served`, async () => {
      const at = Date.now()
      try { return (await a.whoami({ timeout: 20000 })).agent.name === name } catch (e) { if (Date.now() - at < 2500) early = e; throw e }
    }, 40000)
  }))
  assert.ifError(early)
  assert.ok(most > 1 && most <= 64, `${most}`)
  for (const a of b.made) a.close()
  b.made = []
  forward.closeAllConnections()
  await new Promise((done) => forward.close(done))
}, 90000)

test('I-7 By SHA-1 or SHA-256 the issuer is named, as cert_id says: both are answered', async () => {
  for (const cert_id of ['sha1', 'sha256']) {
    await reload({ cert_id })
    await serves(leaf('good'))
    await refused(leaf('revoked'), 'revoked')
  }
})

test('I-7 With nonce: required an answer without the nonce of the question is none, whatever it says, and what was known without one is not known any more / one with it counts; where it is optional both do', async () => {
  const forgetful = await new Before(responder, { change: withoutNonce }).start()
  try {
    await reload({ url: forgetful.url })
    const l = leaf('good')
    const mine = await serves(l) // optional
    await refused(leaf('revoked'), 'revoked')
    await reload({ url: forgetful.url, nonce: 'required' })
    await gone(mine)
    await refused(l, 'status_unavailable')
    await refused(leaf('revoked'), 'status_unavailable')
    await until('the reason', () => /"event":"ocsp\.refused".*has not the question's nonce/.test(b.log()))
    await reload({ nonce: 'required' }) // the real one repeats it
    await serves(l)
    await refused(leaf('revoked'), 'revoked')
  } finally { await forgetful.stop() }
})

test('I-7 An operator whose certificate is revoked is refused on listen.admin, whatever roles he has / the neighbour is asked for his role', async () => {
  for (const [says, reason] of [['revoked', 'revoked'], ['good', 'role_denied']]) {
    const p = b.person(says)
    responder.says(p, says)
    const op = new Operator(b.adminAddr, p)
    await denied(op.call('ListRoutes'), reason)
    op.close()
  }
})

test('I-7 Hot reload: with the section taken out nobody is asked about / put back, live connections are asked about at once, and the revoked one is closed', async () => {
  const bad = leaf('revoked'), good = leaf('good')
  on = false
  await reload({})
  const [theirs, mine] = [await serves(bad), await serves(good)]
  assert.equal(responder.asked(bad), 0)
  on = true
  await reload({})
  await gone(theirs)
  await refused(bad, 'revoked')
  stays(mine)
  await works(mine)
  assert.equal(responder.asked(mine), 1)
})

test('I-7 attack 12 What was known when the node ended holds when it begins anew while the responder is away: who was good is let in as long as that counts, who was revoked is refused, who is new has to wait / the responder is believed before what was kept, what was tampered with does not count, and after a crash nothing is there', async () => {
  await reload({})
  const [good, later, bad, fresh, brief] = [leaf('good'), leaf('good'), leaf('revoked'), leaf('good'), leaf('good')]
  const file = b.path('state', 'ocsp')
  const again = async () => { await b.stop(); const kept = fs.readFileSync(file); return kept }
  for (const l of [good, later, brief]) await serves(l)
  await refused(bad, 'revoked')
  responder.says(later, 'revoked') // nobody asks for half an hour
  await responder.stop()
  await again()
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  await b.start()
  assert.equal(fs.existsSync(file), false)
  await serves(good)
  await refused(bad, 'revoked')
  await refused(fresh, 'status_unavailable')
  await again() // what nobody showed is kept on
  await responder.start()
  await b.start()
  await refused(later, 'revoked')
  await serves(good)
  await refused(bad, 'revoked')
  await responder.stop()
  const kept = await again()
  for (let i = 200; i < kept.length; i += 97) kept[i] ^= 1
  fs.writeFileSync(file, kept)
  await b.start()
  await refused(good, 'status_unavailable')
  await b.stop()
  section = { max_age: '3s' } // it is too old by what holds now
  b.writeConfig()
  await responder.start()
  await b.start()
  await serves(brief)
  await responder.stop()
  await again()
  await sleep(3500)
  await b.start()
  await refused(brief, 'status_unavailable')
  section = {}
  b.writeConfig()
  await responder.start()
  await b.reloaded()
  await until('it to be let in', async () => { const a = await as(good); try { await works(a); return true } catch { return false } finally { a.close() } }, 70000)
  await responder.stop()
  await b.crash()
  await b.start()
  await refused(good, 'status_unavailable')
  await responder.start()
}, 180000)

test('SSRF: a responder at a private address without allow_private is never connected to, and the one that a certificate names never is', async () => {
  let seen = 0
  const trap = http.createServer((rq, rs) => { seen++; rs.end() })
  await new Promise((done) => trap.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${trap.address().port}`
  const l = b.acme.leaf('names-one', { sans: [`URI:${PLANNER}`], more: [`authorityInfoAccess=OCSP;URI:${url}`] })
  responder.says(l, 'good')
  await serves(l)
  assert.equal(seen, 0)
  await reload({ url, allow_private: false })
  await refused(leaf('good'), 'status_unavailable')
  await until('the reason', () => /the address is not allowed/.test(b.log()))
  assert.equal(seen, 0)
  await new Promise((done) => trap.close(done))
})
