// What may operators do on the admin socket, and who else gets in? Routes are paused and closed, dead letters replayed and let go of.
import fs from 'node:fs'
import { spawn, spawnSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, BATOND, profile } from './lib/broker.js'
import { Operator } from './lib/operator.js'
import { denied, read, refused } from './lib/agent.js'

const names = ['door', 'paused', 'late', 'drained', 'disabled', 'shared', 'letters', 'again', 'gone', 'many', 'full', 'shown', 'listed', 'cli']
const acme = { identity: { ...profile('x').identity, tenants: ['acme'] } }
const once = { ...acme, delivery: { ...profile('x').delivery, max_attempts: 1 } }
const b = new Broker({
  profiles: Object.fromEntries(names.map((n) => [n, profile(n, n === 'shared' ? {} : n === 'paused' || n === 'late' ? acme : once)])),
  config: (t) => t.replace('store:\n', 'store:\n  keep_finished: 15m\n').replace('log: {', 'limits: {waiting_per_route: 3}\nlog: {')
})
const NOBODY = 65534
let planner, worker, op

before(async () => {
  [planner, worker] = await b.startWith('planner', 'worker')
  op = new Operator(b.adminSocket)
})
after(async () => { op?.close(); await b.remove() })

const send = (route, more) => planner.submit(read(route, more))
const serve = (route, open = {}) => worker.subscribe({ routes: [route], max_in_flight: 8, ...open })
async function kill (route, more, code = 'broken') { // work whose only attempt fails
  const { handoff_id } = await send(route, more)
  const s = await serve(route)
  await s.fail(await s.delivery(), true, code)
  await s.leave()
  return handoff_id
}
const letters = async (route) => (await op.call('ListDeadLetters', { route })).handoffs.map((h) => h.handoff_id)
const notice = (s, kind) => s.take(`a notice ${kind}`, (f) => f.notice?.kind === `NOTICE_KIND_ROUTE_${kind}`)

test('The admin socket is for root and the broker\'s user: its mode says so, and who comes in otherwise is closed / root is served', async () => {
  assert.equal(fs.statSync(b.adminSocket).mode & 0o777, 0o600)
  const say = "require('net').connect(process.argv[1]).on('error', (e) => console.log(e.code)).on('close', () => process.exit())"
  const nobody = () => new Promise((done) => {
    const p = spawn(process.execPath, ['-e', say, b.adminSocket], { uid: NOBODY, gid: NOBODY })
    let out = ''
    p.stdout.on('data', (d) => { out += d })
    p.on('close', () => done(out.trim()))
  })
  fs.chmodSync(b.dir, 0o711)
  assert.equal(await nobody(), 'EACCES')
  fs.chmodSync(b.adminSocket, 0o666)
  await nobody()
  await until('the stranger to be counted', async () => /baton_connections_closed_total\{listener="admin",why="local_user"\} 1/.test((await b.http('/metrics')).body))
  fs.chmodSync(b.adminSocket, 0o600)
  assert.ok((await op.call('ListRoutes')).routes.length)
  await b.audited({ event: 'rpc', rpc: 'ListRoutes', remote: `uid=${process.getuid()} pid=${process.pid}` })
})

test('Each listener has its calls: agents find none of the operators\', nor operators the agents\' (not even to act as one)', async () => {
  for (const method of ['ListRoutes', 'SetRouteState']) {
    const call = new Promise((yes, no) => {
      const client = method === 'SetRouteState' ? planner.admin : planner.operate
      client[method]({}, planner.meta(), { deadline: Date.now() + 5000 }, (e, r) => (e ? no(e) : yes(r)))
    })
    assert.equal((await refused(call)).code, 'UNIMPLEMENTED')
  }
  assert.equal((await refused(op.call('Submit', { envelope: planner.envelope(read('door')) }))).code, 'UNIMPLEMENTED')
  assert.equal((await refused(op.call('WhoAmI'))).code, 'UNIMPLEMENTED')
})

test('A paused route takes work and hands out none, subscribers are told; resumed, it goes out at once', async () => {
  const s = await serve('paused')
  assert.equal((await op.set('paused', 'PAUSED')).route.state, 'ROUTE_STATE_PAUSED')
  const { handoff_id, state } = await send('paused')
  assert.equal(state, 'HANDOFF_STATE_QUEUED')
  assert.match((await notice(s, 'PAUSED')).notice.message, /route paused is paused/)
  await sleep(1500) // longer than a poll
  assert.deepEqual(s.deliveries(), [])
  await until('the gauges', async () => /baton_route_state\{tenant="acme",route="paused"\} 1\n/.test((await b.http('/metrics')).body), 15000)
  assert.deepEqual([(await op.route('paused')).route.state, Number((await op.route('paused')).waiting)], ['ROUTE_STATE_PAUSED', 1])
  assert.equal((await op.set('paused', 'RUNNING')).route.state, 'ROUTE_STATE_RUNNING')
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  await notice(s, 'RESUMED')
  await s.complete(d)
  const lines = b.audit().filter((r) => r.event === 'route.state' && r.route === 'paused')
  assert.deepEqual(lines.map((r) => [r.tenant, r.message]), [['acme', 'paused, was running: a test'], ['acme', 'running, was paused: a test']])
  await s.leave()
})

test('Who subscribes while a route is paused is told; what was handed out before is finished; it stays paused through a restart', async () => {
  const s = await serve('late')
  await send('late')
  const d = await s.delivery()
  await op.set('late', 'PAUSED')
  await send('late')
  await notice(s, 'PAUSED')
  assert.equal((await s.complete(d)).ok, true)
  await s.leave()
  await b.stop()
  await b.start()
  op.close()
  op = new Operator(b.adminSocket)
  planner = await b.agent('planner')
  worker = await b.agent('worker')
  const again = await serve('late')
  await notice(again, 'PAUSED')
  assert.deepEqual(again.deliveries(), [])
  await op.set('late', 'RUNNING')
  await again.complete(await again.delivery())
  await again.leave()
})

test('R-1 A drained route takes nothing new and hands out what waits; a disabled one neither; other routes go on', async () => {
  await send('drained')
  await send('disabled')
  await op.set('drained', 'DRAINING')
  await op.set('disabled', 'DISABLED')
  for (const route of ['drained', 'disabled']) await denied(send(route), 'route_disabled', 'PERMISSION_DENIED')
  await send('door')
  const [drained, disabled, door] = await Promise.all(['drained', 'disabled', 'door'].map((r) => serve(r)))
  await drained.complete(await drained.delivery())
  await door.complete(await door.delivery())
  await notice(disabled, 'PAUSED')
  assert.deepEqual(disabled.deliveries(), [])
  for (const route of ['drained', 'disabled']) await op.set(route, 'RUNNING')
  await disabled.complete(await disabled.delivery())
  await send('drained')
  await drained.complete(await drained.delivery())
  for (const s of [drained, disabled, door]) await s.leave()
})

test('B1 A route that two tenants have is named with its tenant, and the other\'s is left alone; what is not there is not_found', async () => {
  const g = await b.agent('gplanner')
  assert.match((await refused(op.set('shared', 'DISABLED'))).message, /route\.tenant: more than one tenant/)
  await op.set('shared', 'DISABLED', { tenant: 'acme' })
  await denied(send('shared'), 'route_disabled')
  await g.submit(read('shared'))
  await op.set('shared', 'RUNNING', { tenant: 'acme' })
  assert.equal((await refused(op.set('nothing', 'PAUSED'))).reason, 'not_found')
  assert.match((await refused(op.call('SetRouteState', { route: { name: 'door' }, state: 'ROUTE_STATE_PAUSED' }))).message, /reason: say why/)
  assert.match((await refused(op.call('SetRouteState', { route: { name: 'door' }, reason: 'x' }))).message, /state: one of RUNNING/)
})

test('Routes are listed by tenant and name, page by page', async () => {
  const all = (await op.call('ListRoutes')).routes.map((r) => `${r.route.tenant}/${r.route.name}`)
  assert.deepEqual(all, [...all].sort())
  assert.equal(all.length, names.length + 1)
  const paged = []
  for (let page_token = ''; ;) {
    const page = await op.call('ListRoutes', { page_size: 5, page_token })
    paged.push(...page.routes.map((r) => `${r.route.tenant}/${r.route.name}`))
    page_token = page.next_page_token
    if (!page_token) break
  }
  assert.deepEqual(paged, all)
})

test('A dead letter keeps failure, attempts and sender, and no operator is shown what is in it', async () => {
  const secret = 'what-agents-say'
  const id = await kill('shown', { payload: Buffer.from(JSON.stringify({ secret })) })
  const [h] = (await op.call('ListDeadLetters', { route: 'shown', tenant: 'acme' })).handoffs
  assert.deepEqual([h.handoff_id, h.state, h.attempt, h.failure.code, h.sender.name, h.route], [id, 'HANDOFF_STATE_DEAD_LETTERED', 1, 'broken', 'planner', 'shown'])
  await until('the gauge', async () => /baton_dead_letters\{tenant="acme",route="shown"\} 1\n/.test((await b.http('/metrics')).body), 15000)
  const one = await op.call('GetHandoff', { handoff_id: id })
  for (const m of [h, one]) assert.ok(!JSON.stringify(m).includes(Buffer.from(secret).toString('base64')) && !JSON.stringify(m).includes(secret) && !m.envelope)
  assert.match((await refused(op.call('GetHandoff', { handoff_id: id, with_envelope: true }))).message, /operators are not shown payloads/)
  assert.equal((await refused(op.call('GetHandoff', { handoff_id: 'x' }))).reason, 'not_found')
})

test('T7 Replayed, it is done once as new work: its own id, the same key, trace and payload; the old one stays what it was', async () => {
  const key = { idempotency_key: 'again-1', tool: 'refunds.draft_refund', side_effect: 'SIDE_EFFECT_DRAFT', payload: Buffer.from('{"n":1}') }
  const old = await kill('again', key)
  const before = await planner.get(old)
  const answer = (await op.call('ReplayDeadLetters', { handoff_ids: [old], reason: 'mended' })).letters[0]
  assert.equal(answer.reason, 'REASON_ALLOWED')
  const fresh = answer.new_handoff_id
  assert.notEqual(fresh, old)
  const twice = (await op.call('ReplayDeadLetters', { handoff_ids: [old], reason: 'mended' })).letters[0]
  assert.deepEqual([twice.reason, twice.new_handoff_id], ['REASON_NOT_FOUND', ''])
  const s = await serve('again')
  const d = await s.delivery()
  assert.deepEqual([d.lease.handoff_id, d.attempt, d.envelope.payload.toString(), d.sender.name], [fresh, 1, '{"n":1}', 'planner'])
  assert.equal((await s.complete(d)).ok, true)
  await sleep(300)
  assert.deepEqual(s.deliveries(), [])
  await s.leave()
  const done = await planner.get(fresh)
  assert.deepEqual([done.state, done.replay_of, done.trace_id], ['HANDOFF_STATE_COMPLETED', old, before.trace_id])
  assert.deepEqual([(await planner.get(old)).state, await letters('again')], ['HANDOFF_STATE_DEAD_LETTERED', []])
  const repeat = await planner.submit({ route: 'again', ...key }) // its sender hears of what stands in its place
  assert.deepEqual([repeat.handoff_id, repeat.duplicate, repeat.state], [fresh, true, 'HANDOFF_STATE_COMPLETED'])
  await b.audited({ event: 'handoff.replayed', handoff_id: fresh, parent_handoff_id: old, route: 'again', tenant: 'acme', message: 'mended', trace_id: before.trace_id })
})

test('Its deadline begins anew; a route that is full takes no replay, and nothing of it is lost', async () => {
  const old = Date.now() + 30000, id = await kill('full', { deadline_ms: old })
  for (let i = 0; i < 3; i++) await send('full')
  const refusal = (await op.call('ReplayDeadLetters', { handoff_ids: [id], reason: 'mended' })).letters[0]
  assert.equal(refusal.reason, 'REASON_QUOTA_EXCEEDED')
  assert.deepEqual(await letters('full'), [id])
  const s = await serve('full')
  for (let i = 0; i < 3; i++) await s.complete(await s.delivery())
  const { new_handoff_id } = (await op.call('ReplayDeadLetters', { handoff_ids: [id], reason: 'mended' })).letters[0]
  assert.ok(Number((await planner.get(new_handoff_id)).deadline_ms) > old)
  await s.complete(await s.delivery())
  await s.leave()
})

test('T5 A sender that lost his right meanwhile: what is replayed is judged by today\'s policy', async () => {
  const id = await kill('gone')
  b.profiles.gone = profile('gone', { ...once, tools: { ...profile('x').tools, allowed: ['refunds.draft_refund'], spec: { 'refunds.draft_refund': profile('x').tools.spec['refunds.draft_refund'] } } })
  b.writeProfiles()
  await b.reloaded()
  const { new_handoff_id } = (await op.call('ReplayDeadLetters', { handoff_ids: [id], reason: 'mended' })).letters[0]
  const s = await serve('gone')
  await b.audited({ event: 'handoff.quarantined', handoff_id: new_handoff_id })
  assert.deepEqual(s.deliveries(), [])
  await s.leave()
})

test('Many are dealt with in one call, each by itself; purged ones are let go of, and their nonces are not forgotten', async () => {
  const mine = await kill('many', { nonce: 'a-nonce-of-the-many-test' })
  const other = await kill('many')
  const answer = await op.call('PurgeDeadLetters', { handoff_ids: [mine, 'nonsense', other], reason: 'nobody wants it' })
  assert.deepEqual(answer.letters.map((l) => l.reason), ['REASON_ALLOWED', 'REASON_NOT_FOUND', 'REASON_ALLOWED'])
  assert.deepEqual(await letters('many'), [])
  assert.equal((await planner.get(mine)).state, 'HANDOFF_STATE_DEAD_LETTERED')
  await denied(send('many', { nonce: 'a-nonce-of-the-many-test' }), 'replayed_nonce')
  await b.audited({ event: 'handoff.let_go', handoff_id: mine, message: 'nobody wants it' })
  assert.match((await refused(op.call('PurgeDeadLetters', { handoff_ids: [], reason: 'x' }))).message, /handoff_ids: 1 to 256/)
  assert.match((await refused(op.call('PurgeDeadLetters', { handoff_ids: [mine] }))).message, /reason: say why/)
})

test('An operator lists a tenant\'s handoffs by state, route, sender and trace, page by page, without payloads; an agent still sees its own only', async () => {
  const auditor = await b.agent('auditor')
  const secret = 'said-between-agents'
  const s = await serve('listed')
  for (let i = 0; i < 3; i++) await send('listed', { payload: Buffer.from(JSON.stringify({ secret })) })
  const theirs = (await auditor.submit(read('listed'))).handoff_id
  const done = await s.delivery()
  await s.complete(done, { secret })
  const all = async (filter, more = {}) => {
    const found = []
    for (let page_token = ''; ;) {
      const page = await op.call('ListHandoffs', { filter: { route: 'listed', page_size: 2, page_token, ...filter }, tenant: 'acme', ...more })
      assert.ok(!JSON.stringify(page).includes(secret) && !JSON.stringify(page).includes(Buffer.from(secret).toString('base64').slice(0, 20)))
      found.push(...page.handoffs)
      page_token = page.next_page_token
      if (!page_token) return found
    }
  }
  assert.equal((await all()).length, 4)
  assert.deepEqual((await all({}, { sender: 'auditor' })).map((h) => h.handoff_id), [theirs])
  assert.deepEqual((await all({ state: 'HANDOFF_STATE_COMPLETED' })).map((h) => h.handoff_id), [done.lease.handoff_id])
  const { trace_id } = await auditor.get(theirs)
  assert.deepEqual((await all({ trace_id })).map((h) => h.handoff_id), [theirs])
  assert.deepEqual(await all({}, { sender: 'nobody' }), [])
  assert.match((await refused(op.call('ListHandoffs'))).message, /tenant: there is more than one: name it/)
  assert.equal((await refused(op.call('ListHandoffs', { tenant: 'nowhere' }))).reason, 'not_found')
  assert.deepEqual((await auditor.list({ route: 'listed' })).handoffs.map((h) => h.handoff_id), [theirs])
  for (let i = 0; i < 3; i++) await s.complete(await s.delivery())
  await s.leave()
})

test('baton route and baton dlq do all this from the command line, with the exit codes that they promise', async () => {
  const run = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  const baton = (code, ...args) => {
    const r = run(...args)
    assert.equal(r.status, code, `${args.join(' ')}: ${r.stderr}`)
    return r
  }
  const ids = [await kill('cli'), await kill('cli'), await kill('cli')]
  assert.match(baton(0, 'route', 'list').stdout, /^ROUTE +TENANT +STATE +WAITING +OLDEST +DELAYED +HELD +DLQ\n/)
  assert.match(baton(0, 'route', 'show', 'cli', '--tenant', 'acme').stdout, /dead letters: +3/)
  assert.equal(baton(0, 'route', 'pause', 'cli', '--tenant', 'acme', '--reason', 'x').stdout, 'cli paused\n')
  assert.equal(JSON.parse(baton(0, 'route', 'resume', 'cli', '--tenant', 'acme', '--reason', 'x', '-o', 'json').stdout).route.state, 'running')
  assert.match(baton(64, 'route', 'pause', 'cli').stderr, /needs --reason/)
  assert.match(baton(1, 'route', 'drain', 'nothing', '--reason', 'x').stderr, /baton route list shows all/)
  assert.equal(baton(0, 'dlq', 'list', '--route', 'cli', '-o', 'name').stdout, [...ids].reverse().join('\n') + '\n')
  assert.match(baton(0, 'dlq', 'list', '--route', 'cli').stdout, /LAST-ERROR +DEAD-FOR\n.* broken: it broke/)
  assert.match(baton(0, 'dlq', 'show', ids[0]).stdout, /failure: +broken: it broke/)
  assert.match(baton(0, 'dlq', 'replay', ids[0], '--reason', 'mended').stdout, new RegExp(`^${ids[0]} replayed as [A-Za-z0-9_-]{27}\n`))
  assert.equal(baton(1, 'dlq', 'replay', ids[0], '--reason', 'mended').stdout, '')
  assert.match(baton(64, 'dlq', 'purge', ids[1], '--reason', 'x').stderr, /Say --yes to mean it/)
  assert.equal(baton(0, 'dlq', 'purge', ids[1], '--reason', 'x', '--yes').stdout, `${ids[1]} purged\n`)
  baton(0, 'dlq', 'replay', '--route', 'cli', '--all', '--reason', 'mended')
  assert.equal(baton(0, 'dlq', 'list', '--route', 'cli', '-o', 'json').stdout.trim(), '[]')
  assert.equal(baton(0, 'handoff', 'list', '--tenant', 'acme', '--route', 'cli', '--sender', 'planner', '--state', 'dead_lettered', '-o', 'name').stdout.split('\n').length, 4)
  assert.match(baton(64, 'dlq', 'replay', '--all', '--reason', 'x').stderr, /name it with --route/)
  assert.match(baton(69, 'route', 'list', '--admin-addr', 'unix:/nonexistent/admin.sock').stderr, /cannot connect to unix:\/nonexistent/)
  assert.match(baton(78, 'route', 'list', '--admin-addr', '127.0.0.1:7444').stderr, /no ca was named/)
  baton(64, 'route', 'list', '--admin-addr', 'nonsense')
})

test('A broker whose socket\'s folder is missing, or on whose socket another listens, says so and does not start / a dead one\'s is replaced', async () => {
  const check = (socket) => {
    fs.writeFileSync(b.path('other.yaml'), b.yaml().replace(b.adminSocket, socket).replace(b.path('state'), b.path('other-state')))
    return spawnSync(BATOND, ['--config', b.path('other.yaml')], { encoding: 'utf8', timeout: 20000 })
  }
  assert.match(check(b.path('nowhere', 'admin.sock')).stderr, /listen\.admin_socket: .*nowhere.*make the folder/)
  assert.match(check(b.adminSocket).stderr, /listen\.admin_socket: .*another broker listens there/)
  assert.match(check(b.path('baton.yaml')).stderr, /listen\.admin_socket: .*is there and no socket/)
  assert.ok((await op.call('ListRoutes')).routes.length)
  await b.crash()
  assert.ok(fs.existsSync(b.adminSocket))
  await b.start()
  op.close()
  op = new Operator(b.adminSocket)
  assert.ok((await op.call('ListRoutes')).routes.length)
})
