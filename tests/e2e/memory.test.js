// What if memory runs out? At one place after the other, each way through batond's own code failing in its turn, in a process that goes on: it
// never crashes, loses nothing that it acknowledged, and tells nobody something that is not so.
// ALL=1 tries every place, and inside libraries too; without it a share of the time is spent, beginning anywhere: SEED says where.
import fs from 'node:fs'
import { test, assert, until } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { read, refusalOf } from './lib/agent.js'
import { FailAlloc } from './lib/faults.js'

const ALL = Boolean(process.env.ALL)
const SHARE_MS = ALL ? 30 * 60000 : 9000
const EACH = ALL ? 1000 : 1
const QUIET = 3 // cycles without a failure: no place is left
let seed = Number(process.env.SEED || Date.now() % 1000000)
const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 65536) % n } // ISO C's example

const LOOKUP = { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } }

// A call that cannot be served says so: try again, elsewhere or later. INTERNAL is what a client makes of a stream or a connection that the
// broker cut (RFC 9113 §7).
const PROPER = ['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'INTERNAL']

async function withMemory (fn, routes) {
  const memory = new FailAlloc()
  const b = new Broker({
    ...memory.broker, profiles: routes, config: (t) => `${t}limits: {connections_per_agent: 10000}\n`
  })
  console.log(`# memory: SEED=${seed}`)
  let failed
  try {
    await b.start()
    await fn(b, memory)
  } catch (e) {
    failed = e
  }
  memory.disarm()
  await b.remove().catch((e) => { failed ||= e })
  memory.remove()
  if (failed) throw failed
}

// Runs once(n) with memory that fails once in it, then calm(), until no place is left or the time is over. Returns how often it failed.
async function placeAfterPlace (b, memory, once, calm) {
  const end = Date.now() + SHARE_MS
  let quiet = 0
  let n = 0
  while (quiet < QUIET && Date.now() < end) {
    memory.arm({ each: EACH, pass: ALL ? 0 : random(15), then: random(4) ? 0 : random(20) })
    await once(n)
    const fired = memory.fired()
    memory.disarm()
    if (b.exit) assert.fail(`batond ended: ${JSON.stringify(b.exit)} after no memory in ${memory.place()}\n${b.log().slice(-3000)}`)
    if (fired) try { await calm(n) } catch (e) { assert.fail(`after no memory in ${memory.place()}: ${e.stack}`) }
    if (ALL || fired) quiet = fired ? 0 : quiet + 1
    n += fired
  }
  return n
}

test('Memory runs out at each place in turn through a whole handoff: answered or refused, nothing acknowledged is lost, the next one works', () =>
  withMemory(async (b, memory) => {
    const acknowledged = new Set()
    const step = async (what, fn) => {
      try { return await fn() } catch (e) {
        const r = e.metadata ? refusalOf(e) : { code: /\((\w+) /.exec(e.message)?.[1], message: e.message }
        assert.ok(PROPER.includes(r.code), `${what} with no memory in ${memory.place()}: ${r.code} ${r.reason || ''} ${r.message}`)
        return null
      }
    }
    const handoff = async (must) => {
      const [planner, worker] = [await b.agent('planner'), await b.agent('worker')]
      const on = (what, fn) => (must ? fn() : step(what, fn))
      try {
        const s = await on('Subscribe', () => worker.subscribe({ max_in_flight: 100 }))
        const receipt = await on('Submit', () => planner.submit({}, { timeout: 8000 }))
        if (receipt) acknowledged.add(receipt.handoff_id)
        const mine = (f) => f.delivery && receipt && f.delivery.lease.handoff_id === receipt.handoff_id
        s?.each((f) => { if (f.delivery && (!mine(f) || f.delivery.attempt > 1)) s.write({ complete: { lease: f.delivery.lease, result: mine(f) ? { payload: Buffer.from('{"done":true}') } : {} } }) }) // of an earlier cycle, or tried again
        if (s && receipt) {
          const d = await on('a delivery', () => s.take('a delivery', mine, 8000))
          if (d) {
            const { lease } = d.delivery
            s.write({ progress: { lease, message: 'half', percent: 50 } })
            s.write({ artifact: { lease, artifact_id: 'a', data: Buffer.from('x'), last_chunk: true } })
            s.write({ complete: { lease, result: { payload: Buffer.from('{"done":true}') } } })
            const settled = await on('Complete', () => s.take('settled', (f) => f.settled && f.settled.lease.handoff_id === lease.handoff_id &&
              f.settled.state === 'HANDOFF_STATE_COMPLETED'))
            const h = settled && await on('Get', () => planner.get(receipt.handoff_id))
            if (h) assert.equal(h.result?.payload.toString(), '{"done":true}', `Get with no memory in ${memory.place()}`)
            const events = settled && await on('Watch', () => planner.watch(receipt.handoff_id).all())
            if (events) assert.deepEqual([events.map((e) => e.cursor), events.at(-1).result?.payload.toString()], [events.map((_, i) => i + 1), '{"done":true}'])
          }
        }
        const list = await on('List', () => planner.list({ page_size: 5 }))
        if (list && receipt) assert.ok(list.handoffs.some((h) => h.handoff_id === receipt.handoff_id), `List with no memory in ${memory.place()}`)
        s?.cut()
      } finally {
        planner.close()
        worker.close()
      }
    }
    await handoff(true)
    const n = await placeAfterPlace(b, memory, () => handoff(false), () => handoff(true))
    console.log(`# memory: ${n} times, ${acknowledged.size} acknowledged`)
    assert.ok(n > 5, `only ${n} places`)
    const [planner, worker] = [await b.agent('planner'), await b.agent('worker')]
    const s = await worker.subscribe({ max_in_flight: 100 })
    s.each((f) => { if (f.delivery) s.write({ complete: { lease: f.delivery.lease, result: {} } }) })
    for (const id of acknowledged) await planner.state(id, 'COMPLETED', 15000)
    const ends = b.audit().filter((r) => r.event === 'handoff.completed').map((r) => r.handoff_id)
    assert.equal(new Set(ends).size, ends.length, 'none is completed twice')
    s.cut()
    await until('nothing to be held', async () => /baton_deliveries_in_flight\{[^}]*\} 0/.test((await b.http('/metrics')).body))
  }, { [ROUTE]: profile(ROUTE, { delivery: { kind: 'queue', lease_ms: 1000, resume_ms: 500, max_attempts: 50, backoff_ms: [50, 100], default_deadline_ms: 600000, max_deadline_ms: 3600000 } }) }),
SHARE_MS + 90000)

test('attack 17: memory runs out at each place in turn of a reload: the configuration is the new one whole, or the old one', () =>
  withMemory(async (b, memory) => {
    const planner = await b.agent('planner')
    const auditor = await b.agent('auditor')
    let want = false // the route takes `orders.lookup` and the auditor is known, or neither
    const write = () => {
      b.profiles[ROUTE] = profile(ROUTE, { tools: want ? LOOKUP : { allowed: ['orders.close'] } })
      b.writeProfiles()
      b.writeConfig((t) => b.change(want ? t : t.replace(/ {2}- \{name: auditor, .*\n/, '')))
    }
    let seen = 0 // bytes of the log: a count in /metrics may be what memory is missing for
    const outcome = () => {
      const said = fs.readFileSync(b.path('batond.log')).subarray(seen)
      const at = said.lastIndexOf('\n') + 1
      seen += at
      return /"event":"config\.(reloaded|reload_failed)"/.exec(said.toString('utf8', 0, at))?.[1]
    }
    const reload = async () => {
      write()
      outcome()
      b.signal('SIGHUP')
      return await until('the reload', outcome, 20000) === 'reloaded'
    }
    const is = async (state) => {
      const reason = (call) => until('an answer', () => call().catch((e) => refusalOf(e).reason)) // the connection may have been cut
      const tool = await reason(() => planner.submit(read(ROUTE), { request: { dry_run: true } }).then((r) => r.decision.reason))
      const known = await reason(() => auditor.whoami().then(() => 'known')) === 'known'
      assert.deepEqual([tool, known], state ? ['REASON_ALLOWED', true] : ['REASON_TOOL_DENIED', false])
    }
    assert.ok(await reload())
    await is(false)
    let now = false
    const n = await placeAfterPlace(b, memory, async () => {
      want = !want
      if (await reload()) now = want
    }, async () => {
      await is(now)
      want = now
      assert.ok(await reload(), 'with memory it is taken')
      await is(now)
    })
    console.log(`# memory: ${n} times in a reload`)
    assert.ok(n > 5, `only ${n} places`)
  }), SHARE_MS + 60000)
