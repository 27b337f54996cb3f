// Is somebody who is revoked stopped on every node, under load, and by nodes that were stopped themselves while it was said? tests/contain makes larger runs.
import fs from 'node:fs'
import { execFileSync, spawn } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { BATON, ROUTE, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { read, refused, shutOut } from './lib/agent.js'
import { Containment, holds } from './lib/contain.js'
import { Operator } from './lib/operator.js'
import { thumbprint } from './lib/pki.js'
import { F, Raw, T, frame, headers, identity, message, u32 } from './lib/rawh2.js'
import { api } from './lib/wire.js'

const agents = [{ name: 'planner', tenant: 'acme', call: true }, { name: 'helper', tenant: 'acme', call: true }, { name: 'worker', tenant: 'acme', serve: true }]
const cluster = new Cluster(2, { agents, profiles: { [ROUTE]: profile(ROUTE) } })
const target = { agent: { kind: 'agent', tenant: 'acme', name: 'planner' } }
const big = () => read(ROUTE, { payload: Buffer.alloc(900 * 1024, 32) })
let here, there, op

const agentOf = async (node, name) => node.agent(name, { token: await cluster.first.issuer.mint({ ...cluster.first.leaves[name], name }) })
const all = async () => (await op.call('ListHandoffs', { tenant: 'acme', sender: 'planner', filter: { page_size: 100 } })).handoffs

before(async () => {
  await cluster.start()
  ;[here, there] = cluster.nodes
  op = new Operator(here.adminSocket)
})
after(async () => { op?.close(); there?.signal('SIGCONT'); await cluster.stop(); await cluster.remove() })

const states = (pid) => fs.readdirSync(`/proc/${pid}/task`).map((t) => fs.readFileSync(`/proc/${pid}/task/${t}/stat`, 'latin1').split(') ').at(-1)[0])

async function quiet () { // nothing waits, nobody is revoked
  for (const { id } of (await op.call('ListRevocations')).revocations) await op.lift(id)
  await there.ready()
  for (const h of await all()) if (/QUEUED|QUARANTINED|LEASED/.test(h.state)) await (await agentOf(here, 'planner')).cancel(h.handoff_id).catch(() => {})
}

test('R-3 I4 Three nodes, 300 peers, work under way: a revoked agent is cut off everywhere, nothing of it is accepted or delivered after the command returned, nobody else is cut', async () => {
  const c = new Containment({ nodes: 3, peers: 300, rounds: 4 })
  try {
    await c.start()
    const line = await c.run()
    console.log(`# contain: ${JSON.stringify(line)}`)
    assert.ok(holds(line), JSON.stringify({ ...line, accepted: c.accepted, delivered: c.delivered }))
    assert.ok(line.quarantined > 0)
  } finally { await c.stop() }
}, 180000)

test('R-3 What a revocation would close is counted on every node before it is made, by agent, certificate and tenant, and nothing is done / then so much is closed, and who put what aside is said node by node', async () => {
  const on = { [here.name]: here, [there.name]: there }
  const made = []
  for (const [node, n] of [[here, 1], [there, 3]]) for (let i = 0; i < n; i++) made.push(await agentOf(node, 'helper'))
  for (const a of made) await a.whoami()
  const helper = { agent: { ...target.agent, name: 'helper' } }
  const { handoff_id } = await made[0].submit(read(ROUTE))
  const counts = (r) => Object.fromEntries(r.nodes.map((n) => [n.node, n.closed]))
  const expected = { [here.name]: 1, [there.name]: 3 }
  for (const asked of [helper, { certificate_sha256: thumbprint(cluster.first.leaves.helper.cert) }]) {
    const r = await op.revoke(asked, { dry_run: true })
    assert.deepEqual([counts(r), Number(r.connections_closed), r.nodes_missing, r.nodes.every((n) => n.confirmed)], [expected, 4, 0, true], JSON.stringify(asked))
  }
  assert.ok(Number((await op.revoke({ tenant: 'acme' }, { dry_run: true })).connections_closed) >= 4)
  assert.deepEqual((await op.revoke({ tool: 'orders.lookup', within: 'acme' }, { dry_run: true })).nodes, []) // closes none anywhere
  const { status, text } = await baton('revoke', 'agent', 'helper', '--tenant', 'acme', '--dry-run', '--reason', 'a look')
  assert.equal(status, 0, text)
  assert.match(text, /^NODE +CONNECTIONS +STATE$/m)
  for (const name in on) assert.match(text, new RegExp(`^${name} +${expected[name]} +counted$`, 'm'))
  assert.match(text, /nothing was done: it would close 4 connections, and put 1 handoff that waits aside/)
  for (const a of made) await a.whoami() // all of them are served
  assert.equal((await op.call('ListRevocations')).revocations.length, 0)
  const r = await op.revoke(helper)
  assert.deepEqual([counts(r), Number(r.connections_closed), Number(r.handoffs_quarantined)], [expected, 4, 1])
  assert.deepEqual(r.nodes.map((n) => n.aside).sort(), [0, 1])
  await op.lift(r.revocation_id)
  await (await agentOf(here, 'helper')).cancel(handoff_id)
  for (const a of made) a.close()
})

test('R-3 Two operators who ask at once what a revocation would close each get an answer of their own, or are told to ask again / a node that stands still is named, and the command says 75', async () => {
  const one = await agentOf(there, 'helper')
  await one.whoami()
  const asked = (name) => op.revoke({ agent: { ...target.agent, name } }, { dry_run: true })
  const alone = [Number((await asked('worker')).connections_closed), Number((await asked('helper')).connections_closed)]
  assert.notEqual(alone[0], alone[1])
  const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => asked(i % 2 ? 'helper' : 'worker').catch((e) => e)))
  let good = 0
  answers.forEach((r, i) => {
    if (r instanceof Error) return assert.match(r.details, /ask again/)
    good += r.nodes_missing === 0
    if (r.nodes_missing === 0) assert.equal(Number(r.connections_closed), alone[i % 2], JSON.stringify(r))
    else assert.ok(r.nodes.some((n) => /ask again/.test(n.error)))
  })
  assert.ok(good >= 1)
  there.signal('SIGSTOP')
  try {
    const { status, text } = await baton('revoke', 'agent', 'helper', '--tenant', 'acme', '--dry-run', '--reason', 'a look')
    assert.equal(status, 75, text)
    assert.match(text, new RegExp(`^${there.name} +\\? +(it has not counted|silent)`, 'm'))
  } finally { there.signal('SIGCONT') }
  await there.ready()
  one.close()
})

test('R-3 attack 24 A dry run says of each node that has not counted that it has not: two that have one name, and those that are too many to be told of by name', async () => {
  const one = await agentOf(there, 'helper')
  await one.whoami()
  const u = (n, v) => { const x = Buffer.alloc(n); x.writeUIntBE(v, 0, n); return x }
  const names = [there.name, ...Array.from({ length: 69 }, (_, i) => `many-${i}`)] // they say that they live by whatever comes
  await cluster.redis.call('HSET', '{/}:n', ...names.flatMap((n, i) => [`lie-${i}`, Buffer.concat([u(6, Date.now() + 60000), u(6, 2 ** 47), u(2, 0), Buffer.from(n)])]))
  try {
    const r = await until('them to be seen', async () => { const x = await op.revoke({ agent: { ...target.agent, name: 'helper' } }, { dry_run: true }); return x.nodes_missing && x })
    assert.ok([0, 1].includes(r.nodes_missing - names.length), `${r.nodes_missing}: all of them, named or not, and the real one when it is not`)
    const { status, text } = await baton('revoke', 'agent', 'helper', '--tenant', 'acme', '--dry-run', '--reason', 'a look')
    assert.equal(status, 75, text)
    assert.match(text, /8 more nodes are not shown, and what they would close is not counted/)
  } finally { await cluster.redis.call('HDEL', '{/}:n', ...names.map((_, i) => `lie-${i}`)) }
  await cluster.redis.call('HSET', '{/}:n', 'lie-0', Buffer.concat([u(6, Date.now() + 60000), u(6, 2 ** 47), u(2, 0), Buffer.from(there.name)]))
  try {
    const { status, text } = await until('only that to be left', async () => { const r = await baton('revoke', 'agent', 'helper', '--tenant', 'acme', '--dry-run', '--reason', 'a look'); return !/many/.test(r.text) && r })
    assert.equal(status, 75, text)
    assert.match(text, new RegExp(`^${there.name} +1 +counted$`, 'm'))
    assert.match(text, new RegExp(`^${there.name} +\\? +it has not counted`, 'm'))
  } finally { await cluster.redis.call('HDEL', '{/}:n', 'lie-0') }
  await until('it to be forgotten', async () => (await op.revoke({ agent: { ...target.agent, name: 'helper' } }, { dry_run: true })).nodes_missing === 0)
  one.close()
})

// A delivery for a worker that opens no window: a part of it is with the worker, the rest waits here.
async function parked (node) {
  const planner = await agentOf(node, 'planner')
  const raw = await new Raw(identity(node, cluster.first.leaves.worker)).greet()
  const token = await cluster.first.issuer.mint({ ...cluster.first.leaves.worker, name: 'worker' })
  const open = api.baton.v1.HandoffService.service.Subscribe.requestSerialize({ open: { routes: [ROUTE], max_in_flight: 1 } })
  raw.write(frame(T.HEADERS, F.END_HEADERS, 1, headers({ authorization: `Bearer ${token}` }, '/baton.v1.HandoffService/Subscribe')), frame(T.DATA, 0, 1, message(open)))
  raw.bytes = () => raw.frames.filter((f) => f.type === T.DATA && f.stream === 1).reduce((n, f) => n + f.body.length, 0)
  raw.openWindow = () => raw.write(frame(T.WINDOW_UPDATE, 0, 0, u32(1 << 24)), frame(T.WINDOW_UPDATE, 0, 1, u32(1 << 24)))
  await until('Opened', () => raw.bytes() > 0)
  const { handoff_id } = await planner.submit(big())
  await until('as much as its window takes', () => raw.bytes() === 65535)
  return { raw, handoff_id }
}

test('I4 attack 15 A delivery that waits behind a closed window when its sender is revoked is never sent / another sender\'s is', async () => {
  const { raw, handoff_id } = await parked(there)
  const r = await op.revoke(target)
  assert.equal(r.nodes_missing, 0)
  assert.equal(r.nodes.reduce((sum, n) => sum + n.aside, 0), Number(r.handoffs_quarantined))
  raw.openWindow()
  await raw.reset(1)
  await sleep(300)
  assert.equal(raw.bytes(), 65535)
  await until('its quarantine', async () => (await all()).find((h) => h.handoff_id === handoff_id).state === 'HANDOFF_STATE_QUARANTINED')
  raw.close()
  await quiet()
  const honest = await parked(there)
  assert.equal((await op.revoke({ agent: { ...target.agent, name: 'helper' } })).nodes_missing, 0)
  honest.raw.openWindow()
  await until('all of it', () => honest.raw.bytes() > 900 * 1024)
  honest.raw.close()
  await quiet()
})

// The command waits until a node that does not answer has fenced itself.
async function revokeBesides () {
  const r = await op.revoke(target)
  const gone = r.nodes.find((n) => n.node === there.name)
  assert.equal(gone.confirmed, false)
  assert.match(gone.error, /^silent for \d+ s: it has fenced itself/)
  assert.ok(Number(gone.error.match(/\d+/)[0]) >= 10, gone.error)
  assert.ok(r.nodes.find((n) => n.node === here.name).confirmed)
  assert.equal(r.nodes_missing, 0)
  return r
}

test('I4 A node that is stopped with a delivery parked, and goes on after the revocation, does not send it', async () => {
  const { raw, handoff_id } = await parked(there)
  there.signal('SIGSTOP')
  try {
    await revokeBesides()
    raw.openWindow() // while the node sleeps: it finds it first
    await sleep(300)
  } finally { there.signal('SIGCONT') }
  await raw.reset(1)
  await sleep(500)
  assert.equal(raw.bytes(), 65535)
  raw.close()
  await until('nobody has it', async () => !/LEASED|WORKING/.test((await all()).find((h) => h.handoff_id === handoff_id).state), 60000)
  await quiet()
}, 120000)

test('I4 A node that is stopped while an assertion is had signed anew, and goes on after the revocation of who sent the work, does not send it / of another sender it does', async () => {
  const worker = await agentOf(there, 'worker'), keeper = Number(execFileSync('pgrep', ['-P', String(there.process.pid), 'batond-keeper'], { encoding: 'utf8' }))
  const resumed = async (sender) => {
    await (await agentOf(there, sender)).submit(read(ROUTE))
    const s = await worker.subscribe({ routes: [ROUTE] }), d = await s.delivery()
    s.cut()
    process.kill(keeper, 'SIGSTOP')
    const again = await worker.subscribe({ routes: [ROUTE], resume: [d.lease] })
    assert.equal(again.granted.resumed.length, 1)
    await sleep(500) // it is asked for now
    return { again, d }
  }
  const fine = await resumed('helper')
  process.kill(keeper, 'SIGCONT')
  assert.deepEqual((await fine.again.take('an assertion', (f) => f.assertion)).assertion.lease, fine.d.lease)
  await fine.again.complete(fine.d)
  await fine.again.leave()
  const { again } = await resumed('planner')
  there.signal('SIGSTOP')
  await until('every thread to stand', () => states(there.process.pid).every((s) => s === 'T'))
  assert.deepEqual(again.items.filter((f) => f.assertion), [])
  process.kill(keeper, 'SIGCONT') // its answer is in the pipe when the node goes on
  try { await revokeBesides() } finally { there.signal('SIGCONT') }
  await sleep(1500)
  assert.deepEqual(again.items.filter((f) => f.assertion), [])
  again.cut()
  await quiet()
}, 120000)

test('I4 A node that is stopped in the middle of an accept: what it had asked the store for is not taken when that comes late / another agent\'s is, asked again', async () => {
  const [planner, helper] = [await agentOf(there, 'planner'), await agentOf(there, 'helper')]
  await planner.whoami()
  const before = (await all()).length
  there.toStore.set('hole') // what it says to Redis from now on comes late
  const asked = refused(planner.submit(read(ROUTE), { timeout: 60000 }))
  await sleep(300)
  there.signal('SIGSTOP')
  await revokeBesides()
  there.toStore.set('pass')
  await sleep(500)
  assert.equal((await all()).length, before)
  there.signal('SIGCONT')
  const end = await asked // or its connection closes under it when the node hears of the revocation: that is no yes either
  assert.ok(/^(store_unavailable|revoked)$/.test(end.reason) || (end.code === 'UNAVAILABLE' && !end.reason), `${end.code} ${end.reason} ${end.message}`)
  await until('it serves', () => helper.submit(read(ROUTE)).then(() => true, () => false), 30000)
  await shutOut(() => planner.submit(read(ROUTE)))
  assert.equal((await all()).length, before)
  await quiet()
}, 120000)

test('I3 I4 A node that is cut off from the store takes nothing from anybody once it may have missed a revocation, and says so in /readyz / back, it serves', async () => {
  const [planner, helper] = [await agentOf(there, 'planner'), await agentOf(there, 'helper')]
  await helper.whoami()
  there.toStore.set('hole')
  await revokeBesides()
  const ready = await there.http('/readyz')
  assert.equal(ready.status, 503)
  assert.match(ready.body, /registry/)
  assert.match((await refused(helper.whoami())).reason, /store_unavailable/)
  assert.match((await refused(planner.whoami())).reason, /store_unavailable/)
  there.toStore.set('pass')
  await until('it serves', () => helper.whoami().then(() => true, () => false), 30000)
  await shutOut(() => planner.whoami())
  await quiet()
}, 120000)

function baton (...args) {
  const p = spawn(BATON, args, { env: { PATH: process.env.PATH, HOME: here.dir, BATON_ADMIN_ADDR: `unix:${here.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  let text = ''
  for (const out of [p.stdout, p.stderr]) out.setEncoding('utf8').on('data', (d) => { text += d })
  return new Promise((done) => p.on('close', (status) => done({ status, text })))
}

test('I4 R-3 The command says 75 while a node that stands still may not have fenced itself, and is in force all the same / waited for, it names that node, and says 0', async () => {
  const [planner, late] = [await agentOf(here, 'planner'), await agentOf(there, 'planner')]
  await late.whoami()
  there.signal('SIGSTOP')
  await until('every thread to stand', () => states(there.process.pid).every((s) => s === 'T'))
  try {
    const revoke = (...more) => baton('revoke', 'agent', 'planner', '--tenant', 'acme', '--reason', 'a node stands still', ...more)
    const short = await revoke('--timeout', '2s')
    assert.equal(short.status, 75, short.text)
    assert.match(short.text, /not every node has confirmed it in time[^]*it stays in force/)
    await shutOut(() => planner.whoami())
    const long = await revoke()
    assert.equal(long.status, 0, long.text)
    assert.match(long.text, new RegExp(`^${here.name} +\\d+ ms +\\d+ +\\d+ +true$`, 'm'))
    assert.match(long.text, new RegExp(`^${there.name} +- +\\d+ +\\d+ +silent for \\d+ s: it has fenced itself, and hears of this before it serves again$`, 'm'))
    assert.match(long.text, /true on 1\/2 nodes after \d+ ms/)
  } finally { there.signal('SIGCONT') }
  const again = await agentOf(there, 'helper')
  await until('it serves', () => again.whoami().then(() => true, () => false), 30000)
  await shutOut(() => late.whoami())
  await quiet()
}, 120000)

test('I4 R-3 What was revoked with --local is kept: a node that is killed before Redis is back lives by it when it begins anew, and the other hears of it / lifted, it is over on both', async () => {
  const agents = async () => [await agentOf(here, 'planner'), await agentOf(there, 'planner')]
  for (const a of await agents()) await a.whoami()
  for (const n of cluster.nodes) n.toStore.set('hole')
  const local = await baton('revoke', 'agent', 'planner', '--tenant', 'acme', '--local', '--reason', 'Redis is away')
  assert.equal(local.status, 0, local.text)
  await shutOut(async () => (await agents())[0].whoami())
  here.signal('SIGKILL')
  await here.exited
  here.launch() // without a store it serves nobody, and does not forget
  await sleep(1500)
  for (const n of cluster.nodes) n.toStore.set('pass')
  await here.ready()
  op.close()
  op = new Operator(here.adminSocket)
  const [mine, its] = await agents()
  await shutOut(() => mine.whoami())
  await until('the other to hear of it', () => refused(its.whoami()).then((r) => r.reason === 'revoked', () => false), 30000)
  const [{ id }] = (await op.call('ListRevocations')).revocations
  const lifted = await baton('revocation', 'lift', id, '--reason', 'it is back')
  assert.equal(lifted.status, 0, lifted.text)
  for (const a of [mine, its]) await a.whoami()
  await quiet()
}, 120000)

test('I4 A node that dies with work whose sender is revoked then: who is next gets none of it / another sender\'s they get', async () => {
  const [planner, helper, old, next] = [await agentOf(here, 'planner'), await agentOf(here, 'helper'), await agentOf(there, 'worker'), await agentOf(here, 'worker')]
  const second = await next.subscribe({ routes: [ROUTE] })
  for (let d; (d = await second.delivery(500).catch(() => null)) || Number((await op.route(ROUTE)).queued);) if (d) await second.complete(d) // of the tests before
  await second.leave()
  const first = await old.subscribe({ routes: [ROUTE], max_in_flight: 2 })
  const its = await planner.submit(read(ROUTE))
  await first.delivery()
  const others = await helper.submit(read(ROUTE))
  await first.delivery()
  const third = await next.subscribe({ routes: [ROUTE] })
  there.signal('SIGKILL')
  await there.exited
  await op.revoke(target)
  const d = await third.delivery(30000)
  assert.equal(d.lease.handoff_id, others.handoff_id)
  await third.complete(d)
  await until('it is in quarantine', async () => (await all()).find((h) => h.handoff_id === its.handoff_id).state === 'HANDOFF_STATE_QUARANTINED', 30000)
  assert.equal(third.deliveries().length, 0)
  third.cut()
  there.launch()
  await there.ready()
  await quiet()
}, 120000)
