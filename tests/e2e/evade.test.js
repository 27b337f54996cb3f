// Does a revocation hold against who wants around it, and lose nothing of the others'? Credentials in another writing, clocks that are ahead, stores that
// forget, disks that are full, and work that was not due when it was put aside.
import fs from 'node:fs'
import { createHash, X509Certificate } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, ROUTE, profile } from './lib/broker.js'
import { Agent, denied, read, shutOut } from './lib/agent.js'
import { Operator } from './lib/operator.js'

const agents = [{ name: 'planner', tenant: 'acme', call: true }, { name: 'helper', tenant: 'acme', call: true }, { name: 'worker', tenant: 'acme', serve: true }]
const b = new Broker({ agents, profiles: { [ROUTE]: profile(ROUTE), tries: profile('tries', { delivery: { ...profile('tries').delivery, backoff_ms: [4000, 4000] } }) } })
let op, planner, helper, worker

before(async () => {
  [planner, helper, worker] = await b.startWith('planner', 'helper', 'worker')
  op = new Operator(b.adminSocket)
})
after(async () => { op?.close(); await b.remove() })

const agent = (name) => ({ agent: { kind: 'agent', tenant: 'acme', name } })
const mint = (a, change, opts) => b.issuer.mint({ ...b.leaves[a.name], name: a.name }, change, opts)
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex')
const inStore = () => b.redis(async (r) => (await r.call('HKEYS', '{/}:s')).map(String))

// ---- (r, s) and (r, n - s) are signatures of the same by the same key ----

const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n // P-256's order
const number = (bytes) => BigInt(`0x${bytes.toString('hex')}`)
const bytesOf = (n) => Buffer.from(n.toString(16).padStart(64, '0'), 'hex')

function twinToken (token) {
  const [head, payload, signature] = token.split('.')
  const s = Buffer.from(signature, 'base64url')
  return `${head}.${payload}.${Buffer.concat([s.subarray(0, 32), bytesOf(N - number(s.subarray(32)))]).toString('base64url')}`
}

function tlv (der, at) { // of DER: where its body begins and ends
  const long = der[at + 1] & 0x80 ? der[at + 1] & 0x7f : 0
  const length = long ? Number(number(der.subarray(at + 2, at + 2 + long))) : der[at + 1]
  return { start: at, body: at + 2 + long, end: at + 2 + long + length }
}

function put (tag, ...parts) {
  const body = Buffer.concat(parts)
  const size = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), body])
}

function integer (n) {
  const hex = n.toString(16)
  const bytes = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex')
  return put(2, bytes[0] & 0x80 ? Buffer.from([0]) : Buffer.alloc(0), bytes)
}

function twinCertificate (pem) {
  const der = new X509Certificate(pem).raw
  const tbs = tlv(der, tlv(der, 0).body)
  const algorithm = tlv(der, tbs.end)
  const r = tlv(der, tlv(der, tlv(der, algorithm.end).body + 1).body)
  const s = tlv(der, r.end)
  const signature = put(0x30, der.subarray(r.start, r.end), integer(N - number(der.subarray(s.body, s.end))))
  return put(0x30, der.subarray(tbs.start, algorithm.end), put(3, Buffer.from([0]), signature))
}

test('R-3 A token that is revoked by its digest is refused whatever stands under it as its signature / another token is not', async () => {
  const token = await mint(planner)
  const twin = twinToken(token)
  await planner.submit(read(ROUTE), { token: twin }) // it verifies
  const r = await op.revoke({ token_sha256: digest(token.slice(0, token.lastIndexOf('.'))) })
  for (const one of [token, twin]) await denied(planner.submit(read(ROUTE), { token: one }), 'revoked')
  await planner.submit(read(ROUTE))
  await op.lift(r.revocation_id)
})

test('R-3 A certificate that is revoked by its digest is refused with the other signature too, and its twin with the first / another\'s is not', async () => {
  const leaf = b.leaves.planner
  const twin = twinCertificate(fs.readFileSync(leaf.cert))
  const file = b.path('twin.pem')
  fs.writeFileSync(file, `-----BEGIN CERTIFICATE-----\n${twin.toString('base64').match(/.{1,64}/g).join('\n')}\n-----END CERTIFICATE-----\n`)
  const thumbprint = createHash('sha256').update(twin).digest('base64url')
  assert.notEqual(thumbprint, leaf.thumbprint)
  const token = await b.issuer.mint({ ...leaf, thumbprint, name: 'planner' })
  const connect = () => new Agent({ ...leaf, cert: file, trust: b.serverCa.cert, name: 'planner' }, b.addr, { token })
  const other = connect()
  await other.whoami() // it verifies
  for (const [name, sha] of [['first', leaf.thumbprint], ['twin', thumbprint]]) {
    const r = await op.revoke({ certificate_sha256: sha })
    const again = connect()
    for (const one of [planner, other, again]) await shutOut(() => one.whoami())
    again.close()
    await helper.whoami()
    await op.lift(r.revocation_id, { reason: name })
  }
  await planner.whoami()
  other.close()
})

test('R-3 A subject\'s token that its issuer\'s clock dated ahead, as far as that is allowed, is refused too', async () => {
  const token = await mint(planner, { sub: 'user-early', iat: Math.floor(Date.now() / 1000) + 1 })
  await planner.submit(read(ROUTE), { token })
  const r = await op.revoke({ subject: 'user-early' })
  await denied(planner.submit(read(ROUTE), { token }), 'revoked')
  await op.lift(r.revocation_id)
})

// ---- what was put aside, and let go ----

const state = async (h) => (await planner.get(h.handoff_id)).state.replace('HANDOFF_STATE_', '')
async function asideAndBack () {
  const r = await op.revoke(agent('planner'))
  await op.lift(r.revocation_id, { release_handoffs: true })
  return Number(r.handoffs_quarantined)
}
async function clear () { // whatever is due is done
  const s = await worker.subscribe({ routes: [ROUTE] })
  await until('nothing to wait', async () => {
    const d = await s.delivery(500).catch(() => null)
    if (d) await s.complete(d)
    return !d && !Number((await op.route(ROUTE)).queued)
  }, 30000)
  await s.leave()
}

test('What was scheduled, and what is held for an approval, is so again when it is let go', async () => {
  await clear()
  const later = await planner.submit(read(ROUTE, { start_at_ms: Date.now() + 300000 }))
  const held = await planner.submit({ tool: 'refunds.issue_refund', side_effect: 'SIDE_EFFECT_WRITE', destination: 'https://api.example.com/x' })
  const plain = await planner.submit(read(ROUTE))
  assert.deepEqual([await state(later), await state(held), await state(plain)], ['SCHEDULED', 'HELD', 'QUEUED'])
  assert.equal(await asideAndBack(), 3)
  assert.deepEqual([await state(later), await state(held), await state(plain)], ['SCHEDULED', 'HELD', 'QUEUED'])
  const s = await worker.subscribe({ routes: [ROUTE] })
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, plain.handoff_id)
  await s.complete(d)
  await sleep(300)
  assert.equal(s.deliveries().length, 0)
  await s.leave()
})

test('What was let go is tried again no sooner, and no more often, than it would have been', async () => {
  await planner.submit(read('tries'))
  assert.equal(await asideAndBack() >= 1, true)
  const s = await worker.subscribe({ routes: ['tries'] })
  const first = await s.delivery(), failed = Date.now()
  await s.fail(first, true)
  await asideAndBack()
  const d = await s.delivery(15000)
  assert.ok(Date.now() - failed >= 4000, `${Date.now() - failed} ms: it backs off`)
  assert.equal(d.attempt, 2)
  await s.complete(d)
  await s.leave()
}, 60000)

test('Two revocations put the same aside: it is let go when the last of them is', async () => {
  await clear()
  const h = await planner.submit(read(ROUTE))
  const one = await op.revoke(agent('planner'))
  const two = await op.revoke({ tenant: 'acme' })
  await op.lift(one.revocation_id, { release_handoffs: true })
  await op.lift(two.revocation_id, { release_handoffs: true })
  assert.equal(await state(h), 'QUEUED')
  await clear()
})

// ---- a store that forgets, a disk that takes nothing ----

test('I4 A Redis that is emptied, and changed before any node looks: what it lost is put back', async () => {
  const r = await op.revoke(agent('planner'))
  await b.redis((c) => c.call('FLUSHALL'))
  const other = await op.revoke({ jti: 'another' })
  await until('it is there again', async () => (await inStore()).includes(`revocation/${r.revocation_id}`), 15000)
  await shutOut(() => planner.submit(read(ROUTE)))
  await until('it serves', () => helper.submit(read(ROUTE)).then(() => true, () => false))
  for (const one of [r, other]) await op.lift(one.revocation_id)
  await planner.submit(read(ROUTE))
})

test('attack 30 A state folder that takes no file keeps no revocation from being made, and has it once it can', async () => {
  const file = b.path('state', 'revocations')
  fs.rmSync(file)
  fs.mkdirSync(`${file}/in-the-way`, { recursive: true })
  const r = await op.revoke(agent('planner'))
  await shutOut(() => planner.submit(read(ROUTE)))
  assert.ok(b.log().includes('state_dir'))
  fs.rmSync(file, { recursive: true })
  await until('the file', () => fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes(r.revocation_id), 15000)
  await op.lift(r.revocation_id)
})
