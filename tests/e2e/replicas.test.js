// Is nothing acknowledged before so many replicas have it? With store.replicas, on a primary and one replica, and two nodes.
import { test, before, after, assert, until } from './lib/suite.js'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { BATOND, Broker, ROUTE, profile } from './lib/broker.js'
import { denied, read, refused } from './lib/agent.js'
import { bytesField, encode } from './lib/wire.js'
import { RedisServer } from './lib/redisd.js'

const quick = profile('quick', { delivery: { ...profile('quick').delivery, replicas: 0 }, tools: { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } } })
const b = new Broker({ fsync: 'always', profiles: { [ROUTE]: profile(ROUTE), quick } })
let primary, replica, second, planner, planner2, worker
const check = async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'store')
const follows = () => until('the replica to follow', async () => (await replica.info('master_link_status')) === 'up', 20000)
const TOO_FEW = /^redis: NOREPLICAS .*: start the replicas that min-replicas-to-write and store\.replicas demand/
const UNKNOWN = /the outcome is unknown, send the same bytes again/
const unknown = async (reply) => assert.match((await denied(reply, 'store_unavailable', 'UNAVAILABLE')).message, UNKNOWN)

before(async () => {
  await b.prepare()
  primary = await (await new RedisServer(b.path('r0'), { args: ['--min-replicas-max-lag', '60'] }).choosePort()).start()
  replica = await new RedisServer(b.path('r1'), { args: ['--replicaof', '127.0.0.1', String(primary.port)] }).choosePort()
  b.writeConfig((t) => t.replace('url: ""', `url: redis://127.0.0.1:${primary.port}\n  replicas: 1\n  keys_file: ${b.path('state', 'seal.keys')}`))
})
after(async () => {
  replica?.process?.kill('SIGCONT')
  await b.stop()
  await second?.remove()
  await primary?.kill()
  await replica?.kill()
  await b.remove()
})

// Nothing reaches the replica, and it does not say that it is gone.
async function whileStopped (fn) {
  replica.process.kill('SIGSTOP')
  try { return await fn() } finally { replica.process.kill('SIGCONT') }
}

test('replicas: a primary that would take work without them, or has none, is refused: not ready, the remedy said / with them it serves', async () => {
  const up = b.start()
  await until('/readyz to tell of min-replicas-to-write', async () => /^min-replicas-to-write is less than store\.replicas.*CONFIG SET min-replicas-to-write 1/.test((await check()).remedy), 20000)
  planner = await b.agent('planner')
  await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
  await primary.call('CONFIG', 'SET', 'min-replicas-to-write', '1', 'min-replicas-max-lag', '0')
  await until('/readyz to tell of min-replicas-max-lag', async () => /^min-replicas-max-lag is 0.*CONFIG SET min-replicas-max-lag/.test((await check()).remedy), 20000)
  await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
  await primary.call('CONFIG', 'SET', 'min-replicas-max-lag', '60')
  await until('/readyz to tell of too few', async () => TOO_FEW.test((await check()).remedy), 20000)
  await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
  assert.equal(await primary.call('DBSIZE'), 0)
  await replica.start()
  await follows()
  await up
  worker = await b.agent('worker')
  second = await b.twin('second', { config: (t) => t.replace('url: ""', `url: redis://127.0.0.1:${primary.port}\n  replicas: 1\n  keys_file: ${b.path('state', 'seal.keys')}`) })
  planner2 = (await second.startWith('planner'))[0]
  const { handoff_id } = await planner.submit()
  const s = await worker.subscribe()
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  assert.equal((await s.complete(d)).ok, true)
  await s.leave()
}, 60000)

test('replicas: what no replica has is not acknowledged: unknown, and unknown again by another node / once one has it, the same bytes are found', async () => {
  const bytes = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope()))
  const key = { idempotency_key: 'once', payload: Buffer.from('"once"') }
  await whileStopped(async () => {
    const replies = [planner.raw('Submit', bytes, { timeout: 20000 }), planner.submit(key, { timeout: 20000 })]
    await Promise.all(replies.map(unknown))
    const again = [planner2.raw('Submit', bytes, { timeout: 20000 }), planner2.submit(key, { timeout: 20000 })]
    await Promise.all(again.map(unknown))
  })
  const ids = []
  for (const p of [planner, planner2]) {
    ids.push((await until('the same bytes to be found', async () => {
      const r = await refused(p.raw('Submit', bytes))
      return r.reason === 'replayed_nonce' && r
    }, 20000)).handoff_id)
  }
  assert.ok(ids[0])
  assert.equal(ids[0], ids[1])
  const first = await until('the same key to be taken', () => planner2.submit(key), 20000)
  assert.equal((await planner.submit(key)).handoff_id, first.handoff_id)
  const all = (await planner.list({ page_size: 100 })).handoffs.filter((h) => h.state === 'HANDOFF_STATE_QUEUED')
  assert.deepEqual(all.map((h) => h.handoff_id).sort(), [ids[0], first.handoff_id].sort())
}, 90000)

test('replicas: nor is an end, or a cancellation, before a replica has it / what was waiting is carried out once', async () => {
  const s = await worker.subscribe({ max_in_flight: 2 })
  const [one, two] = [await s.delivery(), await s.delivery()]
  await whileStopped(async () => {
    s.write({ complete: { lease: one.lease, result: { payload: Buffer.from('"late"'), stop_reason: 'done' } } })
    const told = await s.settled(20000)
    assert.deepEqual([told.ok, told.reason], [false, 'REASON_STORE_UNAVAILABLE'])
    const cancelled = await refused(planner.unary('Cancel', { handoff_id: two.lease.handoff_id, reason: 'x' }, { timeout: 20000 }))
    assert.equal(cancelled.reason, 'store_unavailable')
  })
  assert.match((await planner.state(one.lease.handoff_id, 'COMPLETED', 20000)).result.payload.toString(), /late/)
  await until('the other to be cancelled', async () => {
    const r = await planner.cancel(two.lease.handoff_id).catch((e) => refused(Promise.reject(e)))
    return (await planner.get(two.lease.handoff_id)).state === 'HANDOFF_STATE_CANCELLED' && r
  }, 20000)
  await b.ready()
  s.cut()
}, 90000)

test('replicas: a route that only reads may ask for none, and is answered while the others are not / one with effects, or more than the store demands, is refused', async () => {
  await whileStopped(async () => {
    const { handoff_id } = await planner.submit(read('quick'), { timeout: 20000 })
    const s = await worker.subscribe({ routes: ['quick'] })
    const d = await s.delivery()
    assert.equal(d.lease.handoff_id, handoff_id)
    assert.ok((await s.complete(d)).ok)
    s.cut()
    await denied(planner.submit({}, { timeout: 20000 }), 'store_unavailable', 'UNAVAILABLE')
  })
  await b.ready()
  const check = (change) => {
    fs.writeFileSync(b.path('profiles', 'quick.json'), JSON.stringify({ ...quick, ...change }))
    const r = spawnSync(BATOND, ['--config', b.path('baton.yaml'), '--check-config'], { encoding: 'utf8' })
    return `${r.status} ${r.stdout}${r.stderr}`
  }
  const asking = (replicas) => ({ delivery: { ...quick.delivery, replicas } })
  assert.match(check(asking(2)), /^[1-9].*delivery\.replicas: 2, and store\.replicas is 1: raise that/)
  assert.match(check({ tools: { allowed: ['orders.close'], spec: { 'orders.close': { scopes: ['orders:read'], side_effect: 'write' } } } }), /^[1-9].*delivery\.replicas: 0, and orders\.close is pinned write: a fail-over may lose/)
  assert.match(check(asking(9)), /^[1-9].*delivery\.replicas: 9 is not within 0\.\.8/)
  assert.match(check({}), /^0 /)
}, 90000)

test('replicas: the replica gone: not ready, the key named, nothing accepted / back, it serves', async () => {
  await replica.kill()
  await until('/readyz to tell of too few', async () => {
    await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
    return TOO_FEW.test((await check()).remedy)
  }, 20000)
  await replica.start()
  await follows()
  await b.ready()
  await until('new work to be taken', () => planner.submit(), 20000)
}, 60000)
