// What if Redis is down, slow, weaker than demanded, or lies? Nothing is accepted without it, nothing hangs, nothing forged is delivered.
import fs from 'node:fs'
import { spawn } from 'node:child_process'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied, refused } from './lib/agent.js'
import { bytesField, encode } from './lib/wire.js'
import { Redis } from './lib/redis.js'

const routes = ['swap', 'plant', 'flip', 'invent', 'result', 'backlog']
const b = new Broker({ profiles: Object.fromEntries([ROUTE, ...routes].map((n) => [n, profile(n)])) })
let planner, worker

before(async () => { [planner, worker] = await b.startWith('planner', 'worker') })
after(() => b.remove())

const STATE_AT = 66 // of the record in Redis: broker/store/baton2.lua
const QUARANTINED = 7
const send = (route, more) => planner.submit({ route, ...more })
const bytesOf = (change) => bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope(change)))
const blobs = async (r, route) => (await r.keys(`{acme/${route}}:b:*`))

// Of these handoffs none is delivered and all are quarantined, with a record of it; the honest twin is delivered.
async function quarantined (route, ids) {
  const twin = await send(route)
  const s = await worker.subscribe({ routes: [route], max_in_flight: 10 })
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, twin.handoff_id)
  assert.equal((await s.complete(d)).ok, true)
  await sleep(500)
  assert.deepEqual(s.deliveries(), [])
  for (const id of ids) {
    await b.audited({ event: 'record.unsealable', handoff_id: id })
    const record = await b.redis((r) => r.call('HGET', `{acme/${route}}:s`, Buffer.from(id, 'base64url').subarray(4)))
    assert.equal(record[STATE_AT], QUARANTINED)
    const shown = await planner.get(id).then((h) => h.state, (e) => e.metadata.get('baton-reason')[0])
    assert.ok(['HANDOFF_STATE_QUARANTINED', 'not_found'].includes(shown), shown) // for whom it was sent cannot be read any more
    assert.ok(!b.audit().some((r) => r.handoff_id === id && (r.event === 'assertion.issued' || r.event === 'handoff.leased')))
  }
  await s.leave()
}

test('R-5 two sealed tasks swapped in Redis are quarantined, never delivered, never signed', async () => {
  const ids = [(await send('swap')).handoff_id, (await send('swap')).handoff_id]
  await b.redis(async (r) => {
    const keys = await blobs(r, 'swap')
    assert.equal(keys.length, 2)
    const [x, y] = [await r.call('GET', keys[0]), await r.call('GET', keys[1])]
    await r.call('MSET', keys[0], y, keys[1], x)
  })
  await quarantined('swap', ids)
})

test('R-5 a task planted in the place of a sealed one is quarantined', async () => {
  const { handoff_id } = await send('plant')
  await b.redis(async (r) => {
    const [key] = await blobs(r, 'plant')
    await r.call('SET', key, encode('baton.v1.TaskEnvelope', planner.envelope({ route: 'plant', tool: 'orders.close' })))
  })
  await quarantined('plant', [handoff_id])
})

test('R-5 attack 34: one flipped bit is quarantined', async () => {
  const { handoff_id } = await send('flip')
  await b.redis(async (r) => {
    const [key] = await blobs(r, 'flip')
    const blob = await r.call('GET', key)
    blob[blob.length >> 1] ^= 1
    await r.call('SET', key, blob)
  })
  await quarantined('flip', [handoff_id])
})

test('R-5 a whole record invented by copying another is quarantined, never delivered', async () => {
  const { handoff_id } = await send('invent')
  const fake = Buffer.alloc(16, 7)
  const invented = Buffer.concat([Buffer.from(handoff_id, 'base64url').subarray(0, 4), fake]).toString('base64url')
  await b.redis(async (r) => {
    const base = '{acme/invent}:'
    const [key] = await blobs(r, 'invent')
    const id = Buffer.from(handoff_id, 'base64url').subarray(4)
    const record = await r.call('HGET', base + 's', id)
    const token = key.subarray(Buffer.byteLength(base + 'b:') + 16)
    await r.call('HSET', base + 's', fake, record)
    await r.call('SET', Buffer.concat([Buffer.from(base + 'b:'), fake, token]), await r.call('GET', key))
    await r.call('RPUSH', base + 'q1', fake)
  })
  const s = await worker.subscribe({ routes: ['invent'], max_in_flight: 10 })
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  await s.complete(d)
  await s.leave()
  await quarantined('invent', [invented])
})

test('A lease lapses in time, however many that ended before it are still to be looked at', async () => {
  await send('backlog')
  const n = 12000
  await b.redis(async (r) => {
    for (let at = 0; at < n; at += 1000) { // hints of leases that were finished long ago
      const hints = Array.from({ length: 1000 }, (_, i) => { const h = Buffer.alloc(25); h.writeUInt32BE(at + i + 1, 8); return h })
      await r.call('ZADD', '{acme/backlog}:l', ...hints.flatMap((h) => ['1', h]))
    }
  })
  await until('the backlog is gone', () => b.redis(async (r) => Number(await r.call('ZCARD', '{acme/backlog}:l')) === 0), 15000)
})

test('T3 the store holds no payload, no result and no token in the clear', async () => {
  const marker = 'm4rk3r-in-the-payload'
  const { handoff_id } = await send('result', { payload: Buffer.from(JSON.stringify({ marker })) })
  const s = await worker.subscribe({ routes: ['result'] })
  await s.complete(await s.delivery(), { marker: `${marker}-result` })
  await s.leave()
  const found = await b.redis(async (r) => {
    const bad = []
    for (const key of await r.keys()) {
      const raw = await r.call('DUMP', key)
      for (const secret of [marker, planner.token, planner.token.split('.')[2]]) if (raw?.includes(secret) || key.includes(secret)) bad.push(key.toString('latin1'))
    }
    return bad
  })
  assert.deepEqual(found, [])
  assert.match((await planner.get(handoff_id)).result.payload.toString(), /m4rk3r/)
})

test('Redis killed: nothing hangs, it comes back by itself, what was acknowledged is there', async () => {
  const { handoff_id } = await send(ROUTE)
  process.kill(await b.redisPid(), 'SIGKILL')
  const begun = Date.now()
  const r = await planner.submit().catch((e) => refused(Promise.reject(e)))
  assert.ok(Date.now() - begun < 8000)
  if (r.reason) assert.ok(['store_unavailable', 'stale_envelope'].includes(r.reason), r.message)
  await until('a new envelope to be taken', () => planner.submit(), 20000)
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
  await b.ready()
})

test('attack 32: Redis that does not answer: store_unavailable in time, not ready, no half acceptance; then the same bytes are one handoff', async () => {
  const pid = await b.redisPid()
  const bytes = bytesOf()
  process.kill(pid, 'SIGSTOP')
  try {
    const begun = Date.now()
    const r = await denied(planner.raw('Submit', bytes, { timeout: 20000 }), 'store_unavailable', 'UNAVAILABLE')
    assert.ok(Date.now() - begun < 12000, 'in the time that store.timeout allows')
    assert.ok(Number(r.retry_after_ms) > 0)
    await until('not ready', async () => (await b.http('/readyz')).status === 503)
    const check = JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'store')
    assert.equal(check.ok, false)
    assert.ok(check.remedy.length > 10)
    const health = await new Promise((yes, no) => planner.health.Check({ service: '' }, (e, a) => (e ? no(e) : yes(a.status))))
    assert.equal(health, 'NOT_SERVING')
    const me = await planner.whoami()
    assert.equal(me.agent.name, 'planner')
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await b.ready()
  const before = (await planner.list({ page_size: 500 })).handoffs.length
  const answer = await until('the same bytes to be answered', async () => {
    const r = await planner.raw('Submit', bytes).catch((e) => refused(Promise.reject(e)))
    return (r.handoff_id || r.reason === 'replayed_nonce') && r
  }, 15000)
  assert.ok(answer.handoff_id)
  const after = (await planner.list({ page_size: 500 })).handoffs.filter((h) => h.handoff_id === answer.handoff_id).length
  assert.ok(after === 1 && before >= 1)
})

test('Redis FLUSHALL in mid-flight: a report is answered, not lost in silence', async () => {
  const s = await worker.subscribe()
  await until('a delivery', async () => { await planner.submit().catch(() => {}); return s.deliveries().length }, 10000)
  const d = await s.delivery()
  await b.redis((r) => r.call('FLUSHALL'))
  const settled = await s.complete(d)
  assert.equal(settled.ok, false)
  assert.ok(['REASON_LEASE_LOST', 'REASON_STORE_UNAVAILABLE', 'REASON_NOT_FOUND'].includes(settled.reason), settled.reason)
  s.cut()
  await until('new work to be taken', () => planner.submit(), 15000)
})

async function external (args, fn) {
  const ext = new Broker()
  await ext.prepare()
  const dir = ext.path('ext')
  fs.mkdirSync(dir, { mode: 0o700 })
  const sock = `${dir}/r.sock`
  const server = spawn('redis-server', ['--port', '0', '--unixsocket', sock, '--dir', dir, '--save', '', ...args], { stdio: 'ignore' })
  try {
    await until('redis-server', async () => { const r = await new Redis(sock).connect(); const ok = await r.call('PING'); r.close(); return ok })
    ext.writeConfig((t) => t.replace('url: ""', `url: "unix://${sock}"`))
    await fn(ext)
    await ext.remove()
  } finally {
    server.kill('SIGKILL')
    fs.rmSync(ext.dir, { recursive: true, force: true })
  }
}
const GOOD = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction', '--aof-load-truncated', 'no']

test('An external Redis as durable as demanded is used', () => external(GOOD, async (ext) => {
  await ext.start()
  const p = await ext.agent('planner')
  const { handoff_id } = await p.submit()
  assert.equal((await p.get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
}))

test('attack 32: an external Redis that is weaker, or may evict, is refused: not ready, nothing accepted, the remedy said', async () => {
  const weak = [['--appendonly', 'no'], ['--appendfsync', 'everysec'], ['--maxmemory-policy', 'allkeys-lru']]
  for (const change of weak) {
    await external([...GOOD, ...change], async (ext) => {
      const up = ext.start().then(() => 'ready', (e) => e.message)
      await until('the listener', async () => (await ext.http('/readyz')).status === 503 || ext.exit, 10000)
      if (ext.exit) {
        assert.notEqual(ext.exit.code, 0)
        ext.process = null
      } else {
        const store = await until('a remedy', async () => JSON.parse((await ext.http('/readyz')).body).checks.find((c) => c.check === 'store' && c.remedy))
        assert.equal(store.ok, false)
        await denied((await ext.agent('planner')).submit(), 'store_unavailable', 'UNAVAILABLE')
      }
      ext.process?.kill('SIGTERM')
      await up
    })
  }
})
