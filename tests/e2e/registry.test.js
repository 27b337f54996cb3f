// Who may take part, and who says so? Agents are registered, changed, quarantined and retired while batond runs; nothing is restarted.
import fs from 'node:fs'
import path from 'node:path'
import { X509Certificate } from 'node:crypto'
import { spawn, spawnSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Agent, denied, read, refusalOf, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { ROOT } from './lib/wire.js'

const names = ['first', 'second', 'third', 'fourth', 'leaving', 'expiring', 'again', 'other', 'capped', 'seen']
const rows = [
  { name: 'planner', tenant: 'acme', call: true }, { name: 'worker', tenant: 'acme', serve: true },
  ...names.map((name) => ({ name, tenant: 'acme', absent: true })) // they have certificates, and stand nowhere
]
const b = new Broker({ agents: rows, profiles: { [ROUTE]: profile(ROUTE), second: profile('second') }, config: (t) => t.replace(new RegExp(`  - \\{name: (${names.join('|')}),.*\\n`, 'g'), '') })
let op, planner, worker

before(async () => {
  [planner, worker] = await b.startWith('planner', 'worker')
  op = new Operator(b.adminSocket)
})
after(async () => { op?.close(); await b.remove() })

const baton = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
const says = (...args) => { const r = baton(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout + r.stderr }
const spec = (name, more = {}) => ({ tenant: 'acme', name, spiffe_id: `spiffe://acme.example/${name}`, owner: 'team-refunds', may_call: [ROUTE], may_originate: true, ...more })
const apply = (agents, more = {}, by = op) => by.call('Apply', { resources: [agents].flat().map((a) => ({ version: a.version || '', agent: a })), reason: 'a test', ...more })
const get = (name, by = op) => by.call('Get', { kind: 'agent', tenant: 'acme', name })
const change = async (name, more, by = op) => { const r = await get(name, by); return by.call('Apply', { resources: [{ version: r.version, agent: { ...r.agent, ...more } }], reason: 'a test' }) }
const retire = async (name) => op.call('Delete', { ref: { kind: 'agent', tenant: 'acme', name }, version: (await get(name)).version, reason: 'a test' })

test('Who is registered takes part at once / before, he is unknown_peer', async () => {
  const first = await b.agent('first')
  await denied(first.submit(), 'unknown_peer')
  const out = says('agent', 'register', 'first', '--tenant', 'acme', '--id', 'spiffe://acme.example/first', '--owner', 'team-refunds', '--call', ROUTE, '--label', 'stage=test', '--reason', 'a new agent')
  assert.match(out, /^first of acme registered\n/)
  assert.match(out, new RegExp(`\\n {2}may_call: ${ROUTE}\\n`))
  assert.match(out, /true on 1\/1 nodes/)
  const { handoff_id } = await first.submit()
  const s = await worker.subscribe({ routes: [ROUTE] })
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  assert.equal(d.sender.name, 'first')
  await s.complete(d)
  await s.leave()
  const line = await b.audited({ event: 'agents.changed', rpc: 'Apply' })
  assert.match(line.message, /^registered acme\/first \(.*spiffe_id: spiffe:\/\/acme\.example\/first.*\): a new agent$/)
  assert.match(line.remote, /^uid=\d+ pid=\d+$/)
})

test('list, show and history say what there is: static ones of the configuration too', async () => {
  const list = says('agent', 'list', '-o', 'wide')
  assert.match(list, /^first +acme +active +\d+ +support_refund_assistant +- +\S+ +spiffe:\/\/acme\.example\/first +team-refunds +1$/m)
  assert.match(list, /^planner +acme +active .* static$/m)
  assert.doesNotMatch(list, /^second /m)
  const show = says('agent', 'show', 'first')
  assert.match(show, /^uuid: +[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/m)
  assert.match(show, /^label: +stage=test$/m)
  assert.match(says('agent', 'show', 'planner'), /^version: +static/m)
  assert.match(says('agent', 'history', 'first'), /^1 .* active +uid=\d+ pid=\d+ +a new agent$/m)
  const nobody = baton('agent', 'show', 'nobody')
  assert.equal(nobody.status, 1)
  assert.match(nobody.stderr, /no such agent/)
  assert.equal(JSON.parse(says('agent', 'show', 'first', '-o', 'json')).agent.owner, 'team-refunds')
})

test('agent list says who is connected, and how long the certificates of those are good / of who has left nothing', async () => {
  const left = () => says('agent', 'list').match(/^seen +acme +active +(\d+) +\S+ +\S+ +(\S+)$/m)?.slice(1)
  says('agent', 'register', 'seen', '--id', b.leaves.seen.spiffe, '--tenant', 'acme', '--owner', 'team-x', '--call', ROUTE, '--reason', 'to be seen')
  assert.deepEqual(left(), ['0', '-'])
  const a = await b.agent('seen'), again = await b.agent('seen')
  for (const one of [a, again]) await one.whoami()
  const ends = Date.parse(new X509Certificate(fs.readFileSync(b.leaves.seen.cert)).validTo)
  const [n, age] = left()
  assert.equal(n, '2')
  const hours = (ends - Date.now()) / 3600e3
  assert.match(age, /^\d+[dhms]$/)
  assert.ok(Math.abs(parseInt(age) * { d: 24, h: 1, m: 1 / 60, s: 1 / 3600 }[age.at(-1)] - hours) < Math.max(1, hours / 2), `${age} ${hours}`)
  const json = JSON.parse(says('agent', 'show', 'seen', '-o', 'json'))
  assert.deepEqual([json.presence.connections, Number(json.presence.certificate_ends_at_ms ?? json.presence.certificateEndsAtMs)], [2, ends])
  a.close()
  await until('one connection', () => left()[0] === '1')
  const short = { ...b.leaves.seen, ...b.acme.leaf('seen-short', { sans: [`URI:${b.leaves.seen.spiffe}`], days: 1 }) }
  const brief = new Agent({ ...short, trust: b.serverCa.cert }, b.addr, { token: await b.issuer.mint(short) })
  await brief.whoami()
  const shownEnd = () => Number(JSON.parse(says('agent', 'show', 'seen', '-o', 'json')).presence.certificate_ends_at_ms)
  assert.equal(shownEnd(), ends)
  again.close()
  await until('only the one with the shorter certificate', () => left()[0] === '1')
  assert.equal(shownEnd(), Date.parse(new X509Certificate(fs.readFileSync(short.cert)).validTo))
  brief.close()
  await until('none', () => left().join() === '0,-')
})

test('attack 6: who has the SPIFFE id of a retired agent since, in another tenant, is not seen in the tenant of that one', async () => {
  await retire('seen')
  await apply([{ ...spec('heir'), tenant: 'heirs', spiffe_id: b.leaves.seen.spiffe, may_call: [], may_originate: false }])
  const a = await b.agent('seen')
  await a.whoami()
  const presence = async (tenant, name) => (await op.call('Get', { kind: 'agent', tenant, name })).presence?.connections
  assert.equal(await presence('heirs', 'heir'), 1)
  assert.equal(await presence('acme', 'seen'), undefined)
  const { resources } = await op.call('List', { kind: 'agent', tenant: 'acme' })
  assert.deepEqual(resources.filter((r) => r.agent.name === 'seen').map((r) => [r.agent.status, r.presence]), [['AGENT_STATUS_RETIRED', null]])
  a.close()
})

test('What is changed holds at once, and nobody\'s connection is cut', async () => {
  const first = await b.agent('first')
  const watch = await worker.subscribe({ routes: [ROUTE] })
  await denied(first.submit({ route: 'second' }), 'route_denied')
  const out = says('agent', 'update', 'first', '--call', ROUTE, '--call', 'second', '--rate', '500', '--reason', 'more work')
  assert.match(out, new RegExp(`first of acme updated\\n {2}may_call: ${ROUTE} -> ${ROUTE}, second\\n {2}rate_per_s: 0 -> 500\\n`))
  await first.submit(read('second'))
  assert.equal(watch.ended, null)
  await watch.leave()
  assert.match(says('agent', 'update', 'first', '--rate', '500', '--reason', 'the same'), /first of acme unchanged/)
  assert.equal((await get('first')).version, '2')
  assert.match(says('agent', 'update', 'first', '--rate', '0', '--reason', 'a try', '--dry-run'), /rate_per_s: 500 -> 0/)
  assert.equal((await get('first')).agent.rate_per_s, 500)
  says('agent', 'update', 'first', '--call=', '--reason', 'none')
  await denied(first.submit(), 'route_denied')
  says('agent', 'update', 'first', '--call', ROUTE, '--reason', 'again')
})

test('I-7 attack 15 A quarantined agent does nothing: its calls are refused, its streams end, what it sent and nobody has yet is put aside / released, it takes part again', async () => {
  await apply([spec('second', { may_serve: [ROUTE] })])
  const second = await b.agent('second')
  const s = await second.subscribe({ routes: [ROUTE] })
  const { handoff_id } = await second.submit({ route: ROUTE }) // it serves the route itself, so it is delivered to it: give it back
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  await s.settle({ release: { lease: d.lease } })
  const out = says('agent', 'quarantine', 'second', '--reason', 'it went mad')
  assert.match(out, /second of acme quarantined\n {2}status: AGENT_STATUS_ACTIVE -> AGENT_STATUS_QUARANTINED/)
  await denied(second.submit(), 'unknown_peer')
  await s.end()
  const w = await worker.subscribe({ routes: [ROUTE] })
  await b.audited({ event: 'handoff.quarantined', handoff_id })
  await sleep(300)
  assert.equal(w.deliveries().length, 0)
  await w.leave()
  assert.match(says('agent', 'list'), /^second +acme +quarantined /m)
  says('agent', 'release', 'second', '--reason', 'it was mended')
  await second.submit(read(ROUTE))
})

test('Retired is for good: nothing can be changed / the name may be registered again, and is another agent', async () => {
  await apply([spec('leaving')])
  const leaving = await b.agent('leaving')
  await leaving.submit(read(ROUTE))
  const { agent: { uuid } } = await get('leaving')
  const no = baton('agent', 'retire', 'leaving', '--reason', 'over')
  assert.notEqual(no.status, 0, 'asked without a terminal')
  assert.match(says('agent', 'retire', 'leaving', '--reason', 'over', '--yes'), /leaving of acme retired/)
  await denied(leaving.submit(), 'unknown_peer')
  assert.equal((await get('leaving')).agent.status, 'AGENT_STATUS_RETIRED')
  const back = await refused(change('leaving', { status: 'AGENT_STATUS_ACTIVE' }))
  assert.match(back.message, /retired, which cannot be undone/)
  await apply([spec('other', { spiffe_id: 'spiffe://acme.example/leaving' })]) // nobody has the id any more
  const taken = await refused(apply([spec('leaving')]))
  assert.match(taken.message, /agent\.spiffe_id: it is that of agent other of tenant acme/)
  await retire('other')
  await apply([spec('leaving')])
  const again = (await get('leaving')).agent
  assert.notEqual(again.uuid, uuid)
  assert.equal((await op.call('History', { kind: 'agent', tenant: 'acme', name: 'leaving' })).resources.length, 3)
})

test('Two admins at once: who did not see the other\'s change is told, and nothing of his is done', async () => {
  await apply([spec('third')])
  const seen = await get('third')
  await change('third', { max_in_flight: 7 })
  const late = await refused(op.call('Apply', { resources: [{ version: seen.version, agent: { ...seen.agent, rate_per_s: 3 } }], reason: 'a test' }))
  assert.equal(late.code, 'FAILED_PRECONDITION')
  assert.match(late.message, /version: it is 2 by now, not 1: somebody else changed it/)
  assert.equal((await get('third')).agent.rate_per_s, 0)
  const both = await Promise.allSettled(['fourth', 'again'].map((name) => apply([spec(name, { spiffe_id: 'spiffe://acme.example/fourth' })])))
  assert.deepEqual(both.map((r) => r.status).sort(), ['fulfilled', 'rejected'])
  const half = await refused(apply([spec('other'), spec('third')]))
  assert.match(half.message, /resources\[1\]\.agent\.name: the agent is there already/)
  assert.equal((await get('other')).agent.status, 'AGENT_STATUS_RETIRED', 'all or none')
})

test('attack 16 attack 24 What stands in an entry is a name and no pattern: each bad field is refused by name / good ones are taken', async () => {
  const bad = [
    ['agent.name', { name: '*' }], ['agent.name', { name: 'a/b' }], ['agent.name', { name: 'Planner' }], ['agent.name', { name: 'pl\u0430nner' }], ['agent.name', { name: 'x'.repeat(64) }],
    ['agent.tenant', { tenant: '' }], ['agent.tenant', { tenant: 'acme*' }],
    ['agent.spiffe_id', { spiffe_id: 'spiffe://acme.example/*/..' }], ['agent.spiffe_id', { spiffe_id: 'https://acme.example/x' }], ['agent.spiffe_id', { spiffe_id: `spiffe://acme.example/${'x'.repeat(2048)}` }],
    ['agent.spiffe_id', { spiffe_id: 'spiffe://acme.example/pl%61nner' }], ['agent.owner', { owner: '' }], ['agent.client', { client: 'a b' }],
    ['agent.may_call', { may_call: ['*'] }], ['agent.may_call', { may_call: [ROUTE, ROUTE] }], ['agent.may_call', { may_call: ['nowhere'] }], ['agent.may_serve', { may_serve: [`${ROUTE}/first`] }],
    ['agent.scope_ceiling', { scope_ceiling: ['a b'] }], ['agent.scope_ceiling', { scope_ceiling: ['x'.repeat(65)] }], ['agent.scope_ceiling', { scope_ceiling: ['a', 'a'] }], ['agent.scope_ceiling', { scope_ceiling: Array.from({ length: 65 }, (_, i) => `s${i}`) }], ['agent.labels', { labels: { 'a b': 'x' } }], ['agent.labels', { labels: { a: 'x'.repeat(257) } }],
    ['agent.max_in_flight', { max_in_flight: 1000001 }], ['agent.expires_at_ms', { expires_at_ms: -1 }], ['agent.status', { status: 'AGENT_STATUS_RETIRED' }],
    ['agent.name', { name: 'planner' }], ['agent.spiffe_id', { spiffe_id: 'spiffe://acme.example/planner' }], ['agent.spiffe_id', { spiffe_id: 'spiffe://acme.example/first' }]
  ]
  for (const [field, more] of bad) {
    const r = await refused(apply([spec('never', more)]))
    assert.ok(r.message.includes(field), `${JSON.stringify(more)}: ${r.message}`)
  }
  for (const text of ['a\nb', 'a\u0000b', 'a\u001bb']) await denied(apply([spec('never', { owner: text })]), 'malformed_envelope')
  await denied(apply([]), 'malformed_envelope')
  await denied(apply(Array.from({ length: 33 }, (_, i) => spec(`n${i}`, { spiffe_id: `spiffe://acme.example/n${i}` }))), 'malformed_envelope')
  await denied(apply([spec('never')], { reason: '' }), 'malformed_envelope')
  await denied(apply([spec('same'), spec('same')]), 'malformed_envelope')
  await denied(op.call('Get', { kind: 'route', name: 'x' }), 'malformed_envelope')
  await denied(get('never'), 'not_found')
  const id = `spiffe://acme.example/${'x'.repeat(2048 - 22)}`
  await apply([spec('longest', { spiffe_id: id })])
  assert.equal((await get('longest')).agent.spiffe_id, id)
})

test('A-1 I-4 What its token carries above an agent\'s scope ceiling it may not use, also when the work was sent before / inside it, it may', async () => {
  await apply([spec('capped', { may_call: ['second'], scope_ceiling: ['orders:read', 'refunds:draft'] })])
  const capped = await b.agent('capped')
  const { handoff_id } = await capped.submit({ route: 'second' })
  assert.match(says('agent', 'update', 'capped', '--ceiling', 'orders:read', '--reason', 'less'), /scope_ceiling: orders:read, refunds:draft -> orders:read/)
  const r = await denied(capped.submit({ route: 'second' }), 'missing_scope', 'PERMISSION_DENIED')
  assert.match(r.message, /needs refunds:draft, which is above the scope ceiling of agent capped/)
  const s = await worker.subscribe({ routes: ['second'] })
  await b.audited({ event: 'handoff.quarantined', handoff_id, reason: 'missing_scope' })
  says('agent', 'update', 'capped', '--ceiling', 'orders:read', '--ceiling', 'refunds:draft', '--reason', 'as before')
  await capped.submit({ route: 'second' })
  const d = await s.delivery()
  assert.notEqual(d.lease.handoff_id, handoff_id)
  await s.complete(d)
  await s.leave()
  says('agent', 'update', 'capped', '--ceiling=', '--reason', 'none')
  assert.deepEqual((await get('capped')).agent.scope_ceiling, [])
  await capped.submit({ route: 'second' })
  await retire('capped')
})

test('An agent that expires loses its rights then, without a reload / until then it has them', async () => {
  await apply([spec('expiring', { expires_at_ms: Date.now() + 10000 })])
  const expiring = await b.agent('expiring')
  await expiring.submit(read(ROUTE))
  const refusal = () => expiring.submit(read(ROUTE)).then(() => null, (e) => e)
  await until('its end', refusal, 30000)
  await denied(expiring.submit(read(ROUTE)), 'unknown_peer')
  assert.match(says('agent', 'list'), /^expiring +acme +expired /m)
})

test('Pages of a long list are whole, and labels choose', async () => {
  for (let i = 0; i < 250; i += 25) {
    await apply(Array.from({ length: 25 }, (_, k) => spec(`many-${i + k}`, { spiffe_id: `spiffe://acme.example/many-${i + k}`, labels: { third: String((i + k) % 3) } })))
  }
  const seen = []
  let token = ''
  do {
    const page = await op.call('List', { kind: 'agent', tenant: 'acme', page_size: 100, page_token: token })
    seen.push(...page.resources.map((r) => r.agent.name))
    token = page.next_page_token
  } while (token)
  assert.equal(new Set(seen).size, seen.length)
  assert.equal(seen.filter((n) => n.startsWith('many-')).length, 250)
  assert.deepEqual(seen, [...seen].sort())
  assert.ok(seen.includes('planner'))
  const third = []
  token = ''
  do {
    const page = await op.call('List', { kind: 'agent', labels: { third: '1' }, page_size: 50, page_token: token })
    third.push(...page.resources)
    token = page.next_page_token
  } while (token)
  assert.equal(third.length, 83)
  assert.equal((await op.call('List', { kind: 'agent', tenant: 'globex' })).resources.length, 0)
})

test('attack 17 A configuration that has a registered agent too is refused, at a reload and at the start, by its name / without it, it is taken', async () => {
  b.agentRows = rows.map((r) => (r.name === 'first' ? { name: 'first', tenant: 'acme', call: true } : r))
  const both = (t) => t.replace(new RegExp(`  - \\{name: (${names.slice(1).join('|')}),.*\\n`, 'g'), '')
  b.writeConfig(both)
  const said = await b.reload()
  assert.equal(said.outcome, 'deny')
  assert.match(said.message, /registered agent first of tenant acme: .*take it out of the configuration, or retire/)
  await planner.submit(read(ROUTE))
  await b.stop()
  b.launch()
  assert.equal((await b.exited).code, 1)
  assert.match(b.log(), /registered agent first of tenant acme/)
  b.agentRows = rows
  b.writeConfig()
  await b.start()
  op.close()
  op = new Operator(b.adminSocket)
})

test('Restarts of batond and of its Redis change nothing: who was registered is, who was quarantined is', async () => {
  await change('third', { status: 'AGENT_STATUS_QUARANTINED' })
  process.kill(await b.redisPid(), 'SIGKILL')
  b.signal('SIGKILL')
  await b.exited
  await b.start()
  op.close()
  op = new Operator(b.adminSocket)
  const [first, third] = [await b.agent('first'), await b.agent('third')]
  await first.submit(read(ROUTE))
  await denied(third.submit(), 'unknown_peer')
  assert.equal((await get('third')).agent.status, 'AGENT_STATUS_QUARANTINED')
})

test('Several nodes: what the command says is true on each of them / a node that hangs is named, exit 75, and by itself it takes nothing before it has heard of it', async () => {
  const cluster = new Cluster(2, { agents: rows, profiles: { [ROUTE]: profile(ROUTE) }, config: (n, t) => t.replace(new RegExp(`  - \\{name: (${names.join('|')}),.*\\n`, 'g'), '') })
  const tool = (...args) => new Promise((done) => { // the proxies to Redis live in this process: it must not wait
    const p = spawn(BATON, args, { env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${cluster.first.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
    const r = { stdout: '', stderr: '' }
    for (const k of ['stdout', 'stderr']) p[k].on('data', (d) => { r[k] += d })
    p.on('close', (status) => done({ ...r, status }))
  })
  try {
    await cluster.start()
    const two = cluster.nodes[1]
    const first = new Agent({ ...two.leaves.first, trust: two.serverCa.cert }, two.addr, { token: await two.issuer.mint(two.leaves.first) })
    await denied(first.submit(), 'unknown_peer')
    const r = await tool('agent', 'register', 'first', '--tenant', 'acme', '--id', 'spiffe://acme.example/first', '--owner', 'x', '--call', ROUTE, '--reason', 'new')
    assert.equal(r.status, 0, r.stdout + r.stderr)
    assert.match(r.stderr, /true on 2\/2 nodes/)
    await first.submit(read(ROUTE))
    two.signal('SIGSTOP')
    const q = await tool('agent', 'quarantine', 'first', '--reason', 'gone mad')
    assert.equal(q.status, 75, q.stdout + q.stderr)
    assert.match(q.stderr, /Node-1 has not confirmed it/)
    assert.match(q.stderr, /true on 1\/2 nodes/)
    await sleep(6000) // its lease of 10 s runs out meanwhile
    two.signal('SIGCONT')
    const after = await refused(first.submit(read(ROUTE)))
    assert.ok(['store_unavailable', 'unknown_peer'].includes(after.reason), after.message)
    await until('the other node to know', async () => (await refused(first.submit(read(ROUTE)))).reason === 'unknown_peer')
    first.close()
    assert.match((await tool('agent', 'release', 'first', '--reason', 'mended')).stderr, /true on 2\/2 nodes/)
    await two.stop()
    assert.match((await tool('agent', 'quarantine', 'first', '--reason', 'again')).stderr, /true on 1\/1 nodes/, 'who left is waited for by nobody')
  } finally { await cluster.remove() }
}, 120000)

test('A route that goes with a reload is none of a registered agent any more, and nothing breaks / when it is back, it is', async () => {
  await change('first', { may_call: [ROUTE, 'second'], may_serve: ['second'] })
  const first = await b.agent('first')
  const s = await first.subscribe({ routes: ['second'] })
  const { second } = b.profiles
  delete b.profiles.second
  b.writeProfiles()
  b.writeConfig()
  assert.equal((await b.reload()).outcome, 'allow')
  await denied(first.submit(read('second')), 'route_denied')
  await first.list()
  s.cut()
  assert.equal((await first.subscribe({ routes: ['second'] }, { wait: false }).then((x) => x.end())).reason, 'route_denied')
  await change('first', { status: 'AGENT_STATUS_QUARANTINED' }) // that a route is gone keeps nobody from it
  await change('first', { status: 'AGENT_STATUS_ACTIVE' })
  const more = await refused(change('first', { may_call: [ROUTE, 'second', 'third'] }))
  assert.match(more.message, /agent\.may_call: tenant acme has no route third: add its profile first/)
  b.profiles.second = second
  b.writeProfiles()
  b.writeConfig()
  await b.reload()
  await first.submit(read('second'))
})

test('The commands of the README do what it says', () => {
  const block = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/```sh\n(baton agent register[^`]*)```/)[1]
  const env = { PATH: `${path.dirname(BATON)}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' }
  const r = spawnSync('bash', ['-euc', block], { encoding: 'utf8', env })
  assert.equal(r.status, 0, r.stdout + r.stderr)
  assert.match(r.stdout, /^planner2 of acme registered$/m)
  assert.match(r.stdout, /^planner2 +acme +active +0 +support_refund_assistant +- +- +spiffe:\/\/acme.example\/planner2 +team-refunds +1$/m)
  assert.match(r.stdout, /^planner2 of acme released$/m)
})

test('attack 34 A store that comes back without the last changes has them from the nodes that have seen them: who was quarantined stays so', async () => {
  await change('first', { status: 'AGENT_STATUS_ACTIVE', rate_per_s: 0 })
  const first = await b.agent('first')
  await first.submit(read(ROUTE))
  const key = ['{/}:s', 'agent/acme/first']
  const old = await b.redis((r) => r.call('HGET', ...key))
  await change('first', { status: 'AGENT_STATUS_QUARANTINED' })
  await change('first', { rate_per_s: 3 })
  const { version } = await get('first')
  await b.redis(async (r) => {
    await r.call('HSET', ...key, old)
    await r.call('ZADD', '{/}:z', await r.call('HINCRBY', '{/}:m', 'g', '1'), key[1])
  })
  const seen = async () => Number((await b.redis((r) => r.call('HGET', ...key))).readUIntBE(0, 6))
  await until('it to be there again', async () => await seen() === Number(version))
  assert.ok(b.log().includes('"registry.behind"'))
  await denied(first.submit(read(ROUTE)), 'unknown_peer')
  assert.deepEqual([(await get('first')).agent.status, (await get('first')).agent.rate_per_s], ['AGENT_STATUS_QUARANTINED', 3])
  await change('first', { status: 'AGENT_STATUS_ACTIVE', rate_per_s: 0 })
  await first.submit(read(ROUTE))
})

test('What was registered is sealed in Redis: nothing of it is there in the clear, and what somebody writes there is not believed', async () => {
  await b.redis(async (r) => {
    for (const key of ['{/}:s', '{/}:z', '{/}:n']) {
      const text = JSON.stringify(await r.call(key === '{/}:z' ? 'ZRANGE' : 'HGETALL', key, ...(key === '{/}:z' ? ['0', '-1'] : [])))
      assert.doesNotMatch(text, /team-refunds|spiffe:\/\//)
    }
    const stolen = await r.call('HGET', '{/}:s', 'agent/acme/planner')
    assert.equal(stolen, null)
    await r.call('HSET', '{/}:s', 'agent/acme/third', await r.call('HGET', '{/}:s', 'agent/acme/first'))
    await r.call('HINCRBY', '{/}:m', 'g', '1')
    await r.call('ZADD', '{/}:z', await r.call('HGET', '{/}:m', 'g'), 'agent/acme/third')
  })
  await until('the alarm', () => b.log().includes('registry.unsealable'))
  const third = await b.agent('third')
  await denied(third.submit(), 'unknown_peer') // quarantined, as this node knew it
  const first = await b.agent('first')
  await first.submit(read(ROUTE))
  await b.redis(async (r) => { // a later version of him that nobody sealed
    const bytes = Buffer.from(await r.call('HGET', '{/}:s', 'agent/acme/first'))
    bytes.writeUIntBE(bytes.readUIntBE(0, 6) + 1, 0, 6)
    await r.call('HSET', '{/}:s', 'agent/acme/first', bytes)
    await r.call('ZADD', '{/}:z', await r.call('HINCRBY', '{/}:m', 'g', '1'), 'agent/acme/first')
  })
  await until('him to have no rights', () => first.submit(read(ROUTE)).then(() => false, (e) => refusalOf(e).reason === 'unknown_peer'))
  await denied(first.submit(read(ROUTE)), 'unknown_peer')
  await denied(get('first'), 'not_found')
  await apply([spec('first')]) // anew
  await first.submit(read(ROUTE))
})
