// Is the registry what a file says? `baton apply`, `baton diff` and `baton export` against a real batond.
import fs from 'node:fs'
import path from 'node:path'
import { spawn } from 'node:child_process'
import { test, before, after, assert } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { denied, read } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { ROOT, api, grpc } from './lib/wire.js'

const rows = [{ name: 'planner', tenant: 'acme', call: true }, { name: 'first', tenant: 'acme', absent: true }]
const b = new Broker({ agents: rows, profiles: { [ROUTE]: profile(ROUTE), second: profile('second') }, config: (t) => t.replace(/ {2}- \{name: first,.*\n/, '') })
let op

before(async () => {
  await b.start()
  op = new Operator(b.adminSocket)
})
after(async () => { op?.close(); await b.remove() })

// Not spawnSync: who stands in between lives in this process.
function run (args, { input = '', socket = b.adminSocket } = {}) {
  return new Promise((done) => {
    const p = spawn(BATON, args, { cwd: b.dir, env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${socket}`, ASAN_OPTIONS: 'exitcode=99' } })
    const r = { stdout: '', stderr: '' }
    for (const k of ['stdout', 'stderr']) p[k].setEncoding('utf8').on('data', (d) => { r[k] += d })
    p.on('close', (status) => done({ ...r, status }))
    p.stdin.on('error', () => {})
    p.stdin.end(input)
  })
}
async function gives (status, args, opts) {
  const r = await run(args, opts)
  assert.equal(r.status, status, r.stdout + r.stderr)
  return r
}
const apply = (status, yaml, more = [], opts = {}) => gives(status, ['apply', '-f', '-', '--reason', 'a test', ...more], { input: yaml, ...opts })
const diff = (status, yaml, more = []) => gives(status, ['diff', '-f', '-', ...more], { input: yaml })
const get = (name, tenant = 'acme') => op.call('Get', { kind: 'agent', tenant, name })
const retire = async (name) => op.call('Delete', { ref: { kind: 'agent', tenant: 'acme', name }, version: (await get(name)).version, reason: 'a test' })
const change = async (name, more) => { const r = await get(name); return op.call('Apply', { resources: [{ version: r.version, agent: { ...r.agent, ...more } }], reason: 'somebody else' }) }
const generation = () => b.redis((r) => r.call('HGET', '{/}:m', 'g')).then(String)
const agent = (name, more = '') => `kind: agent\ntenant: acme\nname: ${name}\nspiffe_id: spiffe://acme.example/${name}\nowner: team-refunds\n${more}`
const many = (n, more = '', from = 0) => Array.from({ length: n }, (_, i) => agent(`many-${i + from}`, more)).join('---\n')

// Passes the calls of ResourceService on, and does something before the nth Apply that is no dry run; may answer it itself.
class Between {
  constructor (n, meanwhile, answer) { Object.assign(this, { n, meanwhile, answer, applied: 0, socket: b.path('between.sock') }) }

  async open () {
    const pass = (method) => async (call, done) => {
      try {
        if (method === 'Apply' && !call.request.dry_run && ++this.applied === this.n) {
          await this.meanwhile()
          if (this.answer) return done(this.answer)
        }
        done(null, await op.call(method, call.request))
      } catch (e) {
        const metadata = new grpc.Metadata()
        for (const k of ['baton-reason', 'baton-trace-id']) for (const v of e.metadata?.get(k) || []) metadata.set(k, v)
        done({ code: e.code, details: e.details, metadata })
      }
    }
    this.server = new grpc.Server()
    this.server.addService(api.baton.v1.ResourceService.service, { Get: pass('Get'), Apply: pass('Apply') })
    await new Promise((yes, no) => this.server.bindAsync(`unix:${this.socket}`, grpc.ServerCredentials.createInsecure(), (e) => (e ? no(e) : yes())))
    return this
  }

  close () { this.server.forceShutdown(); fs.rmSync(this.socket, { force: true }) }
}
async function between (n, meanwhile, fn, answer) {
  const x = await new Between(n, meanwhile, answer).open()
  try { return await fn({ socket: x.socket }) } finally { x.close() }
}

const three = [agent('first', `may_call: [${ROUTE}]\nlabels: {stage: test, team: "007"}\nmax_in_flight: 5\n`), agent('second', `may_serve:\n  - ${ROUTE}\nstatus: quarantined\n`),
  agent('third', 'client: third-client\nrate_per_s: 3\nexpires_at: 2099-01-31T01:00:00.250+01:00\n')].join('---\n')

test('One file registers three agents, who take part at once / applied again, all are unchanged, and nothing is written', async () => {
  const first = await b.agent('first')
  await denied(first.submit(), 'unknown_peer')
  const r = await apply(0, three)
  assert.equal(r.stdout, 'agent/acme/first registered\nagent/acme/second registered\nagent/acme/third registered\n')
  assert.match(r.stderr, /true on 1\/1 nodes/)
  await first.submit(read(ROUTE))
  const { agent: a } = await get('first')
  assert.deepEqual([a.may_call, a.may_originate, a.max_in_flight, a.rate_per_s, a.labels, a.status], [[ROUTE], true, 5, 0, { stage: 'test', team: '007' }, 'AGENT_STATUS_ACTIVE'])
  assert.deepEqual([(await get('second')).agent.status, (await get('second')).agent.may_originate], ['AGENT_STATUS_QUARANTINED', false])
  assert.deepEqual([(await get('third')).agent.client, (await get('third')).agent.expires_at_ms], ['third-client', Date.parse('2099-01-31T00:00:00.250Z')])
  assert.match((await b.audited({ event: 'agents.changed', rpc: 'Apply' })).message, /: a test$/)
  const then = await generation()
  assert.equal((await apply(0, three)).stdout, 'agent/acme/first unchanged\nagent/acme/second unchanged\nagent/acme/third unchanged\n')
  assert.equal((await apply(0, three.replace('{stage: test, team: "007"}', '{team: "007", stage: test}'))).stdout.match(/unchanged/g).length, 3, 'labels in another order are the same')
  assert.equal(await generation(), then)
})

test('What is left out has its default, what is not named stays as it is / a change is one field', async () => {
  await gives(0, ['agent', 'update', 'first', '--label', 'byhand=1', '--rate', '9', '--reason', 'by hand'])
  const r = await apply(0, three.replace('max_in_flight: 5', 'max_in_flight: 6').split('---\n')[0])
  assert.equal(r.stdout, 'agent/acme/first updated\n')
  const { agent: a } = await get('first')
  assert.deepEqual([a.max_in_flight, a.rate_per_s, a.labels], [6, 0, { stage: 'test', team: '007' }])
  assert.equal((await get('third')).version, '1')
})

test('Diff says field by field what differs, with 0, 1 and more than 1, and writes nothing', async () => {
  const then = await generation()
  assert.deepEqual(Object.values(await diff(0, three.replace('max_in_flight: 5', 'max_in_flight: 6'))), ['', '', 0])
  const r = await diff(1, three.replace('team: "007"', 'team: "008"').replace(`may_call: [${ROUTE}]`, `may_call: [second, ${ROUTE}]`).replace('rate_per_s: 3\n', '') + '---\n' + agent('new'))
  assert.equal(r.stdout, `--- agent/acme/first\tversion 3
+++ agent/acme/first\tstdin:1
 may_call:
   - ${ROUTE}
+  - second
-max_in_flight: 6
+max_in_flight: 5
 labels:
   stage: test
-  team: 007
+  team: 008
--- agent/acme/third\tversion 1
+++ agent/acme/third\tstdin:19
-rate_per_s: 3
--- agent/acme/new\tnot there
+++ agent/acme/new\tstdin:27
+tenant: acme
+name: new
+spiffe_id: spiffe://acme.example/new
+owner: team-refunds
+may_originate: false
+status: active
`)
  assert.equal(r.stderr, '3 of 4 resources differ\n')
  assert.equal((await diff(1, agent('new'), ['-o', 'name'])).stdout, 'agent/acme/new\n')
  const [one] = JSON.parse((await diff(1, three.replace('rate_per_s: 3', 'rate_per_s: 4').split('---\n')[2], ['-o', 'json'])).stdout).changes
  assert.deepEqual(one, { ref: { kind: 'agent', tenant: 'acme', name: 'third' }, action: 'updated', diff: 'rate_per_s: 3 -> 4', version: '1' })
  for (const [status, args] of [[66, ['diff', '-f', 'nowhere.yaml']], [65, ['diff', '-f', '-']], [64, ['diff']], [66, ['diff', '-f', b.dir]]]) await gives(status, args)
  await gives(69, ['diff', '-f', '-', '--admin-addr', `unix:${b.path('nobody.sock')}`], { input: three })
  assert.equal(await generation(), then)
})

test('A dry run says what would be done, exits with 0 and does nothing / -o json and -o name say the same of a change', async () => {
  const then = await generation()
  const both = agent('first', `may_call: [${ROUTE}]\n`) + '---\n' + agent('dry')
  assert.equal((await apply(0, both, ['--dry-run'])).stdout, 'agent/acme/first updated (dry run)\nagent/acme/dry registered (dry run)\n')
  assert.equal((await gives(64, ['apply', '-f', '-'], { input: both })).stderr, '`apply` needs --reason: it is written into the audit\n')
  assert.equal(await generation(), then)
  const said = JSON.parse((await apply(0, both, ['-o', 'json'])).stdout)
  assert.deepEqual(said.changes.map((c) => [c.ref.name, c.action, c.version]), [['first', 'updated', '4'], ['dry', 'registered', '1']])
  assert.match(said.changes[0].diff, /max_in_flight: 6 -> 0/)
  assert.deepEqual(said.nodes, [{ node: 'test-node', confirmed: true }])
  assert.equal((await apply(0, both, ['-o', 'name'])).stdout, 'agent/acme/first\nagent/acme/dry\n')
})

test('Who is in quarantine stays there when the file says nothing of its status / a file that says so releases it', async () => {
  const text = agent('second', `may_serve: [${ROUTE}]\n`)
  assert.equal((await apply(0, `${text}status: quarantined\n`)).stdout.replace(/quarantined|unchanged/, ''), 'agent/acme/second \n')
  await apply(0, text)
  assert.equal((await get('second')).agent.status, 'AGENT_STATUS_QUARANTINED')
  assert.equal((await apply(0, `${text}status: active\n`)).stdout, 'agent/acme/second released\n')
  assert.equal((await apply(0, `${text}status: quarantined\n`)).stdout, 'agent/acme/second quarantined\n')
})

const long = `x${'é🤖'.repeat(42)}`
const hostile = ['yes', 'null', '~', '1e3', '*a', '&a', '!a', 'a: b', 'a #b', '# a', '- a', '---', '...', '{', '[', '"', "'", '\\', '%', '@', '`', '|', '>', ' a ', '\u2028', '\ufeff', 'é🤖', long]
test('Export gives what apply takes back: diff says 0, also with every hostile text / static ones are left out, and that is said', async () => {
  for (const [i, owner] of hostile.entries()) {
    await op.call('Apply', { resources: [{ agent: { tenant: 'acme', name: `hostile-${i}`, spiffe_id: `spiffe://acme.example/hostile-${i}`, owner, labels: { null: owner, yes: '', '1e3': owner }, may_originate: i % 2 === 1, may_call: [ROUTE] } }], reason: 'a test' })
  }
  const far = { tenant: 'acme', name: 'null', spiffe_id: 'spiffe://acme.example/null', owner: 'x', client: 'null', max_in_flight: 1000000, rate_per_s: 1000000, expires_at_ms: 4102444800123, may_serve: [ROUTE, 'second'] }
  await op.call('Apply', { resources: [{ agent: far }], reason: 'a test' })
  await op.call('Apply', { resources: [{ agent: { ...far, name: 'late', spiffe_id: 'spiffe://acme.example/late', expires_at_ms: Number.MAX_SAFE_INTEGER } }], reason: 'a test' })
  const r = await gives(0, ['export'])
  assert.equal(r.stderr, '4 of the broker\'s configuration file left out: they change there alone\n')
  assert.doesNotMatch(r.stdout, /planner|uuid|version|registered_at/)
  assert.match(r.stdout, /^---\nkind: agent\ntenant: "acme"\nname: "dry"\nspiffe_id: "spiffe:\/\/acme\.example\/dry"\nowner: "team-refunds"\nmay_originate: false\nstatus: active\n---\n/)
  assert.match(r.stdout, /\nexpires_at: 2100-01-01T00:00:00.123Z\n/)
  assert.match(r.stdout, /\nstatus: quarantined\n/)
  assert.match(r.stdout, /\nlabels:\n {2}"null": "yes"\n {2}"yes": ""\n {2}"1e3": "yes"\n/)
  const then = await generation()
  assert.deepEqual(Object.values(await diff(0, r.stdout)), ['', '', 0])
  assert.doesNotMatch((await apply(0, r.stdout)).stdout, /registered|updated|released/)
  assert.equal(await generation(), then)
  for (const i of hostile.keys()) await retire(`hostile-${i}`)
  const again = await gives(0, ['export', '--tenant', 'acme'])
  assert.match(again.stderr, new RegExp(`^${hostile.length} retired left out$`, 'm'))
  assert.equal((await apply(0, r.stdout)).stdout.match(/ registered$/gm).length, hostile.length)
  for (const [i, owner] of hostile.entries()) {
    const { agent: a } = await get(`hostile-${i}`)
    assert.deepEqual([a.owner, a.labels, a.may_originate], [owner, { null: owner, yes: '', '1e3': owner }, i % 2 === 1])
  }
  const none = await gives(0, ['export', '--tenant', 'globex'])
  assert.equal(none.stdout, '---\n')
  await diff(0, none.stdout)
  assert.match((await apply(0, none.stdout)).stderr, /stdin has no resource: nothing to do/)
})

test('What is wrong is said by file, line and column, with what to do, exit 65, and nothing is changed / without it, it is taken', async () => {
  const good = agent('good', `may_call: [${ROUTE}]\n`)
  const laughs = 'a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n'
  const bad = [
    ['may_cal: [x]\n', '6:1: unknown key `may_cal`; did you mean `may_call`?'], ['owner: x\n', '6:1: key `owner` stands here twice; '],
    ['may_call: second\n', '6:11: may_call is not what it should be; write a list'], ['max_in_flight: [1]\n', '6:16: max_in_flight is not what it should be; write a number'],
    ['max_in_flight: 1e3\n', '6:16: max_in_flight: "1e3" is no whole number; '], ['max_in_flight: 1000001\n', '6:16: max_in_flight: 1000001 is not within 1 to 1000000; '],
    ['may_originate: yes\n', '6:16: may_originate: "yes" is neither; write true or false'], ['status: retired\n', '6:9: status: "retired" is not known; write active or quarantined'],
    ['expires_at: 2099-01-31\n', '6:13: expires_at: "2099-01-31" is no time of RFC 3339; '], ['uuid: x\n', '6:1: `uuid` may not be set: the broker gives it; '], ['version: 3\n', '6:1: `version` may not be set: '],
    ['expires_at_ms: 3\n', '6:1: `expires_at_ms` is not taken: '], ['id: x\n', '6:1: `id` is not taken: it has another name here; write `spiffe_id`'],
    [laughs, '6:4: anchors and tags are not taken: write the value out'], ['labels: {a: *a}\n', '6:13: aliases are not taken: '], ['labels: {a: !!str x}\n', '6:13: anchors and tags are not taken'],
    [`labels: ${'{a: '.repeat(20)}x${'}'.repeat(20)}\n`, /6:\d+: nested too deeply; /], [`labels: ${'['.repeat(100000)}\n`, /6:\d+: nested too deeply; /], ['labels: {A: b}\n', '6:10: labels: "A": this is no name; '],
    ['client: "a\u0001b"\n', '6:11: a control character; take it out'], ['client:\n', '6:1: client has no value; '], ['client: [\n', /7:1: this is no YAML: .*; /],
    [`---\n${agent('good')}`, '7:1: agent/acme/good stands here again, it was at line 1; '],
    [`---\n${agent('other').replace('example/other', 'example/good')}`, '10:1: spiffe_id: "spiffe://acme.example/good" is that of agent/acme/good too, at line 1; '],
    ['---\nkind: role\n', '7:7: kind: "role" is not known; write tenant or trust or issuer or agent'], ['---\nname: x\n', '7:1: no `kind` stands here; '], ['---\njust text\n', '7:1: a resource is a mapping'],
    ['---\nkind: agent\ntenant: acme\n', '7:1: `name` is missing; '], [`---\n${agent('other').replace('team-refunds', '""')}`, '11:8: owner is empty; '],
    [`---\n${agent('other').replace('spiffe://', 'https://')}`, '10:12: spiffe_id: "https://acme.example/other": a SPIFFE id starts with spiffe://; ']
  ]
  const then = await generation()
  for (const [more, what] of bad) {
    for (const args of [['apply', '-f', '-', '--reason', 'x'], ['diff', '-f', '-']]) {
      const r = await gives(65, args, { input: agent('good') + more })
      const line = r.stderr.split('\n')[0]
      assert.ok(typeof what === 'string' ? line.startsWith(`stdin:${what}`) : new RegExp(`^stdin:${what.source}`).test(line), `${more}: ${line}`)
      assert.equal(r.stdout, '')
    }
  }
  assert.match((await gives(65, ['apply', '-f', '-', '--reason', 'x'], { input: Buffer.concat([Buffer.from(`${agent('good')}client: "é`), Buffer.from([0xff, 0x22])]) })).stderr, /^stdin:6:11: a byte that is not UTF-8; /)
  assert.match((await gives(65, ['diff', '-f', '-'], { input: '# nothing\n' })).stderr, /^stdin:1:1: nothing stands in the file; /)
  fs.writeFileSync(b.path('huge.yaml'), Buffer.alloc(16 * 1024 * 1024 + 1, '#'))
  assert.match((await gives(65, ['apply', '-f', 'huge.yaml', '--reason', 'x'])).stderr, /^huge\.yaml:1:1: the file is over 16 MiB; split it$/m)
  assert.match((await gives(65, ['diff', '-f', '-'], { input: fs.readFileSync(b.path('huge.yaml')) })).stderr, /larger than 16777216 bytes/)
  fs.rmSync(b.path('huge.yaml'))
  await gives(66, ['apply', '-f', 'nowhere.yaml', '--reason', 'x'])
  assert.equal(await generation(), then)
  assert.equal((await apply(0, good)).stdout, 'agent/acme/good registered\n')
})

test('What the broker refuses is said at its place too, and nothing of the file is done: a route that is not there, an id that is taken, a static agent', async () => {
  const then = await generation()
  const refusals = [
    ['may_call: [nowhere]\n', /^stdin:12:1: agent\/acme\/bad: may_call: tenant acme has no route nowhere/], ['client: "a b"\n', /^stdin:12:1: agent\/acme\/bad: client: a client id has/],
    [`labels: {a: ${'x'.repeat(257)}}\n`, /^stdin:12:1: agent\/acme\/bad: labels: /]
  ]
  for (const [more, what] of refusals) {
    const r = await apply(65, `${agent('fine')}---\n${agent('bad', more)}`)
    assert.match(r.stderr, what)
    assert.match(r.stderr, /Nothing was changed\./)
  }
  assert.match((await apply(65, `${agent('fine')}---\n${agent('bad').replace('example/bad', 'example/first')}`)).stderr, /^stdin:10:1: agent\/acme\/bad: spiffe_id: it is that of agent first of tenant acme/)
  assert.match((await apply(65, `${agent('fine')}---\n${agent('planner')}`)).stderr, /^stdin:7:1: agent\/acme\/planner: it is static: it stands in the broker's configuration file/)
  await diff(65, agent('planner'))
  assert.equal(await generation(), then)
  await denied(get('fine'), 'not_found')
})

test('A name that was retired is registered again, and is another agent', async () => {
  await apply(0, agent('again'))
  const { agent: { uuid } } = await get('again')
  await retire('again')
  assert.match((await diff(1, agent('again'))).stdout, /^--- agent\/acme\/again\tnot there$/m)
  assert.equal((await apply(0, agent('again'))).stdout, 'agent/acme/again registered\n')
  const now = (await get('again')).agent
  assert.deepEqual([now.status, now.uuid === uuid], ['AGENT_STATUS_ACTIVE', false])
})

test('Somebody else changes one of them in between: that is said, exit 75, and nothing was changed / tried again, it is done', async () => {
  await apply(0, `${agent('raced')}---\n${agent('beside')}`)
  const yaml = `${agent('beside', 'rate_per_s: 5\n')}---\n${agent('raced', 'rate_per_s: 5\n')}`
  let r = await between(1, () => change('raced', { max_in_flight: 7 }), (o) => apply(75, yaml, [], o))
  assert.equal(r.stdout, '')
  assert.match(r.stderr, /^try again: somebody else changed one of these at the same time\n {4}agent\/acme\/raced was version 1 when it was looked at, and is version 2 by now\.\n {4}Nothing was changed\.\n/)
  assert.deepEqual([(await get('beside')).agent.rate_per_s, (await get('raced')).agent.rate_per_s, (await get('raced')).agent.max_in_flight], [0, 0, 7])
  r = await between(1, () => retire('raced'), (o) => apply(75, yaml, [], o))
  assert.match(r.stderr, /agent\/acme\/raced was version 2 when it was looked at, and is not there by now\./)
  r = await between(1, () => apply(0, agent('raced')), (o) => apply(75, yaml, [], o))
  assert.match(r.stderr, /agent\/acme\/raced was not there when it was looked at, and is version 4 by now\./)
  const metadata = new grpc.Metadata()
  metadata.set('baton-reason', 'wrong_state') // as a node answers that has not heard yet of what the store refuses
  r = await between(1, () => {}, (o) => apply(75, yaml, [], o), { code: 9, details: 'wrong_state: somebody else changed one of these at the same time', metadata })
  assert.match(r.stderr, /^try again: somebody else changed one of these at the same time\n {4}Nothing was changed\.\n/)
  assert.equal((await apply(0, yaml)).stdout, 'agent/acme/beside updated\nagent/acme/raced updated\n')
})

test('40 agents from one file: all are asked for before any is done / one that cannot be keeps all others away', async () => {
  const then = await generation()
  const r = await apply(65, `${many(40)}---\n${agent('many-40', 'may_call: [nowhere]\n')}`)
  assert.match(r.stderr, /^stdin:246:1: agent\/acme\/many-40: may_call: tenant acme has no route nowhere.*\n {4}Nothing was changed\.\n/)
  assert.equal(await generation(), then)
  const good = await apply(0, many(40))
  assert.equal(good.stdout.match(/^agent\/acme\/many-\d+ registered$/gm).length, 40)
  assert.equal((await apply(0, many(40, '', 0))).stdout.match(/unchanged/g).length, 40)
  assert.equal((await apply(0, many(40, 'rate_per_s: 2\n'), ['--dry-run'])).stdout.match(/updated \(dry run\)$/gm).length, 40)
  await diff(0, many(40))
  const large = Array.from({ length: 33 }, (_, i) => agent(`large-${i}`, `labels: {${Array.from({ length: 16 }, (_, k) => `k${k}: ${'é'.repeat(128)}`).join(', ')}}\n`).replace(`example/large-${i}`, `example/${'x'.repeat(2000)}-${i}`)).join('---\n')
  assert.equal((await apply(0, large)).stdout.match(/registered/g).length, 33, 'as large as they may be')
  await diff(0, (await gives(0, ['export'])).stdout)
})

test('A race in the second call of 32 leaves the first done, and says which and what was not / applied again, the rest is done', async () => {
  const yaml = many(40, 'rate_per_s: 7\n')
  const r = await between(2, () => change('many-35', { max_in_flight: 7 }), (o) => apply(75, yaml, [], o))
  assert.deepEqual(r.stdout.trim().split('\n'), Array.from({ length: 32 }, (_, i) => `agent/acme/many-${i} updated`))
  assert.match(r.stderr, /agent\/acme\/many-35 was version 1 when it was looked at, and is version 2 by now\.\n {4}32 resources were changed before, in calls of 32, each all or none; this call was not/)
  assert.equal((await get('many-39')).agent.rate_per_s, 0)
  const again = (await apply(0, yaml)).stdout
  assert.deepEqual([again.match(/unchanged/g).length, again.match(/updated/g).length], [32, 8])
})

test('The broker goes away in between: what is not known is said / applied again, it is as the file says', async () => {
  const r = await between(1, () => {}, (o) => apply(75, agent('gone'), [], o), { code: 14, details: 'away' })
  assert.match(r.stderr, /Whether this call was carried out is not known/)
  const cut = await between(1, () => new Promise(() => {}), (o) => apply(75, agent('gone'), ['--timeout', '6s'], o))
  assert.match(cut.stderr, /Whether this call was carried out is not known: apply the file again/)
  assert.equal((await apply(0, agent('gone'))).stdout, 'agent/acme/gone registered\n')
})

test('The commands of the README for files do what it says', async () => {
  const block = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/```sh\n(baton export[^`]*)```/)[1]
  const env = { PATH: `${path.dirname(BATON)}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' }
  const r = await new Promise((done) => {
    const p = spawn('bash', ['-euc', block], { cwd: b.dir, env })
    let text = ''
    for (const k of ['stdout', 'stderr']) p[k].on('data', (d) => { text += d })
    p.on('close', (status) => done({ status, text }))
  })
  assert.equal(r.status, 0, r.text)
  assert.match(r.text, /^-owner: team-refunds\n\+owner: team-payments$/m)
  assert.match(r.text, /^agent\/acme\/first updated$/m)
  assert.equal((await get('first')).agent.owner, 'team-payments')
})
