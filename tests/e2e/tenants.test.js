// Which tenants are there, and how much of each may wait? Limits that are given, changed and taken away while the broker runs, beside those of the configuration.
import fs from 'node:fs'
import { spawnSync } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, BUILD, ROOT, ROUTE, profile } from './lib/broker.js'
import { denied, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'

const big = Buffer.from(JSON.stringify('x'.repeat(900000)))
const b = new Broker({ admin: true, config: (t) => `${t}limits: {waiting_per_tenant: 6, agents_per_tenant: 3, revocations_per_tenant: 2}\n` })
const made = [], sent = []
let local, root, planner, gplanner

before(async () => {
  [planner, gplanner] = await b.startWith('planner', 'gplanner')
  local = new Operator(b.adminSocket)
  await local.init(b.person('root').spiffe)
  root = new Operator(b.adminAddr, b.person('root'))
  made.push(local, root)
})
after(async () => { for (const o of made) o.close(); await b.remove() })

const baton = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
const says = (...args) => { const r = baton(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }
const apply = (op, tenant, version = '', more = {}) => op.call('Apply', { resources: [{ version, tenant }], reason: 'a test', ...more })
const get = (op, name, more) => op.call('Get', { kind: 'tenant', name, ...more })
const list = async (op, more) => (await op.call('List', { kind: 'tenant', ...more })).resources.map((r) => r.tenant.name)
const remove = async (op, name) => op.call('Delete', { ref: { kind: 'tenant', name }, version: (await get(local, name)).version, reason: 'a test' })
const limit = async (name, more) => { const r = await get(local, name); return apply(local, { name, max_waiting: r.tenant.max_waiting, max_bytes: r.tenant.max_bytes, ...more }, r.version) }
const submit = async (agent, more = {}) => { const { handoff_id } = await agent.submit(more); sent.push([agent, handoff_id]); return handoff_id }
const clear = async () => {
  for (const [agent, id] of sent.splice(0)) await agent.cancel(id)
  await until('nothing to wait', async () => (await local.call('List', { kind: 'tenant' })).resources.every((r) => Number(r.tenant.waiting) === 0))
}
const over = async (agent, text, more = {}) => {
  const r = await denied(agent.submit(more), 'quota_exceeded', 'RESOURCE_EXHAUSTED')
  assert.match(r.message, text)
  assert.ok(Number(r.retry_after_ms) > 0)
}

test('Who is named by an agent, an issuer or a route is there without being made: it has no version, and can be neither removed nor asked for its history', async () => {
  assert.match(says('tenant', 'list'), /^NAME +WAITING +MAX-WAITING +BYTES +MAX-BYTES +AGENTS +MAX-AGENTS +VERSION$.*^acme +0 +- +0 +- +\d+ +- +-$.*^globex +0 +- +0 +- +\d+ +- +-$/ms)
  const show = says('tenant', 'show', 'acme')
  for (const line of [/^max waiting: +as the broker's configuration says$/m, /^waiting: +0, 0 bytes$/m, /^version: +none: nothing of it is kept/m]) assert.match(show, line)
  const r = await get(local, 'acme')
  assert.deepEqual([r.version, r.is_static], ['', false])
  assert.match((await denied(local.call('Delete', { ref: { kind: 'tenant', name: 'acme' }, version: '1', reason: 'x' }), 'wrong_state')).message, /there is nothing to remove/)
  assert.match((await denied(local.call('History', { kind: 'tenant', name: 'acme' }), 'wrong_state')).message, /it has no history/)
  assert.equal(baton('tenant', 'remove', 'acme', '--yes', '--reason', 'x').status, 1)
  for (const args of [['show', 'nobody'], ['history', 'nobody'], ['limit', 'nobody', '--max-waiting', '3', '--reason', 'x']]) {
    const none = baton('tenant', ...args)
    assert.deepEqual([none.status, /no such tenant/.test(none.stderr), /baton tenant list/.test(none.stderr)], [1, true, true], none.stderr)
  }
  await local.call('Apply', { resources: [{ issuer: { name: 'later', url: 'https://later.example', tenants: ['initech'] } }], reason: 'x' })
  const theirs = profile('theirs')
  theirs.identity.tenants = ['hooli']
  b.writeProfiles({ ...b.profiles, theirs })
  await b.reloaded()
  assert.deepEqual(await list(local), ['acme', 'globex', 'hooli', 'initech'])
  assert.equal((await get(local, 'hooli')).tenant.agents, 0)
  b.writeProfiles()
  await b.reloaded()
  const issuer = await local.call('Get', { kind: 'issuer', name: 'later' })
  await local.call('Delete', { ref: { kind: 'issuer', name: 'later' }, version: issuer.version, reason: 'x' })
  assert.deepEqual(await list(local), ['acme', 'globex'])
})

test('A tenant is made, limited, shown with its history, and removed; what the flags do not name stays', async () => {
  assert.match(says('tenant', 'create', 'umbrella', '--max-waiting', '100', '--reason', 'they come next week'), /^umbrella created$.*^ {2}max_waiting: 100$/ms)
  await b.audited({ event: 'tenants.changed', rpc: 'Apply' })
  assert.match(says('tenant', 'limit', 'umbrella', '--max-bytes', '64MiB', '--reason', 'small disks'), /^umbrella updated$.*max_bytes: .*67108864/ms)
  assert.match(says('tenant', 'list'), /^umbrella +0 +100 +0 +64MiB +0 +- +2$/m)
  assert.match(says('tenant', 'show', 'umbrella'), /^max waiting: +100$.*^max bytes: +64MiB$.*^agents: +0$.*^version: +2$.*^reason: +small disks$/ms)
  says('tenant', 'limit', 'umbrella', '--max-waiting', '0', '--dry-run', '--reason', 'x')
  says('tenant', 'limit', 'umbrella', '--max-waiting', '0', '--reason', 'as all others')
  assert.match(says('tenant', 'show', 'umbrella'), /^max waiting: +as the broker's configuration says$.*^max bytes: +64MiB$/ms)
  const there = baton('tenant', 'create', 'umbrella', '--reason', 'x')
  assert.deepEqual([there.status, /the tenant is there already/.test(there.stderr)], [1, true], there.stderr)
  assert.equal(baton('tenant', 'limit', 'umbrella', '--reason', 'x').status, 64)
  assert.equal(baton('tenant', 'limit', 'umbrella', '--max-waiting', '3').status, 64) // no reason
  for (const size of ['64MB', '-1', '2TiB', '1 MiB', '']) assert.equal(baton('tenant', 'limit', 'umbrella', '--max-bytes', size, '--reason', 'x').status, 64, size)
  assert.equal(baton('tenant', 'remove', 'umbrella', '--reason', 'x').status, 64) // nobody to ask
  assert.match(says('tenant', 'remove', 'umbrella', '--yes', '--reason', 'they do not come'), /^umbrella removed$/m)
  assert.deepEqual(await list(local), ['acme', 'globex'])
  assert.match(says('tenant', 'history', 'umbrella'), /^4 .* removed .*they do not come$.*^3 .* - +64MiB .*as all others$.*^1 .* 100 +- .*they come next week$/ms)
  assert.match(says('tenant', 'create', 'umbrella', '--reason', 'they do come'), /^umbrella created$/m)
  await remove(local, 'umbrella')
})

test('A limit that is lowered holds at the next submit, over the configuration\'s; another tenant goes on / raised, or removed, more is taken', async () => {
  for (let i = 0; i < 3; i++) { await submit(planner); await submit(gplanner) }
  says('tenant', 'limit', 'acme', '--max-waiting', '3', '--reason', 'they flood')
  await over(planner, /^quota_exceeded: 3 handoffs wait on the routes of tenant acme, and no more than 3 may \(the tenant's own limit\)/)
  await submit(gplanner)
  says('tenant', 'limit', 'acme', '--max-waiting', '8', '--reason', 'they pay')
  for (let i = 0; i < 5; i++) await submit(planner) // more than the configuration gives to all
  await over(planner, /no more than 8 may \(the tenant's own limit\)/)
  for (let i = 0; i < 2; i++) await submit(gplanner)
  await over(gplanner, /no more than 6 may \(limits\.waiting_per_tenant\)/)
  await until('what waits', async () => Number((await get(local, 'acme')).tenant.waiting) === 8)
  const { tenant } = await get(local, 'acme')
  assert.ok(Number(tenant.waiting_bytes) > 0 && tenant.agents > 0)
  await remove(local, 'acme')
  assert.deepEqual([(await get(local, 'acme')).version, await list(local)], ['', ['acme', 'globex']]) // its agents still name it
  await over(planner, /8 handoffs wait .*no more than 6 may \(limits\.waiting_per_tenant\)/)
  await clear()
  await submit(planner)
  await clear()
})

test('The same of bytes: what is too much is refused by the tenant\'s own limit, small ones get in / raised, it is taken', async () => {
  await limit('acme', { max_bytes: 2 << 20 })
  await submit(planner, { payload: big })
  await submit(planner, { payload: big })
  await over(planner, /more than 2097152 \(the tenant's own limit\)/, { payload: big })
  await submit(planner)
  await submit(gplanner, { payload: big })
  await limit('acme', { max_bytes: 8 << 20 })
  await submit(planner, { payload: big })
  await clear()
  await remove(local, 'acme')
})

test('Two admins at once: who did not see the other\'s change is told, and nothing of his is done', async () => {
  const first = await Promise.allSettled([1, 2].map((max_waiting) => apply(local, { name: 'both', max_waiting })))
  assert.deepEqual(first.map((d) => d.status).sort(), ['fulfilled', 'rejected'])
  const { version } = await get(local, 'both')
  const second = await Promise.allSettled([3, 4].map((max_waiting) => apply(local, { name: 'both', max_waiting }, version)))
  assert.deepEqual(second.map((d) => d.status).sort(), ['fulfilled', 'rejected'])
  const won = second[0].status === 'fulfilled' ? 3 : 4
  assert.match((await denied(apply(local, { name: 'both', max_waiting: 5 }, version), 'wrong_state')).message, /it is \d+ by now, not \d+/)
  assert.equal(Number((await get(local, 'both')).tenant.max_waiting), won)
  assert.match((await denied(apply(local, { name: 'both' }), 'wrong_state')).message, /the tenant is there already: give its version/)
  assert.match((await denied(apply(local, { name: 'none-yet' }, '1'), 'not_found')).message, /there is no such tenant/)
  await remove(local, 'both')
})

test('attack 16 attack 24 What stands in a tenant is a name and no pattern, and within its bounds: each bad field is refused by name / good ones are taken', async () => {
  const bad = [
    ['name', { name: '' }], ['name', { name: 'Acme' }], ['name', { name: '*' }], ['name', { name: 'acme*' }], ['name', { name: 'a/b' }], ['name', { name: 'a\r\nb' }],
    ['name', { name: 'a\u0007' }], ['name', { name: 'аcme' }], ['name', { name: 'acme\u200b' }], ['name', { name: 'a'.repeat(64) }], ['name', { name: '.a' }], ['name', { name: ' acme' }],
    ['max_waiting', { max_waiting: 1000000001 }], ['max_bytes', { max_bytes: 2 ** 40 + 1 }], ['max_bytes', { max_bytes: '18446744073709551615' }], ['max_bytes', { max_bytes: 1000 }]
  ]
  for (const [field, change] of bad) assert.match((await denied(apply(local, { name: 'good', ...change }), 'malformed_envelope')).message, new RegExp(`resources(\\[0\\])?\\.tenant\\.${field}: `))
  for (const [name, reason] of [['a\r\nb', 'malformed_envelope'], ['*', 'not_found'], ['аcme', 'not_found'], ['a'.repeat(64), 'not_found']]) {
    await denied(get(local, name), reason)
    await denied(local.call('Delete', { ref: { kind: 'tenant', name }, version: '1', reason: 'x' }), reason)
  }
  assert.deepEqual(await list(local), ['acme', 'globex'])
  for (const name of ['a'.repeat(63), '0', 'a.b-c_d']) {
    await apply(local, { name, max_waiting: 1000000000, max_bytes: 2 ** 40 })
    await remove(local, name)
  }
  await apply(local, { name: 'good', max_bytes: 2 << 20 }, '', { dry_run: true })
  assert.deepEqual(await list(local), ['acme', 'globex'])
})

test('B1 T5 An operator of one tenant sees his own, and another tenant looks to him like one that does not exist; he changes none, nor does an auditor', async () => {
  await root.grant('of-acme', ['platform', 'auditor'], b.person('aca').spiffe, { tenant: 'acme' })
  await root.grant('looks', ['auditor'], b.person('aud').spiffe)
  const [aca, aud] = ['aca', 'aud'].map((n) => new Operator(b.adminAddr, b.person(n)))
  made.push(aca, aud)
  await limit('globex', { max_waiting: 5 })
  await apply(local, { name: 'made' })
  assert.deepEqual([await list(aca), await list(aud)], [['acme'], ['acme', 'globex', 'made']])
  const page = await aca.call('List', { kind: 'tenant', page_size: 1 })
  assert.deepEqual([page.resources.length, page.next_page_token], [1, '']) // nor that there is more
  const seen = (method, request) => aca.call(method, request, { service: 'ResourceService' }).then((m) => JSON.stringify(m), (e) => `${e.code} ${e.details}`)
  for (const method of ['Get', 'History', 'List', 'Delete', 'Apply']) {
    const ask = (name) => seen(method, { Get: { kind: 'tenant', name }, History: { kind: 'tenant', name }, List: { kind: 'tenant', tenant: name },
      Delete: { ref: { kind: 'tenant', name }, version: '1', reason: 'x' }, Apply: { resources: [{ version: '1', tenant: { name, max_waiting: 1 } }], reason: 'x' } }[method])
    const nowhere = await ask('nowhere')
    for (const name of ['globex', 'made']) assert.equal(await ask(name), nowhere, method)
  }
  assert.match(await seen('Get', { kind: 'tenant', name: 'globex' }), /^5 not_found: /)
  assert.equal((await get(aca, 'acme')).tenant.name, 'acme')
  for (const op of [aca, aud]) {
    for (const name of ['acme', 'globex', 'fresh']) await denied(apply(op, { name, max_waiting: 1 }), 'role_denied')
    await denied(remove(op, 'globex'), 'role_denied')
  }
  await limit('acme', { max_waiting: 7 })
  assert.equal(Number((await get(aca, 'acme')).tenant.max_waiting), 7)
  for (const name of ['acme', 'globex', 'made']) await remove(local, name)
  for (const name of ['of-acme', 'looks']) await root.ungrant(name)
})

test('Page by page, stored ones and others in one order', async () => {
  for (const name of ['b-kept', 'z-kept']) await apply(local, { name })
  const seen = []
  for (let token = ''; ;) {
    const p = await local.call('List', { kind: 'tenant', page_size: 1, page_token: token })
    seen.push(...p.resources.map((r) => r.tenant.name))
    token = p.next_page_token
    if (!token) break
  }
  assert.deepEqual(seen, ['acme', 'b-kept', 'globex', 'z-kept'])
  assert.deepEqual([await list(local, { tenant: 'globex' }), await list(local, { labels: { a: 'b' } })], [['globex'], []])
  for (const name of ['b-kept', 'z-kept']) await remove(local, name)
})

test('Two nodes live by it: the command returns when both do / and the second by its removal', async () => {
  const peer = await b.twin('second', { config: (t) => b.change(t).replace('url: ""', `url: "unix://${b.socket()}"\n  keys_file: ${b.path('state', 'seal.keys')}`) })
  try {
    await peer.start()
    const there = await peer.agent('planner')
    await submit(planner)
    await until('the other node to know', async () => says('tenant', 'list').match(/^acme +1 /m))
    const m = await limit('acme', { max_waiting: 1 })
    assert.deepEqual(m.nodes.map((n) => [n.node, n.confirmed]).sort(), [['second', true], ['test-node', true]])
    await over(planner, /no more than 1 may \(the tenant's own limit\)/)
    const other = new Operator(peer.adminSocket)
    made.push(other)
    assert.equal(Number((await get(other, 'acme')).tenant.max_waiting), 1)
    await until('what waits, on the other', async () => Number((await get(other, 'acme')).tenant.waiting) === 1)
    await over(there, /no more than 1 may \(the tenant's own limit\)/)
    await remove(local, 'acme')
    await there.submit().then(({ handoff_id }) => sent.push([there, handoff_id]))
    await clear()
  } finally { await peer.remove() }
})

test('attack 17 A restart, and a reload, leave the limits as they were given', async () => {
  await limit('acme', { max_waiting: 2 })
  await b.reloaded()
  assert.equal(Number((await get(local, 'acme')).tenant.max_waiting), 2)
  await b.stop()
  await b.start()
  planner = await b.agent('planner')
  gplanner = await b.agent('gplanner')
  for (let i = 0; i < 2; i++) await submit(planner)
  await over(planner, /no more than 2 may \(the tenant's own limit\)/)
  await submit(gplanner)
  await clear()
  await remove(local, 'acme')
})

test('One file makes tenants before what is theirs; diff says what it would change / what export gives, apply takes back unchanged, and who is only named is not in it', async () => {
  const file = b.path('tenants.yaml')
  fs.writeFileSync(file, `kind: agent\ntenant: acme\nname: fay\nspiffe_id: spiffe://acme.example/fay\nowner: team-f\nmay_call: [${ROUTE}]\n---\nkind: tenant\nname: umbrella\nmax_waiting: 1000\nmax_bytes: 64MiB\n---\nkind: tenant\nname: globex\n`)
  const differs = baton('diff', '-f', file)
  assert.equal(differs.status, 1, differs.stderr)
  for (const line of [/^\+max_waiting: 1000$/m, /^\+max_bytes: 64MiB$/m, /^\+name: globex$/m]) assert.match(differs.stdout, line)
  assert.match(says('apply', '-f', file, '--reason', 'x', '--dry-run'), /created \(dry run\)/)
  assert.equal(says('apply', '-f', file, '--reason', 'from a file'), 'agent/acme/fay registered\ntenant/umbrella created\ntenant/globex created\n')
  assert.equal(baton('diff', '-f', file).status, 0)
  const back = b.path('back.yaml')
  fs.writeFileSync(back, says('export'))
  assert.match(fs.readFileSync(back, 'utf8'), /^kind: tenant$[^]*^name: "umbrella"$[^]*^max_waiting: 1000$\n^max_bytes: 64MiB$/m)
  assert.doesNotMatch(fs.readFileSync(back, 'utf8'), /^name: "acme"$/m)
  assert.ok(fs.readFileSync(back, 'utf8').indexOf('kind: tenant') < fs.readFileSync(back, 'utf8').indexOf('kind: agent'))
  assert.equal(baton('diff', '-f', back).status, 0)
  assert.match(says('apply', '-f', back, '--reason', 'x'), /^tenant\/umbrella unchanged$/m)
  assert.doesNotMatch(says('export', '--tenant', 'acme'), /kind: tenant/)
  fs.writeFileSync(file, 'kind: tenant\nname: umbrella\nmax_bytes: 2MiB\n')
  assert.match(says('apply', '-f', file, '--reason', 'x'), /^tenant\/umbrella updated$/m)
  assert.deepEqual([(await get(local, 'umbrella')).tenant].map((t) => [Number(t.max_waiting), Number(t.max_bytes)]), [[0, 2 << 20]])
  fs.writeFileSync(file, 'kind: tenant\nname: umbrella\nmax_bytes: 1KiB\n')
  assert.match(baton('apply', '-f', file, '--reason', 'x').stderr, /tenants\.yaml:3:1: tenant\/umbrella: max_bytes: too small for one payload/)
  for (const name of ['umbrella', 'globex']) await remove(local, name)
})

const agent = (name, more = {}) => ({ tenant: 'soylent', name, spiffe_id: `spiffe://acme.example/soylent/${name}`, owner: 'a team', ...more })
const register = (all, version = '') => root.call('Apply', { resources: [all].flat().map((a) => ({ version, agent: a })), reason: 'a test' })
const versionOf = async (name) => (await root.call('Get', { kind: 'agent', tenant: 'soylent', name })).version
const tooMany = async (p, field, text) => {
  const r = await denied(p, 'quota_exceeded', 'RESOURCE_EXHAUSTED')
  assert.match(r.message, field)
  assert.match(r.message, text)
}

test('A tenant registers so many agents as it may, retired ones too: one more is refused by its field, alone, in one call and by a new SPIFFE id / those that are there change, a retired name comes back, another tenant goes on', async () => {
  await tooMany(register(['a', 'b', 'c', 'd'].map((n) => agent(n))), /resources\[3\]\.agent\.name: with it the registry would keep 4 agents of tenant soylent/, /no more than 3 may be \(limits\.agents_per_tenant\)/)
  await denied(root.call('Get', { kind: 'agent', tenant: 'soylent', name: 'a' }), 'not_found')
  await register(['a', 'b', 'c'].map((n) => agent(n)))
  await tooMany(register(agent('d')), /resources\[0\]\.agent\.name/, /4 agents/)
  await root.call('Delete', { ref: { kind: 'agent', tenant: 'soylent', name: 'c' }, version: await versionOf('c'), reason: 'a test' })
  await tooMany(register(agent('d')), /resources\[0\]\.agent\.name/, /what was retired or given up counts too/)
  await register(agent('a', { max_in_flight: 5 }), await versionOf('a'))
  await register(agent('c'))
  await tooMany(register(agent('a', { spiffe_id: 'spiffe://acme.example/soylent/anew' }), await versionOf('a')), /resources\[0\]\.agent\.spiffe_id/, /4 SPIFFE ids of tenant soylent/)
  await register({ ...agent('first'), tenant: 'hooli', spiffe_id: 'spiffe://acme.example/hooli/first' })
})

test('Its own limit beats that of the configuration, upwards and downwards', async () => {
  assert.equal(baton('tenant', 'limit', 'soylent', '--max-agents', '65537', '--reason', 'x').status, 64)
  assert.match(says('tenant', 'limit', 'soylent', '--max-agents', '4', '--reason', 'they grow'), /max_agents: 4/)
  await register(agent('d'))
  await tooMany(register(agent('e')), /5 agents/, /no more than 4 may be \(the tenant's own limit\)/)
  says('tenant', 'limit', 'soylent', '--max-agents', '1', '--reason', 'they shrink')
  await register(agent('d', { max_in_flight: 2 }), await versionOf('d'))
  await tooMany(register(agent('e')), /5 agents/, /no more than 1 may be/)
  await denied(root.call('Apply', { resources: [{ version: await (async () => (await get(local, 'soylent')).version)(), tenant: { name: 'soylent', max_agents: 65537 } }], reason: 'x' }), 'malformed_envelope')
  says('tenant', 'limit', 'soylent', '--max-agents', '0', '--reason', 'as all others')
  await tooMany(register(agent('e')), /5 agents/, /limits\.agents_per_tenant/)
})

test('An sre of one tenant cannot use up the names that revocations have: over its cap he is told what to do / an sre of all tenants, and of another one, goes on', async () => {
  await root.grant('acme-sre', ['sre'], b.person('asre').spiffe, { tenant: 'acme' })
  await root.grant('globex-sre', ['sre'], b.person('gsre').spiffe, { tenant: 'globex' })
  const [asre, gsre] = ['asre', 'gsre'].map((n) => new Operator(b.adminAddr, b.person(n)))
  made.push(asre, gsre)
  const once = async (op, tenant, more = {}) => { const { revocation_id } = await op.revoke({ agent: { tenant, name: tenant === 'acme' ? 'worker' : 'gplanner' } }, more); return revocation_id }
  for (let i = 0; i < 2; i++) await asre.lift(await once(asre, 'acme'))
  assert.match((await denied(once(asre, 'acme'), 'quota_exceeded', 'RESOURCE_EXHAUSTED')).message, /2 revocations are kept of tenant acme, lifted ones too.*limits\.revocations_per_tenant.*ask who has the role for all tenants/)
  await once(asre, 'acme', { dry_run: true })
  await gsre.lift(await once(gsre, 'globex'))
  await root.lift(await once(root, 'acme'))
})

test('The commands of the README make, limit and show a tenant', () => {
  const block = fs.readFileSync(`${ROOT}/README.md`, 'utf8').match(/```sh\n(baton tenant create[^`]*)```/)[1]
  const r = spawnSync('sh', ['-ec', block], { encoding: 'utf8', cwd: b.dir, env: { PATH: `${BUILD}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  assert.equal(r.status, 0, r.stderr)
  for (const line of [/^initech created$/m, /^acme created$/m, /^acme +\d+ +5000 /m, /^initech +0 +- +0 +2GiB +0 +- +1$/m]) assert.match(r.stdout, line)
})
