// What becomes of revocations that have ended? They are shown for a week more; then nobody keeps them, and the names that they took in the store are free again.
// Nothing that could still refuse anybody goes with them, whichever clock leaps, and what a node that was away brings back refuses nobody.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker } from './lib/broker.js'
import { StepClock } from './lib/faults.js'
import { Operator } from './lib/operator.js'
import { RedisServer } from './lib/redisd.js'

const HOUR = 3600, DAY = 24 * HOUR, WEEK_AND_MORE = 8 * DAY
const storeClock = new StepClock(), clock = new StepClock()
const redis = new RedisServer(fs.mkdtempSync(path.join(os.tmpdir(), 'bt-forget-')), { env: { ...storeClock.broker.env, BATON_PRELOADED: 'redis-server' } })
const node = { ...clock.broker, config: (t) => t.replace('url: ""', `url: ${JSON.stringify(`unix://${redis.socket}`)}`) }
const b = new Broker(node)
let away, op, made

const long = (x) => { x.server = x.serverCa.leaf('server', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth', days: 25 }); x.writeConfig() }
const kept = (x) => [...x.read().matchAll(/^revocation\/([0-9a-f]{16}) /gm)].map((m) => m[1]).sort()
const inStore = async () => (await redis.call('HKEYS', '{/}:s')).map(String).filter((n) => n.startsWith('revocation/')).map((n) => n.slice(11)).sort()
const listed = async () => (await op.call('ListRevocations', { with_lifted: true })).revocations.map((r) => r.id).sort()
const start = async (x) => { await x.start(); if (x === b) { op?.close(); op = new Operator(b.adminSocket) } }
const ids = {}

before(async () => {
  await redis.start()
  await b.prepare()
  long(b)
  await start(b)
  away = await b.twin('away', node)
  fs.copyFileSync(b.path('state', 'seal.keys'), away.path('state', 'seal.keys'))
  for (const x of [b, away]) x.read = () => fs.readFileSync(x.path('state', 'revocations'), 'latin1')
  await start(away)
})
after(async () => {
  op?.close()
  for (const x of [away, b]) await x?.remove()
  await redis.kill()
  fs.rmSync(redis.dir, { recursive: true })
  for (const c of [clock, storeClock]) c.remove()
})

test('R-3 A revocation that has ended is shown, and kept by every node and the store, as one in force is', async () => {
  const make = async (what, ms) => (await op.revoke({ jti: what }, ms ? { until_ms: Date.now() + ms } : {})).revocation_id
  ids.ended = await make('ended', 3000)
  ids.lifted = await make('lifted', 4000)
  ids.month = await make('month', 30 * DAY * 1000)
  ids.good = await make('good')
  ids.early = await make('early') // lifted, and had no end
  await op.lift(ids.lifted)
  await op.lift(ids.early)
  await sleep(4000)
  const all = Object.values(ids).sort()
  assert.deepEqual(await inStore(), all)
  assert.deepEqual(await listed(), all)
  for (const x of [b, away]) await until('it to be kept', () => assert.deepEqual(kept(x), all) ?? true)
  await away.stop()
  made = await changes()
})

// So much of both clocks passes for the nodes, whose wall clocks are that far ahead.
let passed = 0
async function pass (seconds, ahead) {
  passed += seconds
  clock.set(ahead + passed, passed)
  await sleep(2500) // a look at the clocks is once a second
}
async function leap (ahead) { clock.set(ahead + passed, passed); await sleep(4000) }
const changes = async () => Number((await b.http('/metrics')).body.match(/baton_store_calls_total\{[^}]*function="change"[^}]*\} (\d+)/)?.[1] || 0)
const allThere = async () => {
  const all = Object.values(ids).sort()
  assert.deepEqual(await inStore(), all)
  assert.deepEqual(await until('the list', () => listed().catch(() => null)), all)
  assert.deepEqual(kept(b), all)
}
const left = () => [ids.month, ids.good, ids.early, ids.later].sort()
const leftAlone = async (...nodes) => {
  await until('two to be forgotten', async () => (await inStore()).length === left().length)
  for (const x of nodes) await until('a node\'s file to have them no more', () => kept(x).length === left().length)
  assert.deepEqual(await inStore(), left())
  for (const x of nodes) assert.deepEqual(kept(x), left())
  await until('the list to have them no more', async () => (await listed().catch(() => [])).length === left().length)
  assert.deepEqual(await listed(), left())
}

test('R-3 I-7 A clock that leaps a week and is set right within the hour takes no revocation away, also when it is the one of the store as well', async () => {
  await pass(1000, 0)
  storeClock.set(WEEK_AND_MORE)
  await leap(WEEK_AND_MORE)
  ids.later = (await op.revoke({ jti: 'later' })).revocation_id // the store takes down when
  made = await changes()
  await pass(3000, WEEK_AND_MORE)
  storeClock.set(0)
  await leap(0)
  await pass(HOUR + 60, 0)
  assert.equal(await changes(), made)
  await allThere()
})

test('R-3 I-7 A node whose clock is a week ahead for hours takes none away, for the clock of the store says when, nor when the store was emptied meanwhile / by both clocks those that ended by themselves are forgotten, and no other', async () => {
  await leap(WEEK_AND_MORE)
  await pass(HOUR + 60, WEEK_AND_MORE)
  await until('it to ask for it', async () => await changes() > made)
  await allThere()
  await redis.call('FLUSHALL')
  await until('them to be there again', async () => (await inStore()).length === 6)
  const before = await changes()
  await pass(HOUR + 60, WEEK_AND_MORE)
  await until('it to ask for it', async () => await changes() > before)
  await allThere()
  storeClock.set(WEEK_AND_MORE)
  await pass(HOUR + 60, WEEK_AND_MORE)
  await leftAlone(b)
  for (const id of [ids.ended, ids.lifted]) {
    assert.equal(await redis.call('EXISTS', `{/}:v:revocation/${id}`), 0)
    assert.equal(await redis.call('ZSCORE', '{/}:z', `revocation/${id}`), null)
    assert.match((await b.audited({ event: 'revocation.forgotten', message: `jti ${id === ids.ended ? 'ended' : 'lifted'} (${id}) ended by itself, and is not kept any longer` })).at, /^2/)
  }
  assert.match(b.log(), /"revocation\.forgotten".*"revocations":2/)
})

test('R-3 attack 12 A node that was away, or a Redis that was emptied, brings back those that it has, of which those that ended are not in force, and are forgotten again / what is in force stays', async () => {
  assert.equal(kept(away).length, 5)
  await start(away)
  await until('it to give them back', async () => (await inStore()).length === 6)
  await redis.call('FLUSHALL')
  await until('both to give back what they have', async () => (await inStore()).length === 6)
  const inForce = async () => (await op.call('ListRevocations')).revocations.map((r) => r.id).sort()
  assert.deepEqual(await inForce(), [ids.month, ids.good, ids.later].sort())
  await pass(HOUR + 60, WEEK_AND_MORE)
  await leftAlone(b, away)
  assert.deepEqual(await inForce(), [ids.month, ids.good, ids.later].sort())
})
