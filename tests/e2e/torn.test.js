// What if the log of the private Redis is torn, damaged or cut? What was not acknowledged is gone as a whole and costs nothing else, at this start
// and at the next. When what was acknowledged is gone, no replay gets in, no fence comes twice, nothing is there by half, and it is said how much.
import fs from 'node:fs'
import path from 'node:path'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { Broker, profile } from './lib/broker.js'
import { denied, read } from './lib/agent.js'
import { bytesField, encode } from './lib/wire.js'

const MAX_LOST = 3
// A lease outlasts a restart; what fails may be tried often.
const slow = (route) => profile(route, { delivery: { ...profile(route).delivery, lease_ms: 60000, resume_ms: 60000, max_attempts: 9 } })
const places = [
  ['in the header of MULTI', 'tear0', (t) => t.multi + 7],
  ['in the length of a bulk', 'tear1', (t) => t.blob - 3],
  ['in the middle of the task', 'tear2', (t) => t.blob + 40],
  ['before EXEC', 'tear3', (t) => t.exec],
  ['in the last byte of EXEC', 'tear4', (t) => t.end - 1]
]
const routes = [...places.map(([, route]) => route), 'deep', 'damaged', 'few', 'many']
const b = new Broker({ profiles: Object.fromEntries(routes.map((r) => [r, slow(r)])), config: (t) => t.replace('timeout: 2s', `timeout: 2s\n  max_lost: ${MAX_LOST}`) })
let planner, worker

const start = async () => { [planner, worker] = await b.startWith('planner', 'worker') }
before(start)
after(() => b.remove())

const bytesOf = (route, more) => bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope(read(route, more))))
const send = (bytes) => planner.raw('Submit', bytes)
const takesNew = (route, more) => until('a new envelope to be taken', () => planner.submit(read(route, more)), 15000)
const lossesOf = (route) => b.audit().filter((r) => r.event === 'store.incarnation' && r.route === route).map((r) => Number(r.message.match(/(\d+) sequence/)[1]))
const m = (route, field) => b.redis((r) => r.call('HGET', `{acme/${route}}:m`, field)).then((v) => v && v.toString())

// Delivers n, in order; done(d) says whether to complete it.
async function deliver (route, n, done = () => true) {
  const s = await worker.subscribe({ routes: [route], max_in_flight: n })
  const got = []
  for (let i = 0; i < n; i++) got.push(await s.delivery(15000))
  s.write({ flow: { max_in_flight: 0 } }) // before credit comes back
  for (const d of got) if (done(d)) assert.equal((await s.complete(d)).ok, true)
  s.cut()
  return got
}
const ids = (list) => list.map((d) => d.lease.handoff_id).sort()

// ---- the log ----
const aofDir = () => path.join(b.path('state'), 'redis', 'appendonlydir')
const aof = () => path.join(aofDir(), fs.readdirSync(aofDir()).filter((f) => f.endsWith('.incr.aof')).sort().at(-1))
const aofSize = () => fs.statSync(aof()).size

// Where the first transaction behind `from` that stores a task has its MULTI, the task, its EXEC and its end.
function transaction (from) {
  const log = fs.readFileSync(aof())
  const line = (at) => { const end = log.indexOf('\r\n', at); return [Number(log.toString('latin1', at + 1, end)), end + 2] }
  let t = {}
  for (let at = from; at < log.length;) {
    const begun = at
    const words = []
    let [n, next] = line(at)
    for (; n > 0; n--) {
      const [size, bulk] = line(next)
      words.push([log.toString('latin1', bulk, bulk + size), bulk])
      next = bulk + size + 2
    }
    const name = words[0][0].toUpperCase()
    if (name === 'MULTI') t = { multi: begun }
    if (/^M?SET$/.test(name)) t.blob = words[2][1]
    if (name === 'EXEC' && t.blob) return { ...t, exec: begun, end: next }
    at = next
  }
  return assert.fail('no task was stored')
}

// What the broker's threads have written down of the routes.
const seqFiles = () => fs.readdirSync(b.path('state')).filter((f) => /^seq\.\d+\.json$/.test(f)).map((f) => b.path('state', f))
async function remembered (route) {
  const seq = Number(await m(route, 'seq'))
  await until('the numbers to be written down', () => seqFiles().some((f) => JSON.parse(fs.readFileSync(f)).slots[`acme/${route}`]?.[1] === seq))
  return seq
}

// Every record has its blobs and no blob is without its record; what is queued stands in one of the places to wait, once.
async function nothingByHalf (route) {
  const base = `{acme/${route}}:`
  await b.redis(async (r) => {
    const flat = await r.call('HGETALL', base + 's')
    const wanted = new Set()
    const queued = []
    const known = new Set()
    for (let i = 0; i < flat.length; i += 2) {
      const [id, rec] = [flat[i], flat[i + 1]]
      if (id.length !== 16) continue
      known.add(id.toString('hex'))
      if (rec.toString('latin1', 0, 1) !== 'R') continue
      wanted.add(Buffer.concat([id, rec.subarray(29, 37)]).toString('hex'))
      if (rec.readUInt32BE(86)) wanted.add(Buffer.concat([id, rec.subarray(78, 86)]).toString('hex'))
      if (rec[66] === 3) queued.push(id.toString('hex'))
    }
    const blobs = (await r.keys(base + 'b:*')).map((k) => k.subarray(Buffer.byteLength(base + 'b:')).toString('hex'))
    assert.deepEqual(blobs.sort(), [...wanted].sort())
    for (const k of await r.keys(base + 'e:*')) assert.ok(known.has(k.subarray(Buffer.byteLength(base + 'e:')).toString('hex')))
    const waits = []
    for (const q of ['q0', 'q1', 'q2']) waits.push(...await r.call('LRANGE', base + q, 0, -1))
    waits.push(...await r.call('ZRANGE', base + 'z', 0, -1))
    const at = waits.map((id) => id.toString('hex'))
    for (const id of queued) assert.equal(at.filter((x) => x === id).length, 1, 'queued once')
    for (const id of [...at, ...(await r.call('ZRANGE', base + 'n', 0, -1)).map((x) => x.toString('hex'))]) assert.ok(known.has(id))
  })
}

for (const [where, route, place] of places) {
  test(`attack 34: the log torn ${where} of a transaction that nobody was told of: nothing else is lost at the first start, nor what came then at the second`, async () => {
    const kept = []
    await takesNew(route)
    for (let i = 0; i < 3; i++) { const bytes = bytesOf(route); kept.push({ bytes, id: (await send(bytes)).handoff_id }) }
    const [done] = ids(await deliver(route, 1))
    await remembered(route)
    const before = seqFiles().map((f) => [f, fs.readFileSync(f)])
    const size = aofSize()
    const torn = bytesOf(route)
    const { handoff_id: tornId } = await send(torn)
    const t = transaction(size)
    const repairs = b.log().split('store.repair').length
    const losses = lossesOf(route).length
    await b.crash()
    fs.truncateSync(aof(), place(t))
    for (const [f, text] of before) fs.writeFileSync(f, text) // its acknowledgement never came
    await start()
    assert.equal(b.log().split('store.repair').length, repairs + 1)
    for (const k of kept) assert.equal((await denied(send(k.bytes), 'replayed_nonce')).handoff_id, k.id)
    await denied(send(torn), 'stale_envelope')
    await denied(planner.get(tornId), 'not_found')
    await nothingByHalf(route)
    const between = []
    for (let i = 0; i < 3; i++) between.push((await takesNew(route)).handoff_id)
    const second = ids(await deliver(route, 1))
    await b.crash()
    await start()
    const open = [...kept.map((k) => k.id), ...between].filter((id) => !second.includes(id))
    await takesNew(route).then((r) => open.push(r.handoff_id))
    for (const k of kept) assert.equal((await denied(send(k.bytes), 'replayed_nonce')).handoff_id, k.id)
    for (const id of [done, ...second]) assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_COMPLETED')
    await nothingByHalf(route)
    assert.deepEqual(ids(await deliver(route, open.length)), open.sort())
    assert.deepEqual([...new Set(lossesOf(route).slice(losses))], [0])
    for (const id of [...open, done, ...second]) assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_COMPLETED')
  }, 90000)
}

// Acknowledged: one done, one waiting; behind that `gone` more, of which one is done, one leased. How long the log was in between.
async function work (route, gone) {
  const first = (await takesNew(route)).handoff_id
  const fences = [...await deliver(route, 1)]
  const kept = bytesOf(route)
  const keptId = (await send(kept)).handoff_id
  await remembered(route)
  const size = aofSize()
  const lost = []
  for (let i = 0; i < gone; i++) {
    const key = `${route}-${i}`
    const bytes = bytesOf(route, { idempotency_key: key })
    lost.push({ key, bytes, id: (await send(bytes)).handoff_id })
  }
  const given = await deliver(route, 3, (d) => d.lease.handoff_id !== lost[1].id) // the kept one is done, and that is lost too
  assert.deepEqual(ids(given), [keptId, lost[0].id, lost[1].id].sort())
  await remembered(route)
  return { kept, keptId, first, lost, size, fences: [...fences, ...given].map((d) => Number(d.lease.fencing_token)), leased: given.find((d) => d.lease.handoff_id === lost[1].id) }
}

// No replay, no half, no fence twice; the same work is taken anew under its old key.
async function afterTheCut (route, w) {
  await takesNew(route)
  for (const l of w.lost) {
    await denied(send(l.bytes), 'stale_envelope')
    await denied(planner.get(l.id), 'not_found')
  }
  assert.equal((await denied(send(w.kept), 'replayed_nonce')).handoff_id, w.keptId)
  assert.equal((await planner.get(w.first)).state, 'HANDOFF_STATE_COMPLETED')
  const late = await worker.report({ complete: { lease: w.leased.lease, result: {} } })
  assert.deepEqual([late.ok, late.reason], [false, 'REASON_LEASE_LOST'])
  for (const l of w.lost) {
    const anew = await planner.submit(read(route, { idempotency_key: l.key }))
    assert.deepEqual([anew.duplicate, anew.handoff_id === l.id], [false, false])
  }
  await nothingByHalf(route)
}

async function fencesAreNew (route, w, n) {
  const got = (await deliver(route, n)).map((d) => Number(d.lease.fencing_token))
  assert.equal(new Set(got).size, n)
  assert.ok(Math.min(...got) > Math.max(...w.fences), `${got} after ${w.fences}`)
  await nothingByHalf(route)
}

async function toldOf (route, lost) {
  assert.deepEqual(lossesOf(route).filter((n) => n), [lost])
  assert.match((await b.http('/metrics')).body, new RegExp(`baton_store_lost_total\\{route="${route}"\\} ${lost}\n`))
  assert.match(b.log(), new RegExp(`"event":"store.incarnation"[^\\n]*"route":"${route}","lost":${lost}\\b`))
}
const pauses = (route) => b.audit().filter((r) => r.event === 'route.paused' && r.route === route)

test('E8 T7 attack 34: a log cut deeper, acknowledged work gone: no replay gets in, no fence comes twice, nothing is there by half, how much is gone is said', async () => {
  const w = await work('deep', MAX_LOST)
  await b.crash()
  fs.truncateSync(aof(), w.size + 57)
  await start()
  await afterTheCut('deep', w)
  await toldOf('deep', MAX_LOST)
  assert.deepEqual(pauses('deep'), []) // as many as may be
  await fencesAreNew('deep', w, 2 + MAX_LOST)
  assert.equal((await planner.get(w.keptId)).state, 'HANDOFF_STATE_COMPLETED')
}, 60000)

test('attack 34: a log damaged in the middle is cut there and a copy of it is kept; what stood behind is gone as if cut', async () => {
  const w = await work('damaged', MAX_LOST)
  await b.crash()
  const whole = fs.readFileSync(aof())
  const spoilt = Buffer.from(whole)
  spoilt.write('XXXX', w.size)
  fs.writeFileSync(aof(), spoilt)
  await start()
  await afterTheCut('damaged', w)
  await toldOf('damaged', MAX_LOST)
  const copies = fs.readdirSync(path.dirname(aofDir())).filter((f) => f.startsWith('appendonlydir.torn-')).sort()
  const copy = path.join(path.dirname(aofDir()), copies.at(-1), path.basename(aof()))
  assert.ok(fs.readFileSync(copy).equals(spoilt))
  await fencesAreNew('damaged', w, 2 + MAX_LOST)
}, 60000)

test('More gone than store.max_lost: the route takes work and gives none, with an alarm, until it is resumed / another goes on', async () => {
  const few = await work('few', MAX_LOST)
  const w = await work('many', MAX_LOST + 1)
  await b.crash()
  fs.truncateSync(aof(), few.size + 57) // before the work on the other began: it lost all
  await start()
  await afterTheCut('few', few)
  await takesNew('many')
  const seq = 2 + MAX_LOST + 1
  await toldOf('few', MAX_LOST)
  await toldOf('many', seq)
  const [alarm] = pauses('many')
  assert.match(alarm.message, new RegExp(`^${seq} handoffs are gone, and store\\.max_lost is ${MAX_LOST}: `))
  assert.match(b.log(), /"level":"error","event":"route\.paused"[^\n]*"route":"many"/)
  assert.deepEqual(pauses('few'), [])
  assert.equal(await m('many', 'paused'), '1')
  const s = await worker.subscribe({ routes: ['many', 'few'], max_in_flight: 50 })
  const { handoff_id, state } = await planner.submit(read('many'))
  assert.equal(state, 'HANDOFF_STATE_QUEUED')
  await until('all of the other route', () => s.deliveries().length === 2 + MAX_LOST)
  await sleep(1500) // longer than desks poll
  assert.deepEqual([...new Set(s.deliveries().map((d) => d.envelope.route))], ['few'])
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
  await denied(send(w.kept), 'stale_envelope')
  await b.crash()
  await start() // and it stays so
  await takesNew('many')
  const still = await worker.subscribe({ routes: ['many'], max_in_flight: 50 })
  await sleep(1500)
  assert.deepEqual(still.deliveries(), [])
  await b.redis((r) => r.call('HDEL', '{acme/many}:m', 'paused')) // what an operator's command does
  await until('all that waited', () => still.deliveries().length === 3)
  assert.ok(still.deliveries().some((d) => d.lease.handoff_id === handoff_id))
  assert.ok(Math.min(...still.deliveries().map((d) => Number(d.lease.fencing_token))) > Math.max(...w.fences))
  assert.equal(pauses('many').length, 1)
  still.cut()
}, 90000)
