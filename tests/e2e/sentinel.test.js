// Does Baton follow the primary of a Redis with sentinels? To the one that they name, over a fail-over, and to none that is no primary.
import fs from 'node:fs'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, ROUTE } from './lib/broker.js'
import { denied, refused } from './lib/agent.js'
import { bytesField, encode } from './lib/wire.js'
import { RedisServer } from './lib/redisd.js'
import { FakeSentinel, Group, NAME } from './lib/sentinels.js'

const b = new Broker({ fsync: 'always' })
let group, planner, worker
const password = 'the-sentinels-word'
const check = async (node) => JSON.parse((await node.http('/readyz')).body).checks.find((c) => c.check === 'store')
const SLOT = `{acme/${ROUTE}}:`

before(async () => {
  await b.prepare()
  group = await new Group(b.path('ext'), { password, args: ['--min-replicas-to-write', '1'] }).start()
  fs.writeFileSync(b.path('sentinel.password'), password, { mode: 0o600 })
  const urls = group.sentinels.map((s) => JSON.stringify(s.url)).join(', ')
  b.writeConfig((t) => t.replace('url: ""', `sentinels: [${urls}]\n  sentinel_master: ${NAME}\n  sentinel_password_file: ${b.path('sentinel.password')}\n  replicas: 1`))
  ;[planner, worker] = await b.startWith('planner', 'worker')
})
after(async () => {
  await b.stop()
  await group?.stop()
  await b.remove()
})

async function carried (from, to) { // a handoff, from acceptance to its result
  const { handoff_id } = await until('new work to be taken', () => from.submit(), 20000)
  const s = await to.subscribe({ max_in_flight: 10 })
  const mine = (f) => f.delivery?.lease.handoff_id === handoff_id
  s.each((f) => { if (f.delivery && !mine(f)) s.write({ complete: { lease: f.delivery.lease, result: { stop_reason: 'done' } } }) })
  const d = (await s.take('its delivery', mine, 20000)).delivery
  s.write({ complete: { lease: d.lease, result: { payload: Buffer.from('"done"'), stop_reason: 'done' } } })
  await from.state(handoff_id, 'COMPLETED', 20000)
  await s.leave()
  return handoff_id
}

test('sentinel: handoffs go to the primary that the sentinels name', async () => {
  const primary = await until('a primary', () => group.primary())
  await carried(planner, worker)
  assert.ok(Number(await primary.call('HLEN', `${SLOT}s`)) > 1)
  assert.match(b.log(), /"store\.ready","url":"redis:\/\/127\.0\.0\.1:\d+,redis/)
})

test('sentinel: the primary killed in a burst of submits: another has all that was acknowledged, holds it until its sender submits it again, and refuses old bytes / takes new ones', async () => {
  const primary = await until('a primary', () => group.primary())
  const bytes = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope()))
  const early = await planner.raw('Submit', bytes)
  const key = { idempotency_key: 'acknowledged', payload: Buffer.from('"acknowledged"') }
  const kept = (await planner.submit(key)).handoff_id
  const acknowledged = [kept]
  let going = true
  const burst = Array.from({ length: 4 }, async () => {
    while (going) {
      const r = await planner.submit().catch((e) => refused(Promise.reject(e)))
      if (!r.reason) acknowledged.push(r.handoff_id)
      else assert.ok(['store_unavailable', 'stale_envelope'].includes(r.reason), `${r.reason} ${r.message}`)
    }
  })
  await until('some to be taken', () => acknowledged.length > 20)
  await primary.kill()
  const before = acknowledged.length
  await until('some to be taken by another primary', () => acknowledged.length > before + 20, 30000)
  going = false
  await Promise.all(burst)
  const next = await until('another primary', async () => { const p = await group.primary(); return p !== primary && p })
  const bytesOf = (h) => Buffer.from(h, 'base64url').subarray(4)
  const found = await next.with((r) => Promise.all(acknowledged.map((h) => r.call('HEXISTS', `${SLOT}s`, bytesOf(h)))))
  assert.deepEqual(acknowledged.filter((h, i) => found[i] !== 1), [])
  await denied(planner.raw('Submit', bytes), 'replayed_nonce')
  assert.equal(Number(await next.call('HDEL', `${SLOT}s`, bytesOf(early.handoff_id))), 1) // as if the fail-over had lost it
  await denied(planner.raw('Submit', bytes), 'stale_envelope')
  await carried(planner, worker)
  await planner.state(kept, 'HELD')
  const again = await planner.submit(key)
  assert.deepEqual([again.handoff_id, again.duplicate, again.state], [kept, true, 'HANDOFF_STATE_QUEUED'])
  await carried(planner, worker)
  await planner.state(kept, 'COMPLETED')
  await primary.start() // as a replica, the sentinels see to it
  await until('the old one to follow', async () => (await primary.info('role')) === 'slave' && (await primary.info('master_link_status')) === 'up', 30000)
}, 90000)

test('sentinel: no sentinel can be reached: not ready, nothing accepted, the key named / back, it serves', async () => {
  for (const s of group.sentinels) await s.kill()
  for (const r of group.servers) await r.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  const said = await until('/readyz to tell', async () => { const c = await check(b); return !c.ok && /^sentinel 127\.0\.0\.1:\d+: .*: see that the sentinels of store\.sentinels run/.test(c.remedy) && c })
  await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
  assert.match(b.log(), /"store\.unavailable".*store\.sentinels/, said.remedy)
  for (const s of group.sentinels) await s.start()
  await b.ready(30000)
  await carried(planner, worker)
})

test('sentinel: a wrong password for the sentinels is refused, its key named / mended, it serves', async () => {
  fs.writeFileSync(b.path('sentinel.password'), 'another', { mode: 0o600 })
  for (const r of group.servers) await r.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until('/readyz to tell', async () => { const c = await check(b); return !c.ok && /see store\.sentinel_user and store\.sentinel_password_file/.test(c.remedy) })
  await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')
  fs.writeFileSync(b.path('sentinel.password'), password, { mode: 0o600 })
  await b.ready()
  await carried(planner, worker)
  assert.ok(!b.log().includes(password))
})

test('sentinel: one that names a replica, or nobody, is not believed: nothing is accepted / when it names the primary, it serves, and follows it by READONLY', async () => {
  const [one, two] = ['f1', 'f2'].map((d) => new RedisServer(b.path('ext', d)))
  for (const r of [one, two]) await (await r.choosePort()).start()
  await two.call('REPLICAOF', '127.0.0.1', one.port)
  await until('a replica', async () => (await two.info('master_link_status')) === 'up', 30000)
  const liar = await new FakeSentinel(two.port).start()
  const other = await b.twin('other', { config: (t) => t.replace('url: ""', `sentinels: ["${liar.url}"]\n  sentinel_master: ${NAME}`) })
  try {
    other.launch()
    const up = other.ready(60000).then(() => sleep(1200)).then(() => 'ready', (e) => e.message)
    await until('/readyz to tell of a replica', async () => /this Redis is not a primary: .*store\.sentinels/.test((await check(other)).remedy), 20000)
    const p = await other.agent('planner')
    await denied(p.submit(), 'store_unavailable', 'UNAVAILABLE')
    liar.says = null
    await until('/readyz to tell of nobody', async () => /knows no primary of the name in store\.sentinel_master/.test((await check(other)).remedy), 20000)
    await denied(p.submit(), 'store_unavailable', 'UNAVAILABLE')
    assert.deepEqual([await one.call('DBSIZE'), await two.call('DBSIZE')], [0, 0])
    liar.says = one.port
    assert.equal(await up, 'ready')
    const { handoff_id } = await until('new work to be taken', () => p.submit())
    await until('the replica to have it', async () => Number(await two.call('HLEN', `${SLOT}s`)) === 3)
    liar.says = two.port
    await two.call('REPLICAOF', 'NO', 'ONE')
    await one.call('REPLICAOF', '127.0.0.1', two.port) // its clients stay connected
    await carried(p, await other.agent('worker'))
    assert.equal((await p.get(handoff_id)).handoff_id, handoff_id)
    assert.equal(await two.info('role'), 'master')
    assert.ok(Number(await two.call('HLEN', `${SLOT}s`)) > 2)
  } finally {
    await other.remove()
    await liar.stop()
    for (const r of [one, two]) await r.kill()
  }
}, 90000)
