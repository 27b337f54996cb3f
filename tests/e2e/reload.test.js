// What happens to open streams and leases when a reload takes rights away from their agent? Are files that were replaced read, and once?
import fs from 'node:fs'
import tls from 'node:tls'
import { X509Certificate } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, profile } from './lib/broker.js'
import { read } from './lib/agent.js'
import { StepClock } from './lib/faults.js'

const names = ['taken', 'kept', 'held', 'gone', 'watched', 'sender']
const b = new Broker({ profiles: Object.fromEntries(names.map((n) => [n, profile(n, n === 'kept' ? { delivery: { ...profile(n).delivery, lease_ms: 6000, resume_ms: 6000 } } : {})])) })
let planner, auditor, worker, worker2

before(async () => { [planner, auditor, worker, worker2] = await b.startWith('planner', 'auditor', 'worker', 'worker2') })
after(() => b.remove())

async function reload (change) {
  b.writeConfig(change)
  await b.reloaded()
  await sleep(100)
}
const without = (agent) => (t) => t.replace(new RegExp(`  - \\{name: ${agent}, .*\\n`), '')
const only = (agent, list, routes) => (t) => t.replace(new RegExp(`(name: ${agent}, .*${list}: )\\[[^\\]]*\\]`), `$1${JSON.stringify(routes)}`)

test('A-5 an agent that lost a route gets no more of its work, and nobody leases it in vain / its other routes go on, another agent serves', async () => {
  const s = await worker.subscribe({ routes: ['taken', 'kept'], max_in_flight: 4 })
  await reload(only('worker', 'serve', ['kept']))
  const { handoff_id } = await planner.submit(read('taken'))
  await planner.submit(read('kept'))
  const d = await s.delivery()
  assert.equal(d.envelope.route, 'kept')
  assert.equal((await s.complete(d)).ok, true)
  await sleep(1500)
  const h = await planner.get(handoff_id)
  assert.deepEqual([h.state, h.cursor, s.deliveries()], ['HANDOFF_STATE_QUEUED', 1, []])
  const other = await worker2.subscribe({ routes: ['taken'] })
  const again = await other.delivery()
  assert.deepEqual([again.lease.handoff_id, again.attempt], [handoff_id, 1])
  await other.complete(again)
  await other.leave()
  await s.leave()
  await reload()
})

test('A-5 a lease that its holder may no longer keep is stopped and given to another / one that it may keep is kept', async () => {
  const { handoff_id } = await planner.submit(read('held'))
  await planner.submit(read('kept'))
  const [s, stays] = [await worker.subscribe({ routes: ['held'] }), await worker.subscribe({ routes: ['kept'] })]
  const [held, kept] = [await s.delivery(), await stays.delivery()]
  await reload(only('worker', 'serve', ['kept']))
  const stop = await s.stop()
  assert.deepEqual([stop.lease, stop.reason], [held.lease, 'REASON_REVOKED'])
  assert.equal((await s.complete(held)).reason, 'REASON_LEASE_LOST')
  const other = await worker2.subscribe({ routes: ['held'] })
  const again = await other.delivery()
  assert.deepEqual([again.lease.handoff_id, again.attempt], [handoff_id, 1])
  assert.equal((await other.complete(again)).ok, true)
  await b.audited({ event: 'handoff.released', handoff_id, reason: 'route_denied' })
  await sleep(7000) // longer than the lease
  assert.equal((await stays.complete(kept)).ok, true)
  for (const x of [other, s, stays]) await x.leave()
  await reload()
})

test('I-7 the streams of an agent that is gone end: Subscribe with a notice, Watch, Run and Pipe / others stay', async () => {
  const { handoff_id } = await planner.submit(read('gone'))
  const s = await worker.subscribe({ routes: ['gone'] })
  const d = await s.delivery()
  await reload(without('worker'))
  assert.deepEqual((await s.stop()).lease, d.lease)
  assert.equal((await s.take('a notice', (f) => f.notice)).notice.kind, 'NOTICE_KIND_REVOKED')
  const end = await s.end()
  assert.deepEqual([end.code, end.reason], ['UNAUTHENTICATED', 'unknown_peer'])
  await b.audited({ event: 'decision', rpc: 'Subscribe', reason: 'unknown_peer' })
  const other = await worker2.subscribe({ routes: ['gone'] })
  const again = await other.delivery()
  assert.equal(again.lease.handoff_id, handoff_id)
  await reload()

  const theirs = await auditor.submit(read('watched'))
  const mine = await planner.submit(read('watched'))
  const [stays, watch, run, pipe] = [auditor.watch(theirs.handoff_id), planner.watch(mine.handoff_id), planner.run(read('watched')), planner.pipe()]
  pipe.write({ submit: { envelope: planner.envelope(read('watched')), ref: 1 } })
  for (const x of [stays, watch, run, pipe]) await x.take('its first message')
  await reload(without('planner'))
  for (const x of [watch, run, pipe]) assert.equal((await x.end()).reason, 'unknown_peer')
  assert.equal((await other.complete(again)).ok, true)
  await other.leave()
  await reload()
  const all = await worker.subscribe({ routes: ['watched'], max_in_flight: 4 })
  for (let i = 0; i < 4; i++) await all.complete(await all.delivery())
  assert.equal((await stays.all()).at(-1).state, 'HANDOFF_STATE_COMPLETED')
  await all.leave()
})

test('A-5 a watch of a route that the agent may no longer call ends as not found / another route\'s goes on', async () => {
  const [one, two] = [await planner.submit(read('watched')), await planner.submit(read('kept'))]
  const [lost, stays] = [planner.watch(one.handoff_id), planner.watch(two.handoff_id)]
  for (const x of [lost, stays]) await x.take('its first event')
  await reload(only('planner', 'call', ['kept']))
  assert.equal((await lost.end()).reason, 'not_found')
  const s = await worker.subscribe({ routes: ['kept'] })
  await s.complete(await s.delivery())
  assert.equal((await stays.all()).at(-1).state, 'HANDOFF_STATE_COMPLETED')
  await s.leave()
  await reload()
  await planner.cancel(one.handoff_id)
})

test('T5 no fresh assertion for work whose sender is gone: it is stopped and put aside / for others there is one', async () => {
  const [theirs, mine] = [await auditor.submit(read('sender')), await planner.submit(read('sender'))]
  const s = await worker.subscribe({ routes: ['sender'], max_in_flight: 2 })
  const both = [await s.delivery(), await s.delivery()]
  const [good, bad] = [theirs, mine].map((r) => both.find((d) => d.lease.handoff_id === r.handoff_id))
  await reload(without('planner'))
  s.cut()
  const again = await worker.subscribe({ routes: ['sender'], max_in_flight: 2, resume: [good.lease, bad.lease] })
  const stop = await again.stop()
  assert.deepEqual([stop.lease, stop.reason], [bad.lease, 'REASON_REVOKED'])
  const { assertion } = await again.take('an assertion', (f) => f.assertion)
  assert.deepEqual(assertion.lease, good.lease)
  await b.audited({ event: 'handoff.quarantined', handoff_id: mine.handoff_id, reason: 'unknown_peer' })
  assert.equal((await again.complete(good)).ok, true)
  assert.ok(!again.items.some((f) => f.assertion))
  await again.leave()
  await reload()
})

test('Files that were replaced are read once: by the SIGHUP that says so, taken or refused, or by the node itself when nobody does', async () => {
  const reloads = () => b.audit().filter((r) => r.event === 'config.reloaded').length
  const quiet = async () => { const n = reloads(); await sleep(4000); assert.equal(reloads(), n) } // it looks each second, and takes what stood for one look
  const put = (cert, key) => { fs.writeFileSync(b.server.cert, cert); fs.writeFileSync(b.server.key, key) }
  const own = [b.server.cert, b.server.key].map((f) => fs.readFileSync(f))
  const leaf = b.serverCa.leaf('next', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
  const next = [leaf.cert, leaf.key].map((f) => fs.readFileSync(f))
  put(...next)
  await b.reloaded()
  await quiet()
  put(next[0], own[1]) // a key that is not this certificate's
  await b.reloaded('deny')
  await quiet()
  const n = reloads()
  fs.writeFileSync(b.server.cert, own[0])
  await until('it to be taken up', () => reloads() > n)
  await quiet()
  assert.equal(b.audit().filter((r) => r.event === 'config.reloaded').at(-1).outcome, 'allow')
  await planner.whoami()
})

test('I-5 A certificate that was replaced while the configuration could not be read is taken up by itself, a minute later at the most, once it can be', async () => {
  const clock = new StepClock(), x = new Broker(clock.broker)
  try {
    const [p] = await x.startWith('planner')
    const shown = () => new Promise((yes, no) => {
      const s = tls.connect({ host: '127.0.0.1', port: x.port, servername: 'localhost', ca: fs.readFileSync(x.serverCa.cert), ALPNProtocols: ['h2'] }, () => { yes(s.getPeerX509Certificate().serialNumber); s.destroy() })
      s.on('error', no)
    })
    const leaf = x.serverCa.leaf('next', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
    const next = new X509Certificate(fs.readFileSync(leaf.cert)).serialNumber, first = await shown()
    assert.notEqual(first, next)
    x.writeConfig((t) => `${t}nonsense: 1\n`)
    for (const [to, from] of [[x.server.cert, leaf.cert], [x.server.key, leaf.key]]) fs.writeFileSync(to, fs.readFileSync(from))
    await until('a refusal', () => x.audit().some((r) => r.event === 'config.reloaded' && r.outcome === 'deny' && /nonsense/.test(r.message)))
    x.writeConfig()
    clock.set(30, 30)
    await sleep(4000)
    assert.equal(await shown(), first)
    clock.set(61, 61)
    await until('it to be taken', async () => await shown() === next)
    await p.whoami()
    await x.stop()
  } finally { await x.remove(); clock.remove() }
})
