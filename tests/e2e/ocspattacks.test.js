// What does whoever has a revoked certificate try, beside whoever asks for nothing but its own? Old answers, the answers of others, its agent's budget, a clock that
// steps, and a broker that has its hands full.
import fs from 'node:fs'
import http from 'node:http'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, ROUTE } from './lib/broker.js'
import { Agent, denied, read, shutOut } from './lib/agent.js'
import { Responder } from './lib/responder.js'
import { StepClock } from './lib/faults.js'

const q = JSON.stringify
const PLANNER = 'spiffe://acme.example/planner'
const once = { 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 }
const clock = new StepClock()
let section = {}
let on = true
let responder
const ocsp = () => `, ocsp: {url: ${q(section.url || responder?.url || 'http://127.0.0.1:1')}, allow_private: true, max_age: ${section.max_age || '1h'}}`
const b = new Broker({
  ...clock.broker,
  workers: 1,
  config: (t) => `${t.replace(/(domain: acme\.example, bundle: [^}]*)}/, (_, head) => `${head}${on ? ocsp() : ''}}`)}limits: {rate_per_agent: ${section.rate || 0}, connections_per_agent: ${section.connections || 1000}}\n`
})

before(async () => {
  await b.prepare()
  responder = new Responder(b.path('pki'), b.acme)
  await responder.start()
  b.writeConfig()
  await b.start()
})
after(async () => { clock.set(0); await b.remove(); await responder.stop(); clock.remove() })

let n = 0
function leaf (says, id = PLANNER) {
  const l = b.acme.leaf(`leaf-${++n}`, { sans: [`URI:${id}`] })
  responder.says(l, says)
  return l
}
async function as (l, name = 'planner') {
  const full = { ...l, name, tenant: 'acme', trust: b.serverCa.cert }
  return new Agent(full, b.addr, { token: await b.issuer.mint(full), options: once })
}
const submit = (a) => a.submit(read(ROUTE), { timeout: 20000 })
async function works (l) { const a = await as(l); try { return await submit(a) } finally { a.close() } }
async function revoked (l) { const a = await as(l); try { return await shutOut(() => submit(a)) } finally { a.close() } }
async function reload (change) { section = change; b.writeConfig(); await b.reloaded() }
// What the responder says of it now, without a nonce, as one that signs beforehand would answer.
function record (l, ...more) {
  const [rq, rs] = [b.path('rq'), b.path('rs')]
  execFileSync('openssl', ['ocsp', '-issuer', b.acme.cert, '-sha256', '-cert', l.cert, '-no_nonce', '-reqout', rq], { stdio: 'ignore' })
  execFileSync('openssl', ['ocsp', '-index', responder.index, '-CA', b.acme.cert, '-rsigner', b.acme.cert, '-rkey', b.acme.key, '-reqin', rq, '-respout', rs, ...more], { stdio: 'ignore' })
  return fs.readFileSync(rs)
}
// Somebody on the way to the responder.
async function between (answer) {
  const trap = http.createServer((rq, rs) => { const parts = []; rq.on('data', (p) => parts.push(p)); rq.on('end', () => answer(rs, Buffer.concat(parts))) })
  await new Promise((done) => trap.listen(0, '127.0.0.1', done))
  return { url: `http://127.0.0.1:${trap.address().port}`, end: () => { trap.closeAllConnections(); return new Promise((done) => trap.close(done)) } }
}

test('I-7 attack 12 A good answer of before the revocation is played again, right away and when the broker might have forgotten: refused each time', async () => {
  const l = leaf('good')
  const old = record(l, '-nmin', '5')
  await sleep(1100) // times have seconds
  responder.says(l, 'revoked')
  let body = record(l, '-nmin', '5')
  const way = await between((rs) => rs.writeHead(200).end(body))
  try {
    await reload({ url: way.url, max_age: '2s' })
    await revoked(l)
    body = old
    await revoked(l)
    await sleep(9000) // its answer has run out, and nobody was there with it
    await revoked(l)
    await sleep(2000)
    await revoked(l)
    responder.says(l, 'good') // it was on hold
    body = record(l, '-nmin', '5')
    await until('it to be let in again', async () => { try { return await works(l) } catch { return false } }, 15000)
  } finally { await way.end() }
}, 60000)

test('I-7 attack 12 A good answer of before the revocation is played again after the node was restarted: refused, the newer one was kept / a newer good one is taken', async () => {
  const l = leaf('good')
  const old = record(l, '-nmin', '5')
  await sleep(1100)
  responder.says(l, 'revoked')
  let body = record(l, '-nmin', '5')
  const way = await between((rs) => rs.writeHead(200).end(body))
  try {
    await reload({ url: way.url })
    await revoked(l)
    body = old
    for (let i = 0; i < 2; i++) {
      await b.stop()
      await b.start()
      await revoked(l)
    }
    await sleep(1100)
    responder.says(l, 'good')
    body = record(l, '-nmin', '5')
    await until('it to be let in again', async () => { try { return await works(l) } catch { return false } }, 15000)
  } finally { await way.end() }
}, 60000)

test('I-7 A revoked answer counts that is older than the good one before it, for there are responders of which one lags behind', async () => {
  const l = leaf('revoked')
  const bad = record(l, '-nmin', '5')
  await sleep(1100)
  responder.says(l, 'good')
  let body = record(l, '-nmin', '5')
  const way = await between((rs) => rs.writeHead(200).end(body))
  try {
    await reload({ url: way.url, max_age: '12s' })
    await works(l)
    body = bad
    await until('it to be cut off', async () => { try { await works(l) } catch (e) { return /revoked/.test(e.message) } }, 20000)
  } finally { await way.end() }
})

test('I-7 The clock steps an hour ahead and back: nobody is let in by what has run out meanwhile, and when it is right all are asked about anew at once', async () => {
  await reload({})
  const l = leaf('good')
  await works(l)
  clock.set(3600)
  await sleep(2000)
  clock.set(0)
  await until('it to be let in again', async () => { try { return await works(l) } catch { return false } }, 15000)
}, 60000)

test('I-7 Whoever has a revoked certificate does not use up what its agent may send / with a good one it uses it up itself', async () => {
  await reload({ rate: 2 })
  const [good, bad] = [leaf('good'), leaf('revoked')]
  await works(good)
  await revoked(bad)
  for (let i = 0; i < 8; i++) { const a = await as(bad); await submit(a).then(() => assert.fail('it was let in'), () => {}); a.close() }
  await works(good)
  const a = await as(good)
  await until('it to be too many', async () => { try { await submit(a); return false } catch (e) { return /submits a second/.test(e.message) } })
  a.close()
})

test('I-7 Whoever comes again and again with a revoked certificate leaves its agent room to connect / with a good one all of it may be used', async () => {
  await reload({ connections: 4 })
  const [good, bad] = [leaf('good'), leaf('revoked')]
  await revoked(bad)
  const last = Date.now() + 5000
  const storm = Promise.all(Array.from({ length: 8 }, async () => {
    while (Date.now() < last) { const a = await as(bad); await a.whoami({ timeout: 1000 }).then(() => assert.fail('it was let in'), () => {}); await sleep(50); a.close() }
  }))
  await sleep(1000)
  for (let i = 0; i < 10; i++) { await works(good); await sleep(200) }
  await storm
  const mine = []
  for (let i = 0; i < 4; i++) { const a = await as(good); mine.push(a); await until('it to be let in', () => a.whoami()) }
  for (const a of mine) a.close()
})

test('I-7 attack 11 Whoever is not registered holds no place among the calls that wait for an answer: many of theirs keep out nobody who is', async () => {
  const l = leaf('good') // not while the responder is asked: it looks at its list when it is
  const way = await between(async (rs, body) => {
    await sleep(2000)
    const r = await fetch(responder.url, { method: 'POST', body, headers: { 'content-type': 'application/ocsp-request' } }).catch(() => {})
    if (r && !rs.destroyed) rs.writeHead(200).end(Buffer.from(await r.arrayBuffer()))
  })
  try {
    await reload({ url: way.url })
    const some = []
    for (let i = 0; i < 15; i++) some.push(await as(leaf('good', `spiffe://acme.example/nobody-${i % 5}`), `nobody-${i % 5}`))
    const calls = some.flatMap((a) => Array.from({ length: 90 }, () => a.whoami({ timeout: 10000 }).then(() => 'let in', (e) => e.message)))
    await sleep(1000)
    await works(l)
    assert.ok((await Promise.all(calls)).every((what) => what !== 'let in'))
    await until('the answer to one of them', () => denied(some[0].whoami(), 'unknown_peer'), 15000)
    for (const a of some) a.close()
  } finally { await way.end() }
})

test('I-7 The section is taken out while a call waits for the answer: it goes on at once', async () => {
  const way = await between(() => {})
  try {
    await reload({ url: way.url })
    const l = leaf('good')
    const a = await as(l)
    const begun = Date.now()
    const one = submit(a)
    await sleep(700)
    on = false
    await reload({})
    await one
    assert.ok(Date.now() - begun < 5000, `${Date.now() - begun} ms`)
    a.close()
  } finally { on = true; await way.end() }
})

test('I-7 attack 11 Many certificates come and go at once while the responder is slow: who stays does not wait for those who are gone', async () => {
  const l = leaf('good'), mine = Buffer.from(new X509Certificate(fs.readFileSync(l.cert)).serialNumber, 'hex')
  const way = await between(async (rs, body) => {
    if (!body.includes(mine)) await sleep(2800)
    const r = await fetch(responder.url, { method: 'POST', body, headers: { 'content-type': 'application/ocsp-request' } }).catch(() => {})
    if (r && !rs.destroyed) rs.writeHead(200).end(Buffer.from(await r.arrayBuffer()))
  })
  try {
    const names = ['worker', 'worker2', 'auditor', 'bystander', 'planner']
    const many = []
    for (let i = 0; i < 450; i++) many.push([b.acme.leaf(`many-${i}`, { sans: [`URI:spiffe://acme.example/${names[i % 5]}`] }), names[i % 5]])
    await reload({ url: way.url })
    for (let i = 0; i < many.length; i += 50) {
      const some = await Promise.all(many.slice(i, i + 50).map(([l, name]) => as(l, name)))
      for (const a of some) a.whoami({ timeout: 1000 }).catch(() => {})
      await sleep(300)
      for (const a of some) a.close()
    }
    await sleep(3000)
    const from = Date.now()
    await works(l)
    assert.ok(Date.now() - from < 8000, `${Date.now() - from} ms`)
  } finally { await way.end() }
}, 120000)
