// Does `baton store check` find what was damaged in a live broker's Redis, put it right, and find nothing while work goes on?
import { spawn, spawnSync } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, profile } from './lib/broker.js'
import { Operator } from './lib/operator.js'
import { read, refused } from './lib/agent.js'

const names = ['sound', 'lost', 'later', 'many', 'busy', 'bare', 'leaky', 'other', 'full']
const acme = { identity: { ...profile('x').identity, tenants: ['acme'] } }
const b = new Broker({ profiles: Object.fromEntries(names.map((n) => [n, profile(n, n === 'other' ? {} : acme)])) })
let planner, worker, op

before(async () => {
  [planner, worker] = await b.startWith('planner', 'worker')
  op = new Operator(b.adminSocket)
})
after(async () => { op?.close(); await b.remove() })

const env = () => ({ PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' })
const run = (code, ...args) => {
  const r = spawnSync(BATON, ['store', 'check', ...args], { encoding: 'utf8', env: env() })
  assert.equal(r.status, code, `${args.join(' ')}: ${r.stdout}${r.stderr}`)
  return r
}
const found = (code, ...args) => JSON.parse(run(code, ...args, '-o', 'json').stdout).map((f) => [f.fault, f.handoff_id, f.repaired === true])
const mend = ['--repair', '--reason', 'a test', '--yes']
const send = async (route, more) => (await planner.submit(read(route, more))).handoff_id
const serve = (route) => worker.subscribe({ routes: [route], max_in_flight: 8 })
const raw = (id) => Buffer.from(id, 'base64url').subarray(4)
const key = (route, which) => `{acme/${route}}:${which}`
const redis = (...args) => b.redis((r) => r.call(...args))
async function finish (route, ids) { // all that is there, in this order
  const s = await serve(route)
  for (const id of ids) {
    const d = await s.delivery()
    assert.equal(d.lease.handoff_id, id)
    assert.equal((await s.complete(d)).ok, true)
  }
  await s.leave()
}

test('A store that is in order: nothing is found, and the exit code says so', async () => {
  await send('sound')
  await send('sound', { start_at_ms: Date.now() + 60000 })
  const s = await serve('sound')
  await s.complete(await s.delivery())
  await send('sound')
  const d = await s.delivery()
  assert.deepEqual(found(0), [])
  const quiet = run(0, '--route', 'sound')
  assert.equal(quiet.stdout, '')
  assert.match(quiet.stderr, /^0 found, 0 repaired; 3 records looked at/)
  await s.complete(d)
  await s.leave()
})

test('Work that fell out of its queue is found, repaired, delivered; each repair is in the audit: who, why, which handoff', async () => {
  const ids = [await send('lost'), await send('lost'), await send('lost')]
  for (const q of ['q0', 'q1', 'q2']) await redis('LREM', key('lost', q), 0, raw(ids[1]))
  await redis('ZREM', key('lost', 'n'), raw(ids[2]))
  const table = run(1, '--route', 'lost').stdout
  assert.match(table, /^ROUTE +KIND +HANDOFF +STATE +WHAT\n/)
  assert.match(table, new RegExp(`lost +queued +${ids[1]} +queued +stands in no queue\n`))
  assert.match(table, new RegExp(`lost +unlisted +${ids[2]} +queued +is not in the list of all\n`))
  assert.match(run(64, '--repair', '--yes').stderr, /needs --reason/)
  assert.match(run(64, '--repair', '--reason', 'x').stderr, /Say --yes to mean it/)
  assert.equal(found(1, '--route', 'lost').length, 2)
  assert.deepEqual(found(0, '--route', 'lost', ...mend).sort(), [['queued', ids[1], true], ['unlisted', ids[2], true]])
  assert.deepEqual(found(0, '--route', 'lost', ...mend), [])
  for (const id of ids.slice(1)) {
    const line = await b.audited({ event: 'store.repaired', handoff_id: id, tenant: 'acme', route: 'lost', state: 'queued' })
    assert.match(line.message, /^(stands in no queue|is not in the list of all): a test$/)
    assert.match(line.remote, new RegExp(`^uid=${process.getuid()} pid=`))
  }
  assert.equal(b.audit().filter((r) => r.event === 'store.repaired').length, 2)
  await finish('lost', [ids[0], ids[2], ids[1]])
})

test('Scheduled work that nothing would begin begins when its sender said, not before', async () => {
  const start = Date.now() + 3600000 / 2
  await send('later', { start_at_ms: start }) // where nothing can wait, the broker sets the counters to 0 itself
  const id = await send('later', { start_at_ms: start })
  await redis('ZREM', key('later', 'z'), raw(id))
  assert.deepEqual(found(0, '--route', 'later', ...mend), [['scheduled', id, true]])
  assert.equal(Number(await redis('ZSCORE', key('later', 'z'), raw(id))), start)
  assert.equal((await planner.get(id)).state, 'HANDOFF_STATE_SCHEDULED')
})

test('Many findings come page by page, each handoff once; what waits is counted over all pages', async () => {
  const ids = []
  for (let i = 0; i < 200; i++) ids.push(await send('many'))
  await redis('DEL', key('many', 'q0'), key('many', 'q1'), key('many', 'q2'))
  await until('the counters to follow the empty queues', async () => Number((await op.route('many')).waiting) === 0)
  const seen = []
  let pages = 0
  for (let page_token = ''; ; pages++) {
    const page = await op.call('CheckStore', { route: 'many', page_token })
    assert.ok(page.findings.length < 300)
    seen.push(...page.findings)
    page_token = page.next_page_token
    if (!page_token) break
  }
  assert.ok(pages >= 1)
  assert.deepEqual(seen.map((f) => f.handoff_id).sort(), ['', ...ids].sort())
  assert.deepEqual(found(0, '--route', 'many', ...mend).length, 201)
  assert.equal(Number((await op.route('many')).waiting), 200)
  assert.deepEqual(found(0, '--route', 'many'), [])
  const s = await serve('many')
  const done = []
  while (done.length < 200) {
    const d = await s.delivery()
    done.push(d.lease.handoff_id)
    await s.complete(d)
  }
  assert.deepEqual(done.sort(), ids.sort())
  await s.leave()
})

test('Work whose task is gone is quarantined now; the rest of the route goes on', async () => {
  const ids = [await send('bare'), await send('bare')]
  await b.redis(async (r) => {
    for (const k of await r.keys('{acme/bare}:b:*')) if (k.includes(raw(ids[0]))) await r.call('DEL', k)
  })
  assert.deepEqual(found(1, '--route', 'bare'), [['task', ids[0], false]])
  assert.deepEqual(found(0, '--route', 'bare', ...mend), [['task', ids[0], true]])
  assert.equal((await redis('HGET', key('bare', 's'), raw(ids[0])))[66], 7)
  await b.audited({ event: 'store.repaired', handoff_id: ids[0], state: 'quarantined' })
  await finish('bare', [ids[1]])
  assert.deepEqual(found(0, '--route', 'bare'), [])
})

test('Blobs and events that nothing names are found in all routes and removed; another tenant\'s are left alone when one is named', async () => {
  const id = Buffer.from('0123456789abcdef')
  await redis('SET', Buffer.concat([Buffer.from(key('leaky', 'b:')), id, Buffer.from('a-token!')]), 'x')
  await redis('RPUSH', Buffer.concat([Buffer.from(key('leaky', 'e:')), id]), 'x')
  await redis('SET', Buffer.concat([Buffer.from('{globex/other}:b:'), id, Buffer.from('a-token!')]), 'x')
  await redis('SET', '{nobody/knows}:b:0123456789abcdefa-token!', 'x')
  assert.deepEqual(found(1).map((f) => f[0]).sort(), ['blob', 'blob', 'events'])
  assert.deepEqual(found(0, '--tenant', 'acme', ...mend).map((f) => f[0]).sort(), ['blob', 'events'])
  assert.deepEqual(found(1).map((f) => f[0]), ['blob'])
  assert.match(run(1, '-o', 'wide').stdout, /TENANT\nother +blob +.* globex\n/)
  assert.deepEqual(found(0, ...mend).map((f) => f[0]), ['blob'])
  assert.equal(await redis('EXISTS', '{nobody/knows}:b:0123456789abcdefa-token!'), 1)
})

test('While work goes through, nothing is found and nothing is touched', async () => {
  const N = 240
  const s = await serve('busy')
  const sender = async () => { for (let n = 0; n < N; n += 20) await Promise.all(Array.from({ length: 20 }, () => send('busy'))) }
  const taker = async () => {
    for (let n = 0; n < N;) {
      const d = await s.delivery()
      if (d.attempt === 1 && /[a-h]$/i.test(d.lease.handoff_id.slice(0, 20))) { // some fail once
        await s.fail(d, true, 'again')
      } else {
        await s.complete(d)
        n++
      }
    }
  }
  let over = false
  const work = Promise.all([sender(), taker()]).finally(() => { over = true })
  do {
    const code = await new Promise((done) => {
      const p = spawn(BATON, ['store', 'check', ...mend], { env: env() })
      let text = ''
      for (const o of [p.stdout, p.stderr]) o.on('data', (d) => { text += d })
      p.on('close', (c) => done([c, text]))
    })
    assert.equal(code[0], 0, code[1])
    assert.match(code[1], /0 found, 0 repaired/)
  } while (!over)
  await work
  await s.leave()
  assert.deepEqual(found(0), [])
}, 120000)

test('More in a queue than is remembered: the check says that it cannot judge that, judges the rest, and gets to the end', async () => {
  const script = "local ids = {} for n = 1, 1000 do ids[n] = 'of nothing here.' end for n = 1, 1049 do redis.call('RPUSH', KEYS[1], unpack(ids)) end"
  const ids = [await send('full', { priority: 5 }), await send('full', { priority: 5 })] // they stand in front, or the broker would skip the rest by itself
  await redis('EVAL', script, 1, key('full', 'q1'))
  await redis('ZREM', key('full', 'n'), raw(ids[1]))
  await until('the broker to have its store again', async () => (await b.http('/readyz')).status === 200, 30000)
  const r = run(1, '--route', 'full')
  assert.match(r.stderr, /^full: more is queued than is remembered: which of it stands in no queue was not judged\n1 found, .* 1049000 entries that name nothing/m)
  assert.match(r.stdout, new RegExp(`full +unlisted +${ids[1]} `))
  await redis('LTRIM', key('full', 'q1'), 0, 1)
  assert.deepEqual(found(0, '--route', 'full', ...mend), [['unlisted', ids[1], true]])
  await finish('full', ids)
}, 120000)

test('Only operators ask; a route that is not there, a token that is none, a reason that is missing are refused by name', async () => {
  for (const method of ['CheckStore', 'RepairStore']) {
    const call = new Promise((yes, no) => planner.operate[method]({}, planner.meta(), { deadline: Date.now() + 5000 }, (e, r) => (e ? no(e) : yes(r))))
    assert.equal((await refused(call)).code, 'UNIMPLEMENTED')
  }
  assert.equal((await refused(op.call('CheckStore', { route: 'nothing' }))).reason, 'not_found')
  assert.match(run(1, '--route', 'nothing').stderr, /no such route/)
  for (const page_token of ['x', 'acme sound 4 1', 'acme sound 2 1 0 0 0 -', 'acme sound 15 0 0 0 0 -', '- - 4 0 0 0 0 -', 'acme sound 4 x 0 0 0 -', 'acme sound 4 0 0 0 0 - -', 'acme sound 4 -1 0 0 0 -']) {
    assert.match((await refused(op.call('CheckStore', { page_token }))).message, /page_token: not one that this call gave/)
  }
  assert.equal((await op.call('CheckStore', { route: 'sound', page_token: 'acme sound 5 0 0 0 0 -' })).findings.length, 0)
  assert.match((await refused(op.call('RepairStore', { route: 'sound' }))).message, /reason: say why/)
  assert.equal((await op.call('RepairStore', { route: 'sound', reason: 'x' })).findings.length, 0)
})

test('With the store gone the check says so, with exit code 75; when it is back it goes on', async () => {
  const pid = await b.redisPid()
  process.kill(pid, 'SIGSTOP')
  try {
    assert.match(run(75, '--route', 'sound', '--timeout', '30s').stderr, /the store did not answer/)
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await until('the check to succeed', () => spawnSync(BATON, ['store', 'check'], { env: env() }).status === 0, 20000)
})
