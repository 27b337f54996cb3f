// Who is stopped in an incident, and when is that true? Agents, certificates, tokens, subjects, keys, issuers, tenants, routes and tools are revoked while
// work is under way: what asks is refused, connections close, what waits is put aside.
import fs from 'node:fs'
import path from 'node:path'
import { createHash } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { denied, read, refused, shutOut } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { STATIC_ISSUER } from './lib/tokens.js'
import { ROOT } from './lib/wire.js'

const rows = [
  { name: 'planner', tenant: 'acme', call: true }, { name: 'helper', tenant: 'acme', call: true },
  { name: 'worker', tenant: 'acme', serve: true }, { name: 'second', tenant: 'acme', serve: true },
  { name: 'alien', tenant: 'globex', call: true }
]
const SECOND = 'https://second.issuer.example' // registered by the test that revokes it
const issuers = [STATIC_ISSUER, SECOND]
const b = new Broker({ agents: rows, profiles: { [ROUTE]: profile(ROUTE, {}, issuers), other: profile('other', {}, issuers) } })
let op, planner, helper, worker

before(async () => {
  [planner, helper, worker] = await b.startWith('planner', 'helper', 'worker')
  op = new Operator(b.adminSocket)
})
after(async () => { op?.close(); await b.remove() })

const agent = (name, tenant = 'acme') => ({ agent: { kind: 'agent', tenant, name } })
const ref = (kind, name, tenant = 'acme') => ({ [kind]: { kind, tenant, name } })
const baton = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
const says = (...args) => { const r = baton(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout + r.stderr }
const mint = (a, change, opts) => b.issuer.mint({ ...b.leaves[a.name], name: a.name }, change, opts)
const sha256 = (text) => createHash('sha256').update(text)
const signed = (token) => token.split('.').slice(0, 2).join('.') // what its signature is over
const lifted = async (r, more) => op.lift(r.revocation_id, more)

test('I-7 R-3 attack 12 A revoked agent is refused, its connections close, its streams hear why, what it sent is put aside / the others go on, and lifted it is back', async () => {
  const { handoff_id } = await planner.submit(read(ROUTE))
  const others = await helper.submit(read(ROUTE))
  const watch = planner.watch(handoff_id)
  await watch.take('the first event')
  const r = await op.revoke(agent('planner'))
  assert.equal(r.done, true)
  assert.equal(r.nodes.length, 1)
  assert.equal(r.nodes[0].confirmed, true)
  assert.ok(r.nodes[0].closed >= 1, JSON.stringify(r))
  assert.equal(Number(r.handoffs_quarantined), 1)
  assert.equal((await watch.end()).reason, 'revoked')
  await shutOut(() => planner.submit(read(ROUTE)))
  const s = await worker.subscribe({ routes: [ROUTE] })
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, others.handoff_id)
  await s.complete(d)
  await sleep(300)
  assert.equal(s.deliveries().length, 0)
  await b.audited({ event: 'handoff.quarantined', handoff_id })
  await lifted(r)
  await planner.submit(read(ROUTE))
  const again = await s.delivery()
  await s.complete(again)
  await s.leave()
})

// ---- what else can be revoked: refused while it is, though another is not; and what was sent under it is put aside ----

// what: the request's target and more; bad: options of a submit that it hits; good: of one that it does not.
async function check (target, bad, good) {
  const before = await planner.submit(...bad)
  const r = await op.revoke(target)
  assert.equal(Number(r.handoffs_quarantined), 1, JSON.stringify(r))
  const refusal = await denied(planner.submit(...bad), 'revoked', 'PERMISSION_DENIED')
  assert.match(refusal.message, new RegExp(r.revocation_id))
  const s = await worker.subscribe({ routes: [ROUTE, 'other'] })
  const after = await planner.submit(...good)
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, after.handoff_id)
  await s.complete(d)
  await b.audited({ event: 'handoff.quarantined', handoff_id: before.handoff_id })
  await lifted(r, { release_handoffs: true })
  const back = await s.delivery()
  assert.equal(back.lease.handoff_id, before.handoff_id)
  await s.complete(back)
  await planner.submit(...bad)
  await s.complete(await s.delivery())
  await s.leave()
}

test('R-3 A token that is revoked by its digest or its jti is refused, another of the same subject is not', async () => {
  const [token, jti, other] = [await mint(planner), 'the-one', await mint(planner)]
  await check({ token_sha256: sha256(signed(token)).digest('hex') }, [read(ROUTE), { token }], [read(ROUTE), { token: other }])
  await check({ jti }, [read(ROUTE), { token: await mint(planner, { jti }) }], [read(ROUTE), { token: other }])
})

test('R-3 attack 12 A revoked subject: what was issued until then is refused, on the same connection and after a reconnect; what is issued later is good', async () => {
  const token = await mint(planner, { sub: 'user-eve' })
  const { handoff_id } = await planner.submit(read(ROUTE), { token })
  const eve = await b.agent('planner', { token })
  const watch = eve.watch(handoff_id)
  await watch.take('the first event')
  const r = await op.revoke({ subject: 'user-eve' })
  assert.equal(r.nodes[0].closed, 0) // the agent goes on
  assert.equal((await watch.end()).reason, 'revoked')
  await denied(planner.submit(read(ROUTE), { token }), 'revoked')
  const again = await b.agent('planner')
  await denied(again.submit(read(ROUTE), { token }), 'revoked')
  await denied(eve.get(handoff_id), 'revoked')
  await planner.submit(read(ROUTE)) // another subject's
  await sleep(2500) // past the clock skew that is allowed for, and the second
  const later = await mint(planner, { sub: 'user-eve' })
  await planner.submit(read(ROUTE), { token: later })
  await lifted(r)
  await planner.submit(read(ROUTE), { token })
  await drain()
})

async function drain () { // whatever waits is done
  const s = await worker.subscribe({ routes: [ROUTE, 'other'] })
  const waiting = async () => (await op.call('ListRoutes', { tenant: 'acme' })).routes.reduce((n, r) => n + Number(r.waiting), 0)
  while (await waiting() || s.deliveries().length) await s.complete(await s.delivery())
  await s.leave()
}

test('R-3 A revoked key, and a revoked issuer: all that they signed is refused / another key, another issuer is not', async () => {
  const token = await mint(planner, {}, { kid: 'ed' })
  await check({ key_id: 'ed' }, [read(ROUTE), { token }], [read(ROUTE)])
  await check({ key_id: 'ed', within: 'static' }, [read(ROUTE), { token }], [read(ROUTE)])
  await planner.submit(read(ROUTE))
  const r = await op.revoke(ref('issuer', 'static', ''))
  assert.equal(Number(r.handoffs_quarantined), 1)
  await denied(planner.submit(read(ROUTE)), 'revoked')
  await lifted(r)
  await planner.submit(read(ROUTE))
  await drain()
})

test('R-1 A revoked route, and a revoked tool: nothing goes in or out / another one does', async () => {
  await check(ref('route', 'other'), [read('other')], [read(ROUTE)])
  await check({ tool: 'orders.lookup' }, [read(ROUTE)], [{}])
  await check({ tool: 'orders.lookup', within: 'acme' }, [read(ROUTE)], [{}])
})

test('R-3 A revoked certificate closes its connections and is refused / the agents beside it go on', async () => {
  const { thumbprint } = b.leaves.helper
  await helper.submit(read(ROUTE))
  const r = await op.revoke({ certificate_sha256: thumbprint })
  assert.ok(r.nodes[0].closed >= 1)
  await shutOut(() => helper.submit(read(ROUTE)))
  await planner.submit(read(ROUTE))
  await lifted(r)
  await helper.submit(read(ROUTE))
  await drain()
})

test('A revoked tenant: all of it / another tenant goes on', async () => {
  const alien = await b.agent('alien')
  const r = await op.revoke({ tenant: 'acme' })
  await shutOut(() => planner.submit(read(ROUTE)))
  await shutOut(() => helper.whoami())
  await alien.submit(read(ROUTE))
  await lifted(r)
  await planner.submit(read(ROUTE))
  await drain()
})

test('attack 15 Work that a worker has is taken from it when its sender is revoked, and it is told / a lease of another sender\'s stays', async () => {
  const s = await worker.subscribe({ routes: [ROUTE], max_in_flight: 2 })
  const bad = await planner.submit(read(ROUTE))
  const [first] = [await s.delivery()]
  await helper.submit(read(ROUTE))
  const second = await s.delivery()
  const r = await op.revoke(agent('planner'))
  const stop = await s.stop()
  assert.equal(stop.lease.handoff_id, bad.handoff_id)
  assert.equal(stop.reason, 'REASON_REVOKED')
  const settled = await s.complete(first)
  assert.equal(settled.decision?.reason || settled.reason, 'REASON_LEASE_LOST', JSON.stringify(settled))
  await s.complete(second)
  await b.audited({ event: 'handoff.quarantined', handoff_id: bad.handoff_id })
  await lifted(r)
  await s.leave()
})

test('A revoked worker: its stream ends, its work goes to another', async () => {
  const second = await b.agent('second')
  const s = await second.subscribe({ routes: [ROUTE] })
  const { handoff_id } = await planner.submit(read(ROUTE))
  await s.delivery()
  const r = await op.revoke(agent('second'))
  assert.equal((await s.end()).reason, 'revoked')
  const w = await worker.subscribe({ routes: [ROUTE] })
  const d = await w.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  await w.complete(d)
  await w.leave()
  await lifted(r)
})

test('For a time: it ends by itself; until then it holds', async () => {
  const r = await op.revoke(agent('planner'), { until_ms: Date.now() + 8000 })
  await shutOut(() => planner.submit(read(ROUTE)))
  await until('its end', () => planner.submit(read(ROUTE)).then(() => true, () => false), 20000)
  await drain()
  assert.doesNotMatch(says('revocation', 'list'), new RegExp(r.revocation_id))
  assert.match(says('revocation', 'list', '--lifted'), new RegExp(`${r.revocation_id} +agent +planner +acme +over`))
})

test('revoke, list, show and lift say what is done, node by node / --dry-run does nothing', async () => {
  await planner.submit(read(ROUTE))
  assert.match(says('revoke', 'agent', 'planner', '--tenant', 'acme', '--dry-run', '--reason', 'a look'), /nothing was done: it would close \d+ connections?, and put 1 handoff that waits aside/)
  await planner.submit(read(ROUTE))
  const out = says('revoke', 'agent', 'planner', '--tenant', 'acme', '--incident', 'INC-7', '--reason', 'it leaks')
  assert.match(out, /^NODE +APPLIED +CONNECTIONS +QUARANTINED +STATE\ntest-node +\d+ ms +\d+ +2 +true$/m)
  assert.match(out, /true on 1\/1 nodes after \d+ ms: 2 handoffs put aside/)
  const id = out.match(/revocation ([0-9a-f]{16})/)[1]
  assert.match(says('revocation', 'list'), new RegExp(`^${id} +agent +planner +acme +in force .* it leaks$`, 'm'))
  const show = says('revocation', 'show', id)
  assert.match(show, /^incident: +INC-7$/m)
  assert.match(show, /^by: +uid=\d+ pid=\d+$/m)
  assert.equal(JSON.parse(says('revocation', 'show', id, '-o', 'json')).agent.name, 'planner')
  const line = await b.audited({ event: 'revocation.made' })
  assert.match(line.message, /^revoked agent acme\/planner \([0-9a-f]{16}\): /)
  await until('the last word', () => b.audit().some((r) => r.event === 'revocation.confirmed' && r.message.includes(id)))
  assert.match(says('revocation', 'lift', id, '--release', '--reason', 'it was mended'), /true on 1\/1 nodes after \d+ ms: 2 handoffs released/)
  assert.match(says('revocation', 'show', id), /^because: +it was mended$/m)
  const twice = baton('revocation', 'lift', id, '--reason', 'again')
  assert.notEqual(twice.status, 0)
  assert.match(twice.stderr, /lifted already/)
  await drain()
  assert.match((await b.http('/metrics')).body, /^baton_revocations\{kind="agent"\} 0$/m)
})

test('What cannot be meant is refused by the name of its field, and revokes nobody', async () => {
  const cases = [
    [{ }, /target: say what/], [agent('nobody'), /no such agent/], [agent('plan*er'), /agent: a name is/], [agent('planner\n'), /control characters/],
    [agent('planner', ''), /its tenant/], [ref('route', 'nowhere'), /no such route/], [{ tenant: 'nobodys' }, /no such tenant/],
    [{ tool: 'no.such' }, /no profile there has a tool/], [ref('issuer', 'nobody', ''), /no issuer of this name/], [{ subject: '' }, /subject: it is empty/],
    [{ subject: 'a\u0007b' }, /control characters/], [{ subject: 'x'.repeat(2049) }, /too long/], [{ jti: 'a', within: 'nobody' }, /no issuer/],
    [{ certificate_sha256: 'abc' }, /64 hex digits/], [{ token_sha256: 'g'.repeat(64) }, /64 hex digits/], [{ ...agent('planner'), within: 'acme' }, /leave it out/],
    [{ jti: 'a', issued_before_ms: 5 }, /leave it out/], [{ ...agent('planner'), until_ms: 5 }, /time is over/], [{ ...agent('planner'), until_ms: -5 }, /until_ms/],
    [{ ...agent('planner'), reason: '' }, /reason: say why/], [{ ...agent('planner'), reason: 'two\nlines' }, /control characters/], [agent('рlanner'), /a name is/]
  ]
  for (const [request, want] of cases) {
    const r = await refused(op.revoke(request, request))
    assert.match(r.message, want, `${JSON.stringify(request)}: ${r.message}`)
  }
  assert.match(says('revocation', 'list', '--no-headers'), /^$/)
  await planner.submit(read(ROUTE))
  await drain()
})

test('attack 29 It survives what the broker and its Redis do not: restarts of either, and of both', async () => {
  const r = await op.revoke(agent('planner'))
  const s = await op.revoke({ subject: 'user-mallory' })
  const token = await mint(helper, { sub: 'user-mallory', iat: Math.floor(Date.now() / 1000) - 5 })
  const again = async () => {
    op.close()
    op = new Operator(b.adminSocket)
    ;[planner, helper, worker] = [await b.agent('planner'), await b.agent('helper'), await b.agent('worker')]
    await shutOut(() => planner.submit(read(ROUTE)))
    await denied(helper.submit(read(ROUTE), { token }), 'revoked')
    await helper.submit(read(ROUTE))
    await drain()
  }
  await b.stop()
  await b.start()
  await again()
  await b.crash()
  await b.start()
  await again()
  for (const one of [r, s]) await lifted(one)
  await planner.submit(read(ROUTE))
})

const anew = async () => { // after a restart of batond
  op.close()
  op = new Operator(b.adminSocket)
  ;[planner, helper, worker] = [await b.agent('planner'), await b.agent('helper'), await b.agent('worker')]
}
const inStore = () => b.redis(async (r) => (await r.call('HKEYS', '{/}:s')).map(String).filter((k) => k.startsWith('revocation/')))

test('I-7 R-1 R-3 attack 12 Each kind of revocation, made by the command, holds after restarts of batond, of its Redis and of both, until it is lifted / what it does not name is taken all along', async () => {
  says('issuer', 'add', 'second', '--url', SECOND, '--tenant', 'acme', '--jwks', b.issuer.file, '--reason', 'a second provider')
  let second = await b.agent('second'), alien = await b.agent('alien')
  const [one, gone] = [await mint(planner), await mint(planner, { sub: 'user-gone' })]
  const by = { jti: await mint(planner, { jti: 'jti-gone' }), key: await mint(planner, {}, { kid: 'rs' }), issuer: await mint(planner, { iss: SECOND }) }
  const close = { tool: 'orders.close', side_effect: 'SIDE_EFFECT_WRITE' }
  const kinds = { // what the command is given; what is refused then
    agent: [['helper', '--tenant', 'acme'], () => helper.submit(read(ROUTE))],
    cert: [[b.leaves.second.thumbprint], () => second.whoami()],
    token: [[sha256(signed(one)).digest('hex')], () => planner.submit(read(ROUTE), { token: one })],
    jti: [['jti-gone', '--within', 'static'], () => planner.submit(read(ROUTE), { token: by.jti })],
    subject: [['user-gone'], () => planner.submit(read(ROUTE), { token: gone })],
    issuer: [['second'], () => planner.submit(read(ROUTE), { token: by.issuer })],
    key: [['rs', '--within', 'static'], () => planner.submit(read(ROUTE), { token: by.key })],
    tenant: [['globex'], () => alien.whoami()],
    route: [['other', '--tenant', 'acme'], () => planner.submit(read('other'))],
    tool: [['orders.close', '--within', 'acme'], () => planner.submit(close)]
  }
  const each = async (judge) => { for (const [kind, [, asks]] of Object.entries(kinds)) await judge(asks, kind) }
  const taken = (asks, kind) => asks().catch((e) => assert.fail(`${kind}: ${e.message}`))
  const holds = async (when) => {
    await each((asks, kind) => shutOut(asks).catch((e) => assert.fail(`${kind}, ${when}: ${e.message}`)))
    for (const more of [{}, { token: await mint(planner, { jti: 'jti-stays' }) }, { token: await mint(planner, {}, { kid: 'ed' }) }]) await planner.submit(read(ROUTE), more)
    await planner.submit({}) // another tool
    await worker.whoami()
  }
  const back = async () => {
    await anew()
    ;[second, alien] = [await b.agent('second'), await b.agent('alien')]
  }
  await each(taken)
  const ids = Object.entries(kinds).map(([kind, [what]]) => says('revoke', kind, ...what, '--for', '1h', '--reason', `a test of ${kind}`).match(/revocation ([0-9a-f]{16})/)[1])
  await holds('at once')
  for (const kind of Object.keys(kinds)) assert.match(says('revocation', 'list'), new RegExp(`^[0-9a-f]{16} +${kind} .* a test of ${kind}$`, 'm'))
  await b.stop()
  await b.start()
  await back()
  await holds('after a restart of both in good order')
  process.kill(await b.redisPid(), 'SIGKILL')
  await until('it serves again', async () => (await b.http('/readyz')).status === 200 && await planner.submit(read(ROUTE)).then(() => true, () => false), 30000)
  await holds('after Redis was killed')
  await b.crash()
  await b.start()
  await back()
  await holds('after both were killed')
  for (const id of ids) says('revocation', 'lift', id, '--release', '--reason', 'the test is over')
  await each(taken)
  says('issuer', 'remove', 'second', '--yes', '--reason', 'the test is over')
  await drain()
}, 120000)

test('I4 A Redis that is emptied lets nobody in again: while the broker runs, and while it does not', async () => {
  const r = await op.revoke(agent('planner'))
  await b.redis((c) => c.call('FLUSHALL'))
  await until('it is there again', async () => (await inStore()).includes(`revocation/${r.revocation_id}`), 15000)
  await shutOut(() => planner.submit(read(ROUTE)))
  await until('it serves', () => helper.submit(read(ROUTE)).then(() => true, () => false))
  await b.redis((c) => c.call('FLUSHALL'))
  await b.crash()
  await b.start()
  await anew()
  await shutOut(() => planner.submit(read(ROUTE)))
  assert.ok((await inStore()).includes(`revocation/${r.revocation_id}`))
  await helper.submit(read(ROUTE))
  await lifted(r)
  await planner.submit(read(ROUTE))
  await drain()
})

test('--local works while Redis does not: the peer is cut off here, and all hear of it when it is back / without --local, it says so', async () => {
  const redis = await b.redisPid()
  const watch = await helper.subscribe({ routes: [ROUTE] }, { wait: false }).catch(() => null)
  watch?.cut()
  await planner.whoami()
  process.kill(redis, 'SIGSTOP')
  try {
    const without = baton('revoke', 'agent', 'planner', '--tenant', 'acme', '--reason', 'no Redis')
    assert.equal(without.status, 75, without.stdout + without.stderr)
    assert.match(without.stderr, /--local/)
    const out = says('revoke', 'agent', 'planner', '--tenant', 'acme', '--local', '--reason', 'no Redis')
    assert.match(out, /^test-node +\d+ ms +[1-9]\d* +\d+ +true$/m)
    await shutOut(() => planner.whoami())
  } finally { process.kill(redis, 'SIGCONT') }
  const [{ id }] = (await op.call('ListRevocations')).revocations
  await until('all hear of it', async () => (await inStore()).includes(`revocation/${id}`), 15000)
  await shutOut(() => planner.submit(read(ROUTE)))
  await b.stop()
  await b.start()
  await anew()
  await shutOut(() => planner.submit(read(ROUTE)))
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id) // what was asked of the stopped Redis too
  await planner.submit(read(ROUTE))
  await drain()
})

test('attack 17 attack 30 What is revoked stands in a file of mode 0600; a damaged one keeps batond from starting, by its name', async () => {
  const file = b.path('state', 'revocations')
  const r = await op.revoke(agent('planner'))
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  const good = fs.readFileSync(file)
  await b.stop()
  for (const bad of [good.subarray(0, good.length - 80), Buffer.concat([good.subarray(0, 40), Buffer.from('x'), good.subarray(41)]), Buffer.alloc(0)]) {
    fs.writeFileSync(file, bad)
    b.launch()
    await b.exited
    assert.notEqual(b.exit.code, 0)
    assert.match(b.log(), /revocations is damaged/)
  }
  fs.writeFileSync(file, good)
  await b.start()
  await anew()
  await shutOut(() => planner.submit(read(ROUTE)))
  await lifted(r)
})

test('The commands of the README for incidents do what it says', async () => {
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
  const block = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/```sh\n(baton revoke [^`]*)```/)[1].replaceAll('planner2', 'planner')
  await planner.submit(read(ROUTE))
  const r = spawnSync('bash', ['-euc', block], { encoding: 'utf8', env: { PATH: `${path.dirname(BATON)}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  assert.equal(r.status, 0, r.stdout + r.stderr)
  assert.match(r.stderr, /put 1 handoff that waits aside[^]*: 1 handoff put aside[^]*: 1 handoff released/)
  await planner.submit(read(ROUTE))
  await drain()
})
