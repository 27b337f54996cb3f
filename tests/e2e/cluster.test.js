// Are several nodes on one Redis one broker? What one accepts the other delivers, what one held when it went the other takes over, and a node that
// cannot read what the others wrote stays out.
import fs from 'node:fs'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Proxy } from './lib/proxy.js'
import { denied, read } from './lib/agent.js'
import { Redis } from './lib/redis.js'
import { encode } from './lib/wire.js'

const routes = ['woken', 'killed', 'resumed', 'drained', 'keys', 'names', 'audits', 'late', 'owed']
const delivery = { ...profile('x').delivery, lease_ms: 2000, resume_ms: 1500 }
const other = {} // index of a node → what its configuration says otherwise
const cluster = new Cluster(3, {
  profiles: Object.fromEntries(routes.map((n) => [n, profile(n, { delivery: n === 'killed' ? { ...delivery, lease_ms: 600000 } : n === 'owed' || n === 'resumed' ? { ...delivery, lease_ms: 60000, resume_ms: 60000 } : delivery })])),
  config: (n, text) => (other[n.index] || ((t) => t))(text)
})
const [a, b, c] = cluster.nodes
const made = []
async function agent (node, name) {
  const one = node.through(name, await cluster.first.issuer.mint({ ...cluster.first.leaves[name], name }))
  made.push(one)
  return one
}

before(() => cluster.start())
after(async () => {
  for (const one of made) one.close()
  try { await cluster.stop() } finally { await cluster.remove() }
})

test('What one node accepts is delivered by another one at once: it is woken', async () => {
  const [planner, worker] = [await agent(a, 'planner'), await agent(b, 'worker')]
  const s = await worker.subscribe({ routes: ['woken'] })
  assert.equal(s.granted.node, b.name)
  const run = (await cluster.redis.call('GET', `{/}:node:${b.name}`)).toString()
  await until('that node to wait for work', async () => (await cluster.redis.call('HGET', '{acme/woken}:m', 'arm'))?.includes(run))
  const ear = await new Redis(cluster.redis.socket).connect()
  const heard = []
  ear.heard = (m) => heard.push(m.map(String))
  await ear.call('SUBSCRIBE', `baton:wake:${run}`)
  const { handoff_id } = await planner.submit(read('woken'))
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  await until('the call that woke it', () => heard.length)
  assert.deepEqual(heard[0], ['message', `baton:wake:${run}`, '{acme/woken}:m'])
  await s.complete(d)
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
  ear.close()
  s.cut()
})

test('A node whose ear for the others died without a word notices, and listens again', async () => {
  const run = (await cluster.redis.call('GET', `{/}:node:${b.name}`)).toString()
  const ears = async () => (await cluster.redis.call('PUBSUB', 'NUMSUB', `baton:wake:${run}`))[1]
  await until('it to listen', async () => await ears() === 1)
  b.toStore.forget()
  await until('nobody to listen', async () => await ears() === 0)
  await until('it to listen again', async () => await ears() === 1, 20000)
})

test('A node that is killed: another one redelivers what was leased there, long before lease_ms, under a new fence, and takes no report of the old one', async () => {
  const [planner, old, next] = [await agent(b, 'planner'), await agent(c, 'worker'), await agent(b, 'worker2')]
  const first = await old.subscribe({ routes: ['killed'] })
  const { handoff_id } = await planner.submit(read('killed'))
  const d = await first.delivery()
  c.signal('SIGKILL')
  await c.exited
  const second = await next.subscribe({ routes: ['killed'] })
  const again = await second.delivery(20000)
  assert.deepEqual([again.lease.handoff_id, again.attempt, again.lease.fencing_token > d.lease.fencing_token], [handoff_id, 2, true])
  const late = await (await agent(a, 'worker')).report({ complete: { lease: d.lease, result: { payload: Buffer.from('"late"') } } })
  assert.deepEqual([late.ok, late.reason], [false, 'REASON_LEASE_LOST'])
  assert.equal((await second.complete(again, { by: 'second' })).ok, true)
  assert.equal((await planner.get(handoff_id)).result.payload.toString(), '{"by":"second"}')
  second.cut()
  c.launch()
  await c.ready()
})

test('A worker whose node was killed resumes elsewhere, and its delivery is the first one still', async () => {
  const [planner, old, next] = [await agent(b, 'planner'), await agent(c, 'worker'), await agent(a, 'worker')]
  const first = await old.subscribe({ routes: ['resumed'] })
  const { handoff_id } = await planner.submit(read('resumed'))
  const d = await first.delivery()
  c.signal('SIGKILL')
  await c.exited
  const second = await next.subscribe({ routes: ['resumed'], resume: [d.lease] })
  assert.deepEqual(second.granted.resumed, [d.lease])
  assert.equal((await second.complete(d)).ok, true)
  assert.equal((await planner.get(handoff_id)).attempt, 1)
  second.cut()
  c.launch()
  await c.ready()
})

test('A node that drains tells its workers, takes no new work, and ends when they have gone: what they hold they finish elsewhere', async () => {
  const [there, here, worker, moved] = [await agent(c, 'planner'), await agent(a, 'planner'), await agent(c, 'worker'), await agent(a, 'worker')]
  const first = await worker.subscribe({ routes: ['drained'] })
  const { handoff_id } = await there.submit(read('drained'))
  const d = await first.delivery()
  c.signal('SIGTERM')
  const { notice } = await first.take('a notice', (f) => f.notice)
  assert.equal(notice.kind, 'NOTICE_KIND_DRAINING')
  const ids = [handoff_id]
  await until('no new work to be taken', () => there.submit(read('drained')).then((r) => { ids.push(r.handoff_id) }, (e) => e.code === 14))
  const second = await moved.subscribe({ routes: ['drained'], resume: [d.lease] })
  assert.deepEqual(second.granted.resumed, [d.lease])
  first.cut()
  assert.deepEqual(await c.exited, { code: 0, signal: null })
  assert.equal((await second.complete(d)).ok, true)
  ids.push((await here.submit(read('drained'))).handoff_id)
  for (let i = 1; i < ids.length; i++) await second.complete(await second.delivery())
  for (const id of ids) assert.deepEqual([(await here.get(id)).state, (await here.get(id)).attempt], ['HANDOFF_STATE_COMPLETED', 1])
  second.cut()
  c.launch()
  await c.ready()
})

test('O-8 after a crash a node writes down what its own calls did and it had not written, and nothing that other nodes did', async () => {
  const through = async (node) => {
    const [planner, worker] = [await agent(node, 'planner'), await agent(node, 'worker')]
    const { handoff_id } = await planner.submit(read('audits'))
    const s = await worker.subscribe({ routes: ['audits'] })
    await s.complete(await s.delivery())
    await s.leave()
    return handoff_id
  }
  const [others, own] = [await through(b), await through(c)]
  c.signal('SIGKILL')
  await c.exited
  const meanwhile = await through(a)
  const lines = c.auditLines().filter((l) => !(l.includes(own) && l.includes('"handoff.completed"')))
  fs.writeFileSync(c.path('audit.jsonl'), lines.map((l) => l + '\n').join(''))
  const begun = c.log().length
  c.launch()
  await c.ready()
  await until('the reconciliation', () => c.log().slice(begun).includes('"audit.reconciled"'))
  const ends = c.audit().filter((r) => r.reconciled).map((r) => [r.handoff_id, r.event])
  assert.deepEqual(ends.filter(([id]) => [others, own, meanwhile].includes(id)), [[own, 'handoff.completed']])
})

test('O-8 what was stored though its answer did not come in time is in the audit when the store is back', async () => {
  const [planner, worker] = [await agent(b, 'planner'), await agent(b, 'worker')]
  const { handoff_id } = await planner.submit(read('late'))
  const s = await worker.subscribe({ routes: ['late'] })
  const d = await s.delivery()
  s.write({ flow: { max_in_flight: 0 } })
  const request = encode('baton.v1.SubmitRequest', { envelope: planner.envelope(read('late')) })
  b.toStore.set('deaf')
  const sent = planner.raw('Submit', request, { timeout: 20000 })
  const settled = s.complete(d)
  await denied(sent, 'store_unavailable', 'UNAVAILABLE')
  assert.deepEqual([(await settled).ok, (await settled).reason], [false, 'REASON_STORE_UNAVAILABLE'])
  b.toStore.set('pass')
  await b.ready()
  const accepted = (await denied(planner.raw('Submit', request), 'replayed_nonce')).handoff_id
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
  await b.audited({ event: 'handoff.completed', handoff_id, reconciled: true }, 20000)
  await b.audited({ event: 'handoff.accepted', handoff_id: accepted, reconciled: true }, 20000)
  const lines = (id, event) => b.audit().filter((r) => r.handoff_id === id && r.event === event).length
  assert.deepEqual([lines(handoff_id, 'handoff.completed'), lines(accepted, 'handoff.accepted')], [1, 1])
  s.cut()
})

// A worker's report leaves this node for Redis, keep(pass, hold) sees to it that Redis does not read it now, and the node is killed.
async function owe (node, keep) {
  const [planner, worker] = [await agent(a, 'planner'), await agent(node, 'worker')]
  const { handoff_id } = await planner.submit(read('owed'))
  const s = await worker.subscribe({ routes: ['owed'] })
  const d = await s.delivery()
  const left = new Promise((done) => {
    node.toStore.pass = (from, to, bytes) => {
      const pass = () => Proxy.prototype.pass.call(node.toStore, from, to, bytes)
      if (!bytes.includes('baton2_finish')) return pass()
      delete node.toStore.pass
      done(keep(pass, () => from.unshift(bytes)))
    }
  })
  s.write({ complete: { lease: d.lease, result: { payload: Buffer.from('{}'), stop_reason: 'done' } } })
  await left
  node.signal('SIGKILL')
  await node.exited
  return { handoff_id, planner }
}
const isDone = async ({ planner, handoff_id }) => (await planner.get(handoff_id)).state === 'HANDOFF_STATE_COMPLETED'
const ends = (node, id) => node.audit().filter((r) => r.handoff_id === id && r.event === 'handoff.completed').map((r) => r.reconciled)

test('O-8 what Redis does late of what a node asked before it was killed is in its audit, once: Redis hung meanwhile', async () => {
  const one = await owe(b, (pass) => { cluster.redis.signal('SIGSTOP'); pass() })
  b.launch()
  await sleep(300)
  cluster.redis.signal('SIGCONT')
  await b.ready()
  await until('it to be done', () => isDone(one))
  await b.audited({ event: 'handoff.completed', handoff_id: one.handoff_id, reconciled: true }, 20000)
  assert.deepEqual(ends(b, one.handoff_id), [true])
})

test('O-8 what a run did not come to compare, because it was stopped in good order before, the next one does', async () => {
  const one = await owe(b, (pass) => { cluster.redis.signal('SIGSTOP'); pass() })
  b.launch()
  await until('it to listen', () => b.http('/healthz').then(() => true, () => false))
  b.signal('SIGTERM')
  assert.equal((await b.exited).code, 0)
  cluster.redis.signal('SIGCONT')
  await until('it to be done', () => isDone(one), 20000)
  b.launch()
  await b.ready()
  await b.audited({ event: 'handoff.completed', handoff_id: one.handoff_id, reconciled: true }, 20000)
  assert.deepEqual(ends(b, one.handoff_id), [true])
})

test('O-8 what the network held back until a node had compared its audit is found by the second look, a minute later', async () => {
  const held = []
  const one = await owe(b, (pass, hold) => { b.toStore.set('hole'); hold() })
  held.push(...[...b.toStore.pairs].flat())
  b.toStore.pairs.clear()
  b.toStore.set('pass')
  const begun = b.log().length
  b.launch()
  await b.ready()
  await until('the first look', () => b.log().slice(begun).includes('"audit.reconciled"'))
  assert.equal(await isDone(one), false)
  for (const s of held) s.resume()
  await until('it to be done', () => isDone(one))
  assert.deepEqual(ends(b, one.handoff_id), [])
  await b.audited({ event: 'handoff.completed', handoff_id: one.handoff_id, reconciled: true }, 90000)
  assert.deepEqual(ends(b, one.handoff_id), [true])
}, 150000)

test('A node with another sealing key does not get ready, says why and touches nothing; with the right one it serves', async () => {
  const planner = await agent(a, 'planner')
  await c.stop()
  const file = c.path('own.keys')
  fs.writeFileSync(file, `key-1 ${Buffer.alloc(32, 7).toString('base64url')}\n`, { mode: 0o600 })
  other[2] = (t) => t.replace(/keys_file: .*/, `keys_file: ${JSON.stringify(file)}`)
  c.writeConfig()
  c.launch()
  const check = await until('what is wrong', async () => JSON.parse((await c.http('/readyz')).body).checks.find((k) => k.check === 'store' && !k.ok && /key/.test(k.remedy)))
  assert.match(check.remedy, /key file/)
  await denied((await agent(c, 'planner')).submit(read('keys')), 'store_unavailable', 'UNAVAILABLE')
  const { handoff_id } = await planner.submit(read('keys'))
  const s = await (await agent(c, 'worker')).subscribe({ routes: ['keys'] })
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
  s.cut()
  await c.stop()
  delete other[2]
  c.writeConfig()
  c.launch()
  await c.ready()
  const good = await (await agent(c, 'worker')).subscribe({ routes: ['keys'] })
  const d = await good.delivery()
  assert.deepEqual([d.lease.handoff_id, (await good.complete(d)).ok], [handoff_id, true])
  good.cut()
})

test('Two nodes of one name are told so, and still wake each other', async () => {
  await c.stop()
  other[2] = (t) => t.replace(`node: ${c.name}`, `node: ${a.name}`)
  c.writeConfig()
  c.launch()
  await c.ready()
  await until('the warning', () => c.log().includes('"store.node_name_twice"'))
  const [planner, worker] = [await agent(a, 'planner'), await agent(c, 'worker')]
  const s = await worker.subscribe({ routes: ['names'] })
  const arm = () => cluster.redis.call('HGET', '{acme/names}:m', 'arm')
  await until('it to wait for work', async () => (await arm())?.length)
  const channel = `baton:wake:${await arm()}`
  const ear = await new Redis(cluster.redis.socket).connect()
  const heard = []
  ear.heard = (m) => heard.push(m.map(String))
  await ear.call('SUBSCRIBE', channel)
  await planner.submit(read('names'))
  await s.complete(await s.delivery())
  await until('the call that woke it', () => heard.length)
  ear.close()
  s.cut()
})
