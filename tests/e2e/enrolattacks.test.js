// What could somebody make of certificates that the broker issues? An operator of one tenant, an agent that was, an agent that floods, a keeper that stands still, a
// revocation at the wrong moment, files that do not fit: each beside the honest way.
import fs from 'node:fs'
import { execFileSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { BATON, Broker, ROUTE } from './lib/broker.js'
import { Agent, denied, read, refusalOf, refused } from './lib/agent.js'
import { Platform, Stranger, install, pem } from './lib/enrolling.js'
import { thumbprint } from './lib/pki.js'

const b = new Broker({ admin: true })
const p = new Platform(b)
let ca, root, stranger

before(async () => { ({ ca, root, stranger } = await p.open()) })
after(async () => { p.close(); await b.remove() })

const spiffeOf = (name) => p.spiffe(name)
const register = (...args) => p.register(...args)
const tokenFor = (name) => p.token(name)
const csr = (name) => p.csr(name)
const works = (a) => p.works(a)
async function enrolled (name) {
  const { r, answer } = await p.enrolled(name)
  return p.agent(name, r.key, answer)
}

test('I-5 A-4 Whoever may register agents of one tenant makes no operator of himself: an id that has roles is registered for no agent and gets no token, one that an agent has or had gets no role / other ids do', async () => {
  await root.grant('tess', ['platform'], b.person('tess').spiffe, { tenant: 'acme' })
  const tess = p.operator('tess')
  assert.match((await denied(register('mole', { spiffe_id: b.person('root').spiffe }, tess), 'wrong_state')).message, /that of an operator/)
  await register('decent', {}, tess)
  await denied(root.grant('later', ['sre'], spiffeOf('decent')), 'wrong_state')
  await root.grant('later', ['sre'], spiffeOf('ops/later'))
  await p.retire('decent')
  assert.match((await denied(root.grant('again', ['sre'], spiffeOf('decent')), 'wrong_state')).message, /is, or was, an agent's/)
  // of the configuration: planner is there, and no role may be given to it while the broker issues; gplanner is of another domain than this CA's
  await denied(root.grant('planner', ['sre'], spiffeOf('planner')), 'wrong_state')
})

test('I-5 I-7 What is left of the certificates of a retired agent counts for nobody: whoever has the SPIFFE id next needs a new one / which works', async () => {
  await register('heir')
  // a certificate of long ago, of the company's CA: good while the first one has the id
  const stamp = (ms) => new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')
  const old = b.acme.leaf('heir-old', { sans: [`URI:${spiffeOf('heir')}`] })
  b.acme.ca('-batch', '-notext', '-in', b.path('pki', 'heir-old.csr'), '-extfile', b.path('pki', 'heir-old.ext'), '-startdate', stamp(Date.now() - 3600e3), '-enddate', stamp(Date.now() + 86400e3), '-out', old.cert)
  const leaf = { ...old, name: 'heir', tenant: 'acme', trust: b.serverCa.cert, thumbprint: thumbprint(old.cert) }
  const first = new Agent(leaf, b.addr, { token: await b.issuer.mint(leaf) })
  p.keep(first)
  await works(first)
  await p.retire('heir')
  await denied(first.submit(read(ROUTE)), 'unknown_peer')
  await register('heir', { owner: 'others' })
  assert.match((await denied(first.submit(read(ROUTE)), 'unknown_peer')).message, /another agent had .* before/)
  await denied(first.renew(csr('heir-2').der), 'unknown_peer')
  const r = csr('heir-3')
  await works(await p.agent('heir', r.key, await stranger.enrol((await tokenFor('heir')).token, r)))
  assert.ok(Number((await p.resource('heir')).agent.certificates_from_ms) > 0)
})

test('I-5 One agent that asks for certificates without end gets what is its share, and keeps nobody else from his', async () => {
  const flood = await enrolled('flood'), victim = await enrolled('victim')
  const der = csr('flood-2').der
  let on = true
  const refusals = new Set()
  const loops = Array.from({ length: 50 }, async () => { while (on) await flood.renew(der).catch((e) => refusals.add(refusalOf(e).reason)) })
  await sleep(2500)
  for (let i = 0; i < 4; i++) {
    assert.ok((await victim.renew(csr(`victim-${i}`).der)).chain_der.length)
    await sleep(1200)
  }
  on = false
  await Promise.all(loops)
  assert.ok(refusals.has('quota_exceeded'), [...refusals].join())
  await until('the closing of who does not listen', async () => (await b.http('/metrics')).body.includes('why="too_many_refused"'))
})

test('I-7 R-3 A revocation that comes while a certificate is being issued holds for it: it is not given away / the next one is, and works', async () => {
  await register('torn')
  const { token } = await tokenFor('torn'), r = csr('torn')
  process.kill(p.keeper(), 'SIGSTOP')
  const got = stranger.enrol(token, r).then(() => 'given', (e) => refusalOf(e).reason)
  await sleep(700)
  const revoked = root.revoke({ agent: { tenant: 'acme', name: 'torn' }, issued_before_ms: Date.now() })
  await sleep(1500)
  process.kill(p.keeper(), 'SIGCONT')
  assert.equal(await got, 'revoked')
  assert.equal((await revoked).done, true)
  await sleep(1100)
  await works(await p.agent('torn', r.key, await stranger.enrol(token, r)))
})

test('I-5 I-7 An agent that is quarantined while its certificate is being issued gets none', async () => {
  await register('caught')
  const { token } = await tokenFor('caught'), r = csr('caught')
  process.kill(p.keeper(), 'SIGSTOP')
  const got = stranger.enrol(token, r).then(() => 'given', (e) => refusalOf(e).reason)
  await sleep(700)
  const changed = p.change('caught', { status: 'AGENT_STATUS_QUARANTINED' }, { timeout: 20000 })
  await sleep(1500)
  process.kill(p.keeper(), 'SIGCONT')
  assert.equal(await got, 'unknown_peer')
  await changed
})

test('I-5 A keeper that stands still costs a token nothing: who asks is told to ask again, what nobody waits for is not issued / and then it is', async () => {
  await register('slow')
  const { token } = await tokenFor('slow'), r = csr('slow'), own = p.keep(new Stranger(b)) // a minute is all that a connection has
  process.kill(p.keeper(), 'SIGSTOP')
  for (let i = 0; i < 3; i++) await denied(own.call('Enrol', { token, csr_der: r.der }, 30000), 'store_unavailable')
  process.kill(p.keeper(), 'SIGCONT')
  await sleep(500)
  const issued = () => fs.readFileSync(b.path('state', 'keeper', 'record.jsonl'), 'utf8').split('\n').filter((l) => l.includes(`"${spiffeOf('slow')}"`)).length
  assert.equal(issued(), 0)
  for (let i = 0; i < 10; i++) assert.ok((await stranger.enrol(token, r)).chain_der.length) // as often as answers are lost
  assert.equal(issued(), 10)
}, 60000)

test('I-5 Certificates that their own bundle does not vouch for are not issued, and no token is spent / once the bundle has the new root they are; both files replaced at once are taken', async () => {
  await register('rooted')
  const { token } = await tokenFor('rooted'), r = csr('rooted')
  const other = b.path('ca2'), bundle = b.path('issuing.pem'), before = fs.readFileSync(bundle, 'utf8')
  execFileSync(BATON, ['ca', 'init', other, '--trust-domain', 'acme.example', '--ip', '127.0.0.1'], { stdio: 'pipe' })
  install(b, other)
  await b.reloaded()
  await until('it to be said', () => b.log().includes('issuing.unvouched'))
  assert.match((await denied(stranger.enrol(token, r), 'wrong_state')).message, /its bundle does not vouch/)
  fs.writeFileSync(bundle, before + fs.readFileSync(`${other}/bundle.pem`, 'utf8'))
  await b.reloaded()
  const second = await until('a certificate', () => stranger.enrol(token, r))
  assert.equal(second.bundle_der.length, 3)
  fs.writeFileSync(bundle, before)
  install(b, ca)
  await b.reloaded()
  const third = await until('one of the first CA', async () => { const x = await stranger.enrol(token, r); return x.bundle_der.length === 2 && x })
  assert.equal(pem(third.chain_der[1]), fs.readFileSync(b.path('issuing', 'ca.pem'), 'utf8'))
})

test('I-5 batond ends in time though its keeper stands still, and the keeper when it goes on', async () => {
  const pid = p.keeper()
  process.kill(pid, 'SIGSTOP')
  const begun = Date.now()
  await b.stop({ ms: 15000 })
  assert.ok(Date.now() - begun < 14000)
  process.kill(pid, 'SIGCONT')
  await until('the end of the keeper', () => { try { return /State:.Z/.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8')) } catch { return true } })
  await b.start()
  assert.ok((await refused(new Stranger(b).enrol('x', Buffer.alloc(1)))).reason)
}, 60000)
