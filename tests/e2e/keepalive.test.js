// What renews a lease where the profile says keepalive: progress? What the worker says of the delivery, and nothing else; a stream that only
// lives is not enough. Beside it a route with keepalive: stream, where it is.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { test, before, after, assert, sleep } from './lib/suite.js'
import { Broker, BATOND, profile } from './lib/broker.js'
import { read } from './lib/agent.js'
import { freePort } from './lib/ports.js'

const LEASE_MS = 4000 // of the silent
const TALK_MS = 8000 // of those who must be heard in time, on a slow machine too
const delivery = (change) => ({ delivery: { ...profile('x').delivery, lease_ms: LEASE_MS, resume_ms: 1000, keepalive: 'progress', backoff_ms: [100, 300], ...change } })
const routes = {
  talks: { lease_ms: TALK_MS }, silent: {}, dead: { max_attempts: 2 }, stream: { keepalive: 'stream', resume_ms: LEASE_MS }, reports: { lease_ms: TALK_MS }, cut: { lease_ms: 60000 },
  resumes: { lease_ms: 6000, resume_ms: 5000 }, backs: { backoff_ms: [60000, 60000] }, turns: { lease_ms: 8000 }
}
const b = new Broker({ profiles: Object.fromEntries(Object.entries(routes).map(([n, d]) => [n, profile(n, delivery(d))])) })
let planner, worker, worker2

before(async () => { [planner, worker, worker2] = await b.startWith('planner', 'worker', 'worker2') })
after(() => b.remove())

const lapses = (handoff_id) => b.audit().filter((r) => r.event === 'handoff.lapsed' && r.handoff_id === handoff_id).length
const progress = (d, message = 'still at it') => ({ progress: { lease: d.lease, message } })

// Speaks by say() until the lease would have ended several times over.
async function talk (say, ms = 2 * TALK_MS) {
  const end = Date.now() + ms
  while (Date.now() < end) { await say(); await sleep(300) }
}

async function stopped (s, d) {
  const stop = await s.stop(20000)
  assert.deepEqual([stop.lease, stop.reason], [d.lease, 'REASON_LEASE_LOST'])
  const late = await s.complete(d)
  assert.deepEqual([late.ok, late.reason], [false, 'REASON_LEASE_LOST'])
}

test('A worker that talks keeps its lease for as long as it talks, then completes at its first attempt', async () => {
  const { handoff_id } = await planner.submit(read('talks'))
  const s = await worker.subscribe({ routes: ['talks'] })
  const d = await s.delivery()
  const words = [() => s.write({ accept: { lease: d.lease } }), () => s.write(progress(d)),
    () => s.settle({ artifact: { lease: d.lease, artifact_id: 'log', data: Buffer.from('x'), append: true, last_chunk: true } })]
  let n = 0
  await talk(() => words[n++ % 3]())
  assert.equal((await s.complete(d)).ok, true)
  const h = await planner.get(handoff_id)
  assert.deepEqual([h.state, h.attempt, lapses(handoff_id)], ['HANDOFF_STATE_COMPLETED', 1, 0])
  assert.ok(!s.items.some((f) => f.stop))
  await s.leave()
})

test('A silent worker loses it though its stream lives: Stop(LEASE_LOST), its report is LEASE_LOST, another gets the work', async () => {
  const { handoff_id } = await planner.submit(read('silent'))
  const s = await worker.subscribe({ routes: ['silent'] })
  const d = await s.delivery()
  s.write({ flow: { max_in_flight: 0 } })
  await stopped(s, d)
  assert.equal(s.ended, null)
  const other = await worker2.subscribe({ routes: ['silent'] })
  const again = await other.delivery()
  assert.deepEqual([again.lease.handoff_id, again.attempt, lapses(handoff_id)], [handoff_id, 2, 1])
  assert.ok(Number(again.lease.fencing_token) > Number(d.lease.fencing_token))
  assert.equal((await other.complete(again)).ok, true)
  await s.leave()
  await other.leave()
})

test('What a silent worker lost backs off, and even then its report is LEASE_LOST', async () => {
  const { handoff_id } = await planner.submit(read('backs'))
  const s = await worker.subscribe({ routes: ['backs'] })
  await stopped(s, await s.delivery())
  await sleep(1500)
  assert.deepEqual(s.deliveries(), [])
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_QUEUED')
  assert.equal((await planner.cancel(handoff_id)).state, 'HANDOFF_STATE_CANCELLED')
  await s.leave()
})

test('Silent at every attempt: dead-lettered after the last, and told each time', async () => {
  const { handoff_id } = await planner.submit(read('dead'))
  const s = await worker.subscribe({ routes: ['dead'] })
  for (const attempt of [1, 2]) {
    const d = await s.delivery(20000)
    assert.equal(d.attempt, attempt)
    await stopped(s, d)
  }
  await planner.state(handoff_id, 'DEAD_LETTERED')
  await b.audited({ event: 'handoff.dead_lettered', handoff_id })
  await s.leave()
})

test('With keepalive: stream a silent worker keeps its lease, as before', async () => {
  const { handoff_id } = await planner.submit(read('stream'))
  const s = await worker.subscribe({ routes: ['stream'] })
  const d = await s.delivery()
  await sleep(3 * LEASE_MS)
  assert.equal((await s.complete(d)).ok, true)
  assert.deepEqual([(await planner.get(handoff_id)).attempt, lapses(handoff_id)], [1, 0])
  await s.leave()
})

test('Words by Report on other connections count as well, for the stream that holds the lease', async () => {
  const { handoff_id } = await planner.submit(read('reports'))
  const s = await worker.subscribe({ routes: ['reports'] })
  const d = await s.delivery()
  const others = [await b.agent('worker'), await b.agent('worker'), await b.agent('worker')] // on either of the broker's threads
  let n = 0
  await talk(async () => assert.equal((await others[n++ % 3].report(progress(d))).ok, true))
  assert.equal((await s.complete(d)).ok, true)
  assert.deepEqual([(await planner.get(handoff_id)).attempt, lapses(handoff_id)], [1, 0])
  assert.ok(!s.items.some((f) => f.stop))
  await s.leave()
})

// Another node on the same Redis.
async function secondNode () {
  const other = new Broker({ profiles: b.profiles })
  for (const k of ['acme', 'globex', 'serverCa', 'server', 'leaves', 'issuer']) other[k] = b[k]
  other.port = await freePort()
  other.metricsPort = await freePort()
  other.addr = `127.0.0.1:${other.port}`
  other.writeProfiles()
  other.change = (t) => t.replace('node: test-node', 'node: other-node').replace('  url: ""', `  url: "unix://${b.socket()}"\n  keys_file: ${b.path('state', 'seal.keys')}`)
  other.writeConfig()
  return other.start()
}

test('Words to another node count as well; who then falls silent is told by his own', async () => {
  const node = await secondNode()
  try {
    const { handoff_id } = await planner.submit(read('reports'))
    const s = await worker.subscribe({ routes: ['reports'] })
    const d = await s.delivery()
    const there = await node.agent('worker')
    await talk(async () => assert.equal((await there.report(progress(d))).ok, true))
    assert.deepEqual([(await planner.get(handoff_id)).attempt, lapses(handoff_id)], [1, 0])
    assert.ok(!s.items.some((f) => f.stop))
    s.write({ flow: { max_in_flight: 0 } })
    await stopped(s, d)
    await planner.cancel(handoff_id)
    await s.leave()
  } finally { await node.remove() }
}, 60000)

test('Nobody else\'s words renew it', async () => {
  const { handoff_id } = await planner.submit(read('silent'))
  const s = await worker.subscribe({ routes: ['silent'] })
  const d = await s.delivery()
  s.write({ flow: { max_in_flight: 0 } })
  let told
  const stop = stopped(s, d).finally(() => { told = true })
  while (!told) { // of another agent, and of another fence
    assert.equal((await worker2.report(progress(d))).reason, 'REASON_LEASE_LOST')
    assert.equal((await worker.report(progress({ lease: { ...d.lease, fencing_token: Number(d.lease.fencing_token) + 1 } }))).reason, 'REASON_LEASE_LOST')
    await sleep(200)
  }
  await stop
  await planner.cancel(handoff_id)
  await s.leave()
})

test('After a cut: who resumes and talks keeps it; who resumes and is silent loses it', async () => {
  for (const talks of [true, false]) {
    const { handoff_id } = await planner.submit(read('resumes'))
    const s = await worker.subscribe({ routes: ['resumes'] })
    const d = await s.delivery()
    s.write(progress(d))
    s.cut()
    const again = await worker.subscribe({ routes: ['resumes'], resume: [d.lease] })
    assert.deepEqual(again.granted.resumed, [d.lease])
    if (talks) {
      await talk(() => again.write(progress(d)), 9000)
      assert.equal((await again.complete(d)).ok, true)
      assert.equal((await planner.get(handoff_id)).attempt, 1)
    } else {
      again.write({ flow: { max_in_flight: 0 } })
      await stopped(again, d)
      await planner.cancel(handoff_id)
    }
    await again.leave()
  }
})

test('Who is cut and does not come back has lost it after resume_ms, as with any other profile', async () => {
  const { handoff_id } = await planner.submit(read('cut'))
  const s = await worker.subscribe({ routes: ['cut'] })
  const d = await s.delivery()
  s.cut()
  const other = await worker2.subscribe({ routes: ['cut'] })
  const again = await other.delivery(20000)
  assert.deepEqual([again.lease.handoff_id, again.attempt], [handoff_id, 2])
  const resumed = await worker.subscribe({ routes: ['cut'], resume: [d.lease] })
  assert.deepEqual(resumed.granted.resumed, [])
  assert.equal((await other.complete(again)).ok, true)
  await other.leave()
  await resumed.leave()
})

test('A reload that changes keepalive holds for leases that are held: back to stream, silence is enough again', async () => {
  const { handoff_id } = await planner.submit(read('turns'))
  const s = await worker.subscribe({ routes: ['turns'] })
  const d = await s.delivery()
  const turn = async (keepalive) => {
    fs.writeFileSync(b.path('profiles', 'turns.json'), JSON.stringify(profile('turns', delivery({ lease_ms: 8000, keepalive }))))
    await b.reloaded()
  }
  s.write(progress(d))
  await turn('stream')
  await sleep(17000)
  s.write({ flow: { max_in_flight: 0 } })
  await turn('progress')
  await stopped(s, d)
  await planner.cancel(handoff_id)
  await s.leave()
})

test('batond --check-config names a keepalive that is none, and those that there are', () => {
  const at = b.path('profiles', 'talks.json')
  const good = fs.readFileSync(at, 'utf8')
  const check = () => spawnSync(BATOND, ['--check-config', '--config', b.path('baton.yaml')], { encoding: 'utf8' })
  fs.writeFileSync(at, good.replace('"progress"', '"words"'))
  const bad = check()
  fs.writeFileSync(at, good)
  assert.notEqual(bad.status, 0)
  assert.match(bad.stderr, /talks\.json: delivery\.keepalive: "words" is none of stream, progress/)
  assert.equal(check().status, 0)
})
