// Does Baton work on a Redis Cluster? Routes on different primaries, slots that move under load, primaries that die with a replica and without one.
import fs from 'node:fs'
import { createHash, randomBytes } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, profile } from './lib/broker.js'
import { denied, read, refusalOf } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { RedisCluster, hashSlot, routeOn } from './lib/rediscluster.js'
import { RedisServer } from './lib/redisd.js'
import { ROOT, bytesField, encode, readText } from './lib/wire.js'

const routes = [0, 1, 2].map((i) => routeOn(i, 3, 'r'))
const [moving, still] = [routeOn(0, 3, 'moving'), routeOn(0, 3, 'still')]
const everybody = routeOn(2, 3, 'everybody')
const names = [...routes, moving, still]
const acme = { identity: { ...profile('x').identity, tenants: ['acme'] } }
const inboxes = { tools: { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } }, delivery: { ...profile('x').delivery, kind: 'broadcast' } }
const b = new Broker({
  fsync: 'always',
  profiles: { ...Object.fromEntries(names.map((n) => [n, profile(n, acme)])), [everybody]: profile(everybody, { ...acme, ...inboxes }) }
})
let redis, second, planner, worker, planner2, worker2
const check = async (node) => JSON.parse((await node.http('/readyz')).body).checks.find((c) => c.check === 'store')
const raw = (id) => Buffer.from(id, 'base64url').subarray(4)
const key = (route, which) => `{acme/${route}}:${which}`
const slot = (route) => hashSlot(`acme/${route}`)
const store = (r = redis) => (t) => t.replace('url: ""', `cluster: [${r.servers.slice(0, 2).map((s) => `"redis://127.0.0.1:${s.port}"`).join(', ')}]\n  keys_file: ${b.path('state', 'seal.keys')}`)

before(async () => {
  await b.prepare()
  redis = await new RedisCluster(b.path('ext'), { args: ['--cluster-require-full-coverage', 'no'] }).start()
  b.writeConfig(store())
  ;[planner, worker] = await b.startWith('planner', 'worker')
  second = await b.twin('second', { config: store() })
  ;[planner2, worker2] = await second.startWith('planner', 'worker')
}, 60000)
after(async () => {
  for (const one of bursts) await one.stop().catch(() => {})
  await second?.stop()
  await b.stop()
  await second?.remove()
  await redis?.stop()
  await b.remove()
})

const send = (from, route, more) => from.submit(read(route, more))
// A stale one is stamped anew, as a sender does after its route's incarnation changed.
const sent = (from, route) => until('new work to be taken', () => send(from, route), 20000)
async function carried (from, to, route) { // a handoff, from acceptance to its result
  const { handoff_id } = await sent(from, route)
  const s = await to.subscribe({ routes: [route], max_in_flight: 10 })
  const mine = (f) => f.delivery?.lease.handoff_id === handoff_id
  const done = (d) => s.write({ complete: { lease: d.lease, result: { payload: Buffer.from('"done"'), stop_reason: 'done' } } })
  s.each((f) => { if (f.delivery && !mine(f)) done(f.delivery) })
  done((await s.take('its delivery', mine, 20000)).delivery)
  await from.state(handoff_id, 'COMPLETED', 20000)
  await s.leave()
  return handoff_id
}

// Submits without end to a route until stopped. What was acknowledged; each refusal must be one of these reasons.
const bursts = []
function burst (from, route, reasons, width = 3) {
  const all = { acknowledged: [], refused: {}, going: true }
  bursts.push(all)
  all.ended = Promise.all(Array.from({ length: width }, async () => {
    while (all.going) {
      const r = await send(from, route).catch(refusalOf)
      if (!r.reason) all.acknowledged.push(r.handoff_id)
      else {
        assert.ok(reasons.includes(r.reason), `${route}: ${r.reason} ${r.message}`)
        all.refused[r.reason] = (all.refused[r.reason] || 0) + 1
      }
    }
  }))
  all.stop = async () => { all.going = false; await all.ended; return all.acknowledged }
  all.more = async (n, ms = 30000) => { const least = all.acknowledged.length + n; await until(`${n} more on ${route}`, () => all.acknowledged.length >= least, ms) }
  return all
}

// These bytes, at last: also where the answer to them was lost.
const taken = (from, bytes) => until('new work to be taken', () => from.raw('Submit', bytes).then(() => true, (e) => refusalOf(e).reason === 'replayed_nonce'))

// Completes whatever comes; ends: by which of its leases each handoff was.
async function serve (by, route) {
  const s = await by.subscribe({ routes: [route], max_in_flight: 32 })
  const ends = new Map()
  const complete = (lease) => s.write({ complete: { lease, result: { payload: Buffer.from('"done"'), stop_reason: 'done' } } })
  s.each((f) => {
    if (f.delivery) complete(f.delivery.lease)
    if (f.settled?.reason === 'REASON_STORE_UNAVAILABLE') setTimeout(() => complete(f.settled.lease), 200)
    if (f.settled?.ok) ends.set(f.settled.lease.handoff_id, (ends.get(f.settled.lease.handoff_id) || new Set()).add(String(f.settled.lease.fencing_token)))
  })
  s.ends = ends
  return s
}

// Each was done, and once: by the audit's word, the store's and the worker's (who may have been told nothing of what was stored all the same).
async function doneOnce (ids, s, from, node = b) {
  const ends = () => {
    const n = new Map()
    for (const r of node.audit()) if (r.event === 'handoff.completed') n.set(r.handoff_id, (n.get(r.handoff_id) || 0) + 1)
    return n
  }
  await until('all to be done', () => { const n = ends(); return ids.every((id) => n.has(id)) }, 60000)
  const n = ends()
  assert.deepEqual(ids.filter((id) => n.get(id) !== 1 || (s.ends.get(id)?.size || 1) !== 1), [])
  for (const id of ids.slice(-5)) await from.state(id, 'COMPLETED', 20000)
}

test('rediscluster: routes on different primaries hand work over, between two nodes, and each key is where it belongs', async () => {
  for (const [i, route] of routes.entries()) {
    await carried(planner, worker, route)
    await carried(planner, worker2, route)
    await carried(planner2, worker, route)
    for (const [j, p] of redis.primaries.entries()) assert.equal(Number(await p.call('EXISTS', key(route, 's')).catch(() => 0)), i === j ? 1 : 0)
    assert.equal(Number(await redis.primaries[i].call('HLEN', key(route, 's'))), 3 + 2)
    assert.equal((await redis.primaries[i].call('HGET', key(route, 'm'), 'inc')).toString(), (await redis.primaries[i].info('master_replid')))
  }
  for (const p of redis.primaries) for (const k of await p.with((r) => r.keys())) assert.equal(await redis.owner(hashSlot(k.toString('latin1').slice(1).split('}')[0])), p)
  assert.match(b.log(), new RegExp(`"store\\.ready","url":"redis://127\\.0\\.0\\.1:\\d+,redis:[^"]*","at":"127\\.0\\.0\\.1","port":${redis.primaries[2].port}`))
  assert.equal((await check(b)).ok, true)
})

test('rediscluster: what one node accepts wakes another one, whichever primary has the route', async () => {
  for (const route of routes) {
    const s = await worker2.subscribe({ routes: [route] })
    const run = (await (await redis.owner(hashSlot('/'))).call('GET', '{/}:node:second')).toString()
    const primary = await redis.owner(slot(route))
    await until('that node to wait for work', async () => (await primary.call('HGET', key(route, 'm'), 'arm'))?.includes(run))
    const { handoff_id } = await send(planner, route)
    const d = await s.delivery()
    assert.equal(d.lease.handoff_id, handoff_id)
    await s.complete(d)
    s.cut()
  }
  const ears = await (await redis.owner(hashSlot('/'))).call('PUBSUB', 'CHANNELS', 'baton:wake:*')
  assert.equal(ears.length, 2) // where nodes look for others of their name
})

test('rediscluster: a slot moves to a new primary, and stops half-way, while senders submit: nothing acknowledged is lost or done twice, old bytes stay refused, other routes do not notice / it moves back, and the new primary is left', async () => {
  const [from, h] = [redis.primaries[0], slot(moving)]
  const to = await redis.add(b.path('ext', 'new'), { args: ['--cluster-require-full-coverage', 'no'] })
  const bytes = bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope(read(moving))))
  await taken(planner, bytes)
  const s = await serve(worker, moving)
  const waits = (await send(planner, moving, { start_at_ms: Date.now() + 3600000 })).handoff_id
  const mine = burst(planner, moving, ['store_unavailable', 'stale_envelope'])
  const others = routes.map((r) => burst(planner2, r, [], 1))
  const drains = await Promise.all(routes.map((r) => serve(worker2, r)))
  await mine.more(20)
  await redis.beginMove(h, from, to)
  await until('its senders to be told', () => mine.refused.store_unavailable > 0, 20000)
  for (let n = 0; n < 4; n++) { // some of its keys are there, some here
    assert.equal(await redis.moveKeys(h, from, to, 2), true)
    const halted = mine.acknowledged.length
    await Promise.all(others.map((o) => o.more(5)))
    await denied(planner.raw('Submit', bytes), 'store_unavailable', 'UNAVAILABLE')
    assert.equal(mine.acknowledged.length, halted)
  }
  while (await redis.moveKeys(h, from, to));
  await denied(planner.raw('Submit', bytes), 'store_unavailable', 'UNAVAILABLE') // all is there, and it may not be written yet
  await redis.endMove(h, from, to)
  await mine.more(20)
  const acknowledged = await mine.stop()
  for (const o of others) await o.stop()
  assert.equal(mine.refused.stale_envelope > 0, true) // opened anew: stamped anew
  assert.deepEqual(others.map((o) => o.refused), [{}, {}, {}])
  assert.equal(Number(await from.call('CLUSTER', 'COUNTKEYSINSLOT', h)), 0)
  const found = await to.with((r) => Promise.all(acknowledged.map((id) => r.call('HEXISTS', key(moving, 's'), raw(id)))))
  assert.deepEqual(acknowledged.filter((id, i) => found[i] !== 1), [])
  await doneOnce(acknowledged, s, planner)
  for (const [i, o] of others.entries()) await doneOnce(o.acknowledged, drains[i], planner2, second)
  await denied(planner.raw('Submit', bytes), 'replayed_nonce')
  assert.equal((await planner.get(waits)).state, 'HANDOFF_STATE_SCHEDULED')
  const opened = [b, second].flatMap((n) => n.audit()).filter((r) => r.event === 'store.incarnation' && r.route === moving)
  assert.ok(opened.length > 0)
  for (const r of opened) assert.match(r.message, /; 0 sequence numbers are missing/)
  assert.match(b.log(), new RegExp(`"store\\.slot_moves","slot":"acme/${moving}","hash_slot":${h}`))
  assert.match(b.log(), new RegExp(`"store\\.slot_moved","slot":"acme/${moving}","at":"127\\.0\\.0\\.1","port":${to.port}`))
  assert.equal((await check(b)).ok, true)
  for (const d of [s, ...drains]) await d.leave()

  await redis.move(h, to, from)
  await carried(planner, worker, moving)
  await denied(planner.raw('Submit', bytes), 'replayed_nonce')
  await until('the new primary to be left', () => new RegExp(`"store\\.left","at":"127\\.0\\.0\\.1","port":${to.port}`).test(b.log()), 60000)
  await redis.remove(to)
  await planner.unary('Cancel', { handoff_id: waits })
}, 150000)

test('rediscluster: as long as a slot moves nothing in it is changed, not even half, by what finds all its keys / taken back before a key moved, it serves', async () => {
  const [from, to, h] = [redis.primaries[0], redis.primaries[1], slot(still)]
  await carried(planner, worker, still) // f
  const ids = [(await send(planner, still)).handoff_id]
  const holder = await worker.subscribe({ routes: [still] }) // l
  await holder.delivery()
  for (const priority of [1, 1, 5, 5, 9, 9]) ids.push((await send(planner, still, { priority })).handoff_id) // q0 q1 q2: a lease finds all that it asks for
  const kept = () => from.with(async (r) => {
    const keys = (await r.call('CLUSTER', 'GETKEYSINSLOT', h, 1000)).sort(Buffer.compare)
    return JSON.stringify(await Promise.all(keys.map(async (k) => [k.toString('latin1'), (await r.call('DUMP', k)).toString('base64')])))
  })
  const counted = async (fn) => Number((await second.http('/metrics')).body.match(new RegExp(`^baton_store_calls_total\\{function="${fn}",result="moving"\\} (\\d+)$`, 'm'))?.[1] || 0)
  await redis.beginMove(h, from, to)
  const [was, leases, ticks] = [await kept(), await counted('lease'), await counted('tick')]
  for (const k of ['m', 's', 'l', 'q0', 'q1', 'q2', 'f']) assert.equal(await from.call('EXISTS', key(still, k)), 1, k)
  const s = await serve(worker2, still)
  await until('leases and ticks to be refused', async () => await counted('lease') > leases + 1 && await counted('tick') > ticks + 1, 20000)
  await denied(planner.submit(read(still)), 'store_unavailable', 'UNAVAILABLE')
  assert.equal(await kept(), was)
  for (const p of [to, from]) await p.call('CLUSTER', 'SETSLOT', h, 'STABLE')
  holder.cut()
  await until('all to be done', async () => (await Promise.all(ids.map((id) => planner.get(id)))).every((one) => one.state === 'HANDOFF_STATE_COMPLETED'), 30000)
  await s.leave()
})

test('rediscluster: a broadcast route moves with its inboxes: each agent has its copy of what was published before, once, and of what comes after', async () => {
  const [from, to, h] = [redis.primaries[2], redis.primaries[1], slot(everybody)]
  const agents = { worker, worker2: await b.agent('worker2') }
  for (let n = 0; n < 5; n++) await sent(planner, everybody)
  await redis.beginMove(h, from, to)
  await redis.moveKeys(h, from, to, 3)
  await denied(send(planner, everybody), 'store_unavailable', 'UNAVAILABLE')
  while (await redis.moveKeys(h, from, to));
  await redis.endMove(h, from, to)
  await sent(planner, everybody)
  for (const agent of Object.values(agents)) {
    const s = await serve(agent, everybody)
    await until('its copies', () => s.ends.size >= 6, 20000)
    await s.leave()
    assert.deepEqual([s.ends.size, [...s.ends.values()].every((fences) => fences.size === 1)], [6, true])
  }
  for (const name of Object.keys(agents)) assert.equal(await to.call('EXISTS', `{acme/${everybody}}:@${name}:s`), 1)
  assert.equal(Number(await from.call('CLUSTER', 'COUNTKEYSINSLOT', h)), 0)
})

test('rediscluster: store check looks at all primaries: blobs that nothing names are found on each, and removed; work is left alone', async () => {
  const waiting = []
  for (const r of routes) waiting.push((await sent(planner, r)).handoff_id)
  const stray = (r) => Buffer.concat([Buffer.from(key(r, 'b:')), Buffer.alloc(16, 7), Buffer.alloc(8, 9)])
  for (const [i, r] of routes.entries()) await redis.primaries[i].call('SET', stray(r), 'x')
  const run = (code, ...args) => {
    const r = spawnSync(BATON, ['store', 'check', ...args, '-o', 'json'], { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
    assert.equal(r.status, code, r.stdout + r.stderr)
    return JSON.parse(r.stdout).map((f) => [f.route, f.fault])
  }
  const all = routes.map((r) => [r, 'blob']).sort()
  assert.deepEqual(run(1).sort(), all)
  assert.deepEqual(run(0, '--repair', '--reason', 'a test', '--yes').sort(), all)
  assert.deepEqual(run(0), [])
  for (const [i, r] of routes.entries()) {
    assert.equal(await redis.primaries[i].call('EXISTS', stray(r)), 0)
    const s = await serve(worker, r)
    await doneOnce([waiting[i]], s, planner)
    await s.leave()
  }
})

test('rediscluster: a primary without a replica is down: its route is refused and /readyz names it, the others go on, also on a node that starts meanwhile / back, it serves, and nothing is lost', async () => {
  const home = await redis.owner(hashSlot('/'))
  const i = [0, 1, 2].find((n) => redis.primaries[n] !== home)
  const [dead, route] = [redis.primaries[i], routes[i]]
  const rest = routes.filter((r) => r !== route)
  const { handoff_id } = await sent(planner, route)
  const others = rest.map((r) => burst(planner, r, [], 1))
  const drains = await Promise.all(rest.map((r) => serve(worker2, r)))
  await dead.kill('SIGTERM')
  const told = await until('/readyz to name it', async () => { const c = await check(b); return new RegExp(`primary 127\\.0\\.0\\.1:${dead.port} \\(slots ${i ? '' : '0'}`).test(c.remedy) && c }, 20000)
  assert.equal(told.ok, true)
  assert.match(told.remedy, /is missing: .*: see that/)
  assert.equal((await b.http('/readyz')).status, 200)
  await denied(send(planner, route), 'store_unavailable', 'UNAVAILABLE')
  assert.match(b.log(), new RegExp(`"store\\.down","at":"127\\.0\\.0\\.1","port":${dead.port}`))
  await Promise.all(others.map((o) => o.more(10)))
  await second.stop({ ms: 60000 })
  await second.start()
  ;[planner2, worker2] = [await second.agent('planner'), await second.agent('worker')]
  await denied(send(planner2, route), 'store_unavailable', 'UNAVAILABLE')
  await send(planner2, rest[0])
  await Promise.all(others.map((o) => o.stop()))
  assert.deepEqual(others.map((o) => o.refused), [{}, {}])
  await dead.start()
  await until('all to be well', async () => { const c = await check(b); return c.ok && !/missing/.test(c.remedy) }, 30000)
  const s = await serve(worker, route)
  await doneOnce([handoff_id], s, planner)
  await s.leave()
  await carried(planner2, worker2, route)
  for (const d of drains) if (!d.ended) d.cut()
}, 90000)

test('rediscluster: store.url at one of its nodes, store.cluster at a Redis alone, other sealing keys: refused, nothing written, the remedy said', async () => {
  const alone = await (await new RedisServer(b.path('ext', 'alone')).choosePort()).start()
  const count = async () => [Number(await alone.call('DBSIZE')), ...await Promise.all(routes.map(async (r) => Number(await (await redis.owner(slot(r))).call('HLEN', key(r, 's')))))]
  const rows = [
    [`url: redis://127.0.0.1:${redis.servers[0].port}`, /a node of a Redis Cluster: name its nodes in store\.cluster/],
    [`cluster: ["redis://127.0.0.1:${alone.port}"]`, new RegExp(`^node 127\\.0\\.0\\.1:${alone.port}: is no node of a Redis Cluster: name it in store\\.url in place of store\\.cluster`)],
    [`cluster: ["redis://127.0.0.1:1"]`, /^node 127\.0\.0\.1:1: .*: see that the nodes of store\.cluster run/],
    [`cluster: ["redis://127.0.0.1:${redis.servers[1].port}"]\n  keys_file: OTHER`, /sealed with a key that store\.keys_file does not have/]
  ]
  try {
    for (const [lines, remedy] of rows) {
      const node = await b.twin(`wrong-${rows.findIndex((r) => r[0] === lines)}`, { config: (t) => t.replace('url: ""', lines.replace('OTHER', `${b.path('other.keys')}`)) })
      try {
        const before = await count()
        node.launch()
        const c = await until('/readyz to tell', async () => { const one = await check(node); return remedy.test(one.remedy) && one }, 20000)
        assert.equal(c.ok, false)
        const p = await node.agent('planner')
        for (const r of routes) await denied(send(p, r), 'store_unavailable', 'UNAVAILABLE')
        assert.deepEqual(await count(), before)
        assert.equal(await (await redis.owner(hashSlot('/'))).call('EXISTS', `{/}:node:${node.node}`), 0)
      } finally { await node.remove() }
    }
  } finally { await alone.kill() }
}, 60000)

test('rediscluster: a primary is killed in a burst and its replica takes its place: with store.replicas all that was acknowledged is there, done once, old bytes stay refused, other routes do not notice', async () => {
  const group = new RedisCluster(b.path('ext', 'ha'), { replicas: 1, args: ['--cluster-require-full-coverage', 'no', '--min-replicas-to-write', '1', '--min-replicas-max-lag', '60', '--repl-diskless-sync-delay', '0'] })
  let node
  try {
    await group.start()
    node = await b.twin('replicated', { config: (t) => store(group)(t).replace('cluster:', 'replicas: 1\n  cluster:') })
    const [p, w] = await node.startWith('planner', 'worker')
    const home = await group.owner(hashSlot('/'))
    const killed = home // what is no route's moves as well
    const i = group.primaries.indexOf(killed)
    const bytes = bytesField(1, encode('baton.v1.TaskEnvelope', p.envelope(read(routes[i]))))
    await taken(p, bytes)
    const all = routes.map((r, j) => burst(p, r, ['store_unavailable', ...(j === i ? ['stale_envelope'] : [])]))
    const drains = await Promise.all(routes.map((r) => serve(w, r)))
    await Promise.all(all.map((o) => o.more(20)))
    const began = Date.now()
    await killed.kill()
    const next = await until('the replica to take its place', async () => { const o = await group.owner(slot(routes[i])); return o !== killed && o }, 40000)
    await killed.start() // as its replica, without which the new one takes nothing
    await all[i].more(20, 60000)
    const late = Date.now() - began > 8000 // who hears nothing of changes for 10 s takes nothing
    for (const o of all) await o.stop()
    if (!late) assert.deepEqual(all.filter((o, j) => j !== i).map((o) => o.refused), [{}, {}])
    const found = await next.with((r) => Promise.all(all[i].acknowledged.map((id) => r.call('HEXISTS', key(routes[i], 's'), raw(id)))))
    assert.deepEqual(all[i].acknowledged.filter((id, n) => found[n] !== 1), [])
    for (const [j, o] of all.entries()) await doneOnce(o.acknowledged, drains[j], p, node)
    await denied(p.raw('Submit', bytes), 'replayed_nonce')
    for (const r of node.audit().filter((one) => one.event === 'store.incarnation')) assert.match(r.message, /; 0 sequence numbers are missing/)
    assert.match(node.log(), new RegExp(`"store\\.ready",[^\\n]*"port":${next.port}\\b`))
    assert.match(node.log(), new RegExp(`"store\\.left","at":"127\\.0\\.0\\.1","port":${killed.port}\\b`))
  } finally {
    await node?.remove()
    await group.stop()
  }
}, 150000)

test('rediscluster: TLS, client certificates and a user with the rights of docs/redis.md and two more: it serves / without one of the two it is named, and given back', async () => {
  const dir = b.path('cluster-tls')
  fs.mkdirSync(dir, { mode: 0o700 })
  const ca = new Ca(dir, 'redis-ca')
  const [server, ours] = [ca.leaf('server', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' }), ca.leaf('client')]
  const peer = ca.leaf('peer', { sans: ['IP:127.0.0.1'] })
  const password = randomBytes(24).toString('base64url')
  fs.writeFileSync(`${dir}/password`, password, { mode: 0o600 })
  const line = readText(`${ROOT}/docs/redis.md`).match(/^user baton on .*$/m)[0].replace('SHA256', createHash('sha256').update(password).digest('hex'))
  const group = new RedisCluster(b.path('ext', 'tls'), {
    port: '--tls-port',
    acl: [`${line} +cluster|slots +asking`, 'user default off'],
    args: ['--cluster-require-full-coverage', 'no', '--tls-cluster', 'yes', '--tls-cert-file', server.cert, '--tls-key-file', server.key, '--tls-client-cert-file', peer.cert, '--tls-client-key-file', peer.key, '--tls-ca-cert-file', ca.cert, '--tls-auth-clients', 'yes']
  })
  let node
  try {
    await group.start()
    node = await b.twin('tls', { config: (t) => t.replace('url: ""', [`cluster: ["rediss://localhost:${group.servers[0].port}"]`, 'user: baton', `password_file: ${dir}/password`, `ca: ${ca.cert}`, `cert: ${ours.cert}`, `key: ${ours.key}`].join('\n  ')) })
    const [p, w] = await node.startWith('planner', 'worker')
    for (const r of routes) await carried(p, w, r)
    const h = slot(routes[0])
    const [from, to] = group.primaries
    await group.beginMove(h, from, to)
    await denied(send(p, routes[0]), 'store_unavailable', 'UNAVAILABLE')
    while (await group.moveKeys(h, from, to, 100, ['AUTH2', 'admin', 'x']));
    await group.endMove(h, from, to)
    await carried(p, w, routes[0])
    for (const s of group.servers) await s.call('ACL', 'SETUSER', 'baton', '-cluster|slots')
    await node.stop()
    node.launch()
    const c = await until('/readyz to tell', async () => { const one = await check(node); return /^node (localhost|127\.0\.0\.1):\d+: store\.user lacks \+cluster\|slots/.test(one.remedy) && one }, 20000)
    assert.equal(c.ok, false)
    for (const s of group.servers) await s.call('ACL', 'SETUSER', 'baton', '+cluster|slots', '-asking')
    await until('/readyz to tell', async () => /store\.user lacks \+asking/.test((await check(node)).remedy), 20000)
    for (const s of group.servers) await s.call('ACL', 'SETUSER', 'baton', '+asking')
    await node.ready(30000)
    assert.ok(!node.log().includes(password))
  } finally {
    await node?.remove()
    await group.stop()
  }
}, 120000)
