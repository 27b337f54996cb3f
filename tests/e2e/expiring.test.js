// What becomes of a long stream whose token expires? A warning, renewal in the stream where there is a way, then the end; nothing that was acknowledged is lost.
import fs from 'node:fs'
import { spawn } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { BATON, Broker, ROUTE, profile } from './lib/broker.js'
import { read } from './lib/agent.js'

const b = new Broker({ profiles: { [ROUTE]: profile(ROUTE, { delivery: { ...profile('x').delivery, lease_ms: 10000, resume_ms: 10000 } }) } })
let planner, worker
before(async () => { [planner, worker] = await b.startWith('planner', 'worker') })
after(() => b.remove())

const now = () => Math.floor(Date.now() / 1000)
const short = (agent, s = 6) => b.issuer.mint(agent, { exp: now() + s })
const EXPIRING = 'NOTICE_KIND_TOKEN_EXPIRING'
const frame = (ref) => ({ submit: { envelope: planner.envelope(read(ROUTE)), ref } })
const receipt = async (pipe, ref) => (await pipe.take(`receipt ${ref}`, (r) => r.receipt?.ref === ref)).receipt
const noticed = async (stream) => (await stream.take('a notice', (r) => r.notice?.kind === EXPIRING)).notice

test('I-1 A pipe whose token expires is warned, and ends as expired_token; what it was given receipts for is there / renewed in time it goes on, and is warned again', async () => {
  const token = await short(planner)
  const left = planner.pipe({ token }), renewed = planner.pipe({ token })
  for (const pipe of [left, renewed]) pipe.write(frame(1))
  const { handoff_id } = await receipt(left, 1)
  await receipt(renewed, 1)
  const notice = await noticed(left)
  assert.ok(Math.abs(Number(notice.at_ms) - Date.now()) < 8000 && Number(notice.at_ms) % 1000 === 0)
  assert.match(notice.message, /send a Credential/)
  await noticed(renewed)
  renewed.write({ credential: { access_token: await short(planner, 25) } })
  const end = await left.end(20000)
  assert.deepEqual([end.reason, end.code], ['expired_token', 'UNAUTHENTICATED'])
  assert.match(end.message, /no Credential came/)
  assert.equal((await planner.get(handoff_id)).handoff_id, handoff_id)
  renewed.write(frame(2))
  assert.ok((await receipt(renewed, 2)).handoff_id)
  await noticed(renewed)
  renewed.write({ credential: { access_token: await b.issuer.mint(planner) } })
  await sleep(25000)
  renewed.write(frame(3))
  assert.ok((await receipt(renewed, 3)).handoff_id)
  renewed.call.end()
  assert.equal((await renewed.end()).code, 'OK')
}, 90000)

test('I-1 A pipe each of whose submits brings its own token, or whose token is good for long, is neither warned nor ended', async () => {
  const own = planner.pipe({ token: '' }), long = planner.pipe()
  own.write({ submit: { ...frame(1).submit, access_token: await short(planner, 2) } })
  long.write(frame(1))
  await receipt(own, 1)
  await receipt(long, 1)
  await sleep(15000)
  own.write({ submit: { ...frame(2).submit, access_token: await short(planner, 20) } })
  long.write(frame(2))
  assert.ok((await receipt(own, 2)).handoff_id)
  assert.ok((await receipt(long, 2)).handoff_id)
  for (const pipe of [own, long]) assert.deepEqual(pipe.items, [])
  for (const pipe of [own, long]) pipe.call.cancel()
})

test('I-1 A watch and a run end as expired_token when their token does / with a new one the watch goes on behind the last event, and misses none', async () => {
  const asked = planner.token
  planner.token = await short(planner)
  const { handoff_id } = await planner.submit(read(ROUTE))
  const watch = planner.watch(handoff_id)
  const run = planner.run?.(read(ROUTE))
  const first = await watch.take('the first event', (e) => Number(e.cursor) === 1)
  const end = await watch.end(20000)
  assert.deepEqual([end.reason, end.code], ['expired_token', 'UNAUTHENTICATED'])
  assert.match(end.message, /watch again from the last cursor/)
  if (run) assert.equal((await run.end(20000)).reason, 'expired_token')
  planner.token = asked
  const again = planner.watch(handoff_id, first.cursor)
  await planner.cancel(handoff_id)
  assert.deepEqual((await again.all()).map((e) => Number(e.cursor)), [2])
})

test('I-1 A subscription that sent a token of its own ends when that does, warned; its work goes on where it resumes / one without a token of its own stays', async () => {
  for (const q of (await planner.list({})).handoffs || []) await planner.cancel(q.handoff_id).catch(() => {})
  const plain = await worker.subscribe()
  plain.write({ flow: { max_in_flight: 0 } })
  await sleep(200)
  const s = await worker.subscribe()
  s.write({ credential: { access_token: await short(worker) } })
  const { handoff_id } = await planner.submit(read(ROUTE))
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  await noticed(s)
  assert.equal((await s.end(20000)).reason, 'expired_token')
  const next = await worker.subscribe({ resume: [d.lease] })
  assert.equal((await next.complete(d)).ok, true)
  assert.equal(plain.ended, null)
  await next.leave()
  plain.cut()
})

test('I-1 baton handoff watch takes the new token from its file and goes on / without a new one it says so and exits with 77', async () => {
  const leaf = { ...b.leaves.planner }
  const watch = (id, file) => {
    const p = spawn(BATON, ['handoff', 'watch', id, '-o', 'jsonl', '--addr', b.addr, '--ca', b.serverCa.cert, '--cert', leaf.cert, '--key', leaf.key, '--token-file', file], { env: { PATH: process.env.PATH, HOME: b.dir } })
    const r = { out: '', err: '' }
    p.stdout.on('data', (x) => { r.out += x })
    p.stderr.on('data', (x) => { r.err += x })
    r.exit = new Promise((done) => p.on('exit', done))
    return r
  }
  const put = (file, token) => { fs.writeFileSync(`${file}.new`, token, { mode: 0o600 }); fs.renameSync(`${file}.new`, file) }
  const fresh = b.path('fresh.token'), stale = b.path('stale.token')
  const { handoff_id } = await planner.submit(read(ROUTE))
  for (const f of [fresh, stale]) put(f, await short(planner, 8))
  const good = watch(handoff_id, fresh), bad = watch(handoff_id, stale)
  await until('the first events', () => good.out && bad.out)
  put(fresh, await b.issuer.mint(planner))
  assert.equal(await bad.exit, 77)
  assert.match(bad.err, /expired_token/)
  await until('the other to go on', () => good.err.includes('the token expired, and there is another'))
  await planner.cancel(handoff_id)
  assert.notEqual(await good.exit, 77)
  assert.deepEqual(good.out.trim().split('\n').map((l) => Number(JSON.parse(l).cursor)), [1, 2])
})
