// Can it be run? Configuration, reload, drain, metrics, health, audit and what must never be in any of them.
import fs from 'node:fs'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { Broker, BATOND, profile, ROUTE } from './lib/broker.js'
import { denied } from './lib/agent.js'
import { content, files, modeOf } from './lib/shown.js'

const b = new Broker()
let planner, worker

before(async () => { [planner, worker] = await b.startWith('planner', 'worker') })
after(() => b.remove())

async function oneCycle (payload = '{"order":"A-7"}') {
  const receipt = await planner.submit({ payload: Buffer.from(payload) })
  const s = await worker.subscribe()
  await s.complete(await s.delivery())
  await s.leave()
  return receipt
}

test('/metrics is clean for promtool and counts decisions and handoffs; no label comes from a stranger', async () => {
  await oneCycle()
  await denied(planner.submit({ route: 'stranger_made_route', tool: 'stranger_made_tool' }), 'route_denied')
  const { status, body, type } = await b.http('/metrics')
  assert.equal(status, 200)
  assert.match(type, /^text\/plain; version=0\.0\.4/)
  const r = spawnSync('promtool', ['check', 'metrics'], { input: body, encoding: 'utf8' })
  assert.equal(r.status, 0, `${r.error || ''}${r.stdout}${r.stderr}`)
  assert.match(body, new RegExp(`baton_decisions_total\\{.*route="${ROUTE}".*reason="allowed".*\\} [1-9]`))
  assert.match(body, /baton_decisions_total\{.*reason="route_denied".*\} [1-9]/)
  assert.match(body, new RegExp(`baton_handoffs_total\\{.*state="completed".*\\} [1-9]`))
  assert.ok(!body.includes('stranger_made'))
})

test('/readyz says each check, since when; /healthz answers; other pages are not there', async () => {
  const ready = await b.http('/readyz')
  assert.equal(ready.status, 200)
  const { ready: yes, checks } = JSON.parse(ready.body)
  assert.equal(yes, true)
  for (const name of ['store', 'registry', 'audit', 'keys', 'certificate', 'trust', 'listeners']) {
    const c = checks.find((x) => x.check === name)
    assert.equal(c.ok, true, name)
    assert.ok(!Number.isNaN(Date.parse(c.since)), c.since)
  }
  assert.equal((await b.http('/healthz')).status, 200)
  assert.equal((await b.http('/etc/passwd')).status, 404)
})

test('E12 I-8 T3 O-2 O-9 no token, no payload in log, audit, metrics or state folder', async () => {
  const marker = 's3cr3t-customer-data'
  const receipt = await oneCycle(JSON.stringify({ marker }))
  const bad = await b.issuer.mint(planner, { aud: 'nobody' })
  await denied(planner.submit({}, { token: bad }), 'wrong_audience')
  await denied(planner.submit({ idempotency_key: planner.token.slice(0, 100) }), 'malformed_envelope')
  await b.audited({ event: 'handoff.completed', handoff_id: receipt.handoff_id })
  const sources = { 'the log': Buffer.from(b.log()), 'the audit': fs.readFileSync(b.path('audit.jsonl')), '/metrics': Buffer.from((await b.http('/metrics')).body) }
  for (const f of files(b.path('state'))) sources[f] = content(f)
  assert.ok(Object.keys(sources).some((f) => f.endsWith('.aof')))
  const secrets = [marker, ...[planner.token, bad].flatMap((t) => [t.split('.')[1].slice(0, 60), t.split('.')[2].slice(0, 40)])]
  for (const [where, bytes] of Object.entries(sources)) for (const s of secrets) assert.ok(!bytes.includes(s), `${s} is in ${where}`)
  const line = await b.audited({ event: 'decision', trace_id: receipt.trace_id })
  assert.equal(line.retention, '30d')
  assert.deepEqual([line.issuer, line.audience, line.subject, line.token_tenant, line.scopes], [b.issuer.url, 'support-agent-runtime', 'user-ana', 'acme', 'orders:read refunds:draft'])
})

test('I-9 O-4 B8 one query over the audit answers who called which tool, with which scopes, under which policy', async () => {
  const { handoff_id, decision } = await oneCycle()
  const mine = b.audit().filter((r) => r.handoff_id === handoff_id)
  const [d] = mine.filter((r) => r.event === 'decision')
  assert.deepEqual([d.agent, d.spiffe_id, d.certificate_sha256, d.subject, d.tool, d.policy_version, d.reason],
    ['planner', 'spiffe://acme.example/planner', planner.thumbprint, 'user-ana', 'refunds.draft_refund', decision.policy_version, 'allowed'])
  for (const event of ['decision', 'handoff.leased', 'handoff.completed']) assert.equal(mine.filter((r) => r.event === event).length, 1, event)
  assert.equal(new Set(mine.map((r) => r.trace_id)).size, 1)
})

test('O-4 the line of a decision is in the audit file at the moment its answer arrives, allow and deny', async () => {
  const at = (change) => new Promise((yes) => { // the file is read in the answer's own callback: nothing waits
    planner.client.Submit({ envelope: planner.envelope(change) }, planner.meta(), { deadline: Date.now() + 10000 }, (e, receipt) => {
      const lines = b.audit()
      const trace_id = e ? e.metadata.get('baton-trace-id')[0] : receipt.trace_id
      yes({ receipt, trace_id, mine: lines.filter((r) => r.event === 'decision' && r.trace_id === trace_id) })
    })
  })
  for (let i = 0; i < 25; i++) {
    const good = await at({})
    assert.deepEqual(good.mine.map((r) => [r.outcome, r.reason, r.handoff_id]), [['allow', 'allowed', good.receipt.handoff_id]])
    const bad = await at({ tool: 'nobody.knows' })
    assert.deepEqual(bad.mine.map((r) => [r.outcome, r.reason, r.tool]), [['deny', 'tool_denied', 'nobody.knows']])
    await planner.cancel(good.receipt.handoff_id)
  }
})

test('State files are for the broker alone', () => {
  const walk = (dir) => fs.readdirSync(dir, { withFileTypes: true }).flatMap((e) => [path.join(dir, e.name), ...(e.isDirectory() ? walk(path.join(dir, e.name)) : [])])
  for (const f of [b.path('state'), ...walk(b.path('state'))]) assert.equal(modeOf(f) & 0o007, 0, f)
  assert.equal(fs.statSync(b.path('audit.jsonl')).mode & 0o077, 0)
})

test('T3 attack 30: no secret on the command line or in the environment of batond and its Redis', async () => {
  for (const pid of [b.process.pid, await b.redisPid()]) {
    const text = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1') + fs.readFileSync(`/proc/${pid}/environ`, { encoding: 'latin1', flag: 'r' })
    assert.ok(!/password|secret|BEGIN|eyJ/i.test(text), text)
  }
})

test('A-5 SIGHUP takes a new agent and a changed profile; connections and streams stay', async () => {
  const s = await worker.subscribe()
  const ghost = { ...b.acme.leaf('newcomer', { sans: ['URI:spiffe://acme.example/newcomer'] }), name: 'newcomer', tenant: 'acme' }
  b.leaves.newcomer = ghost
  const newcomer = await b.agent('newcomer')
  await denied(newcomer.submit(), 'unknown_peer')
  const old = (await planner.submit()).decision.policy_version
  const d = await s.delivery()
  b.profiles[ROUTE] = profile(ROUTE, { tools: { allowed: ['refunds.draft_refund'], spec: { 'refunds.draft_refund': { scopes: ['refunds:draft'], side_effect: 'draft' } } } })
  b.writeProfiles()
  b.agentRows = [...b.agentRows, { name: 'newcomer', tenant: 'acme', call: true }]
  b.writeConfig()
  b.signal('SIGHUP')
  await until('the newcomer to be served', () => newcomer.submit())
  await denied(planner.submit({ tool: 'orders.lookup', side_effect: 'SIDE_EFFECT_READ', idempotency_key: '' }), 'tool_denied')
  const fresh = await planner.submit()
  assert.notEqual(fresh.decision.policy_version, old)
  assert.equal((await s.complete(d)).ok, true, 'the stream that was open is still open')
  await s.complete(await s.delivery())
  await b.audited({ event: 'config.reloaded' })
  await s.complete(await s.delivery())
  await s.leave()
})

test('A-5 a reload that is bad keeps the old configuration and says so', async () => {
  const good = b.path('baton.yaml')
  b.writeConfig((t) => t.replace('version: 1', 'version: 1\nsurprise: yes'))
  b.signal('SIGHUP')
  await until('a complaint in the log', () => /surprise/.test(b.log()))
  await planner.submit()
  assert.match((await b.http('/metrics')).body, /baton_reloads_total\{.*\} [1-9]/)
  assert.ok(fs.existsSync(good))
  b.writeConfig()
  b.profiles.broken = '{"route": "broken", "tools": }'
  b.writeProfiles()
  b.signal('SIGHUP')
  await until('the profile\'s name in the log', () => /broken\.json/.test(b.log()))
  await planner.submit()
  delete b.profiles.broken
  b.writeProfiles()
  b.writeConfig()
  b.signal('SIGHUP')
  await sleep(300)
  await planner.submit()
})

test('A-5 a setting that cannot change while batond runs is refused by name / one that can is taken', async () => {
  b.writeConfig((t) => t.replace('clock_skew: 1s', 'clock_skew: 20s'))
  b.signal('SIGHUP')
  await until('the key in the log', () => /envelope\.clock_skew cannot change while batond runs/.test(b.log()))
  b.writeConfig((t) => t.replace('level: info', 'level: debug'))
  b.signal('SIGHUP')
  await until('debug lines of a new connection', async () => {
    const p = await b.agent('planner')
    try { await p.submit() } finally { p.close() }
    return /"level":"debug"/.test(b.log())
  })
  b.writeConfig()
  b.signal('SIGHUP')
  await planner.submit()
})

test('T5 work accepted under a policy that no longer allows it is not delivered after the change', async () => {
  b.profiles.changing = profile('changing')
  b.writeProfiles()
  b.writeConfig()
  b.signal('SIGHUP')
  const { handoff_id } = await until('the route to be there', () => planner.submit({ route: 'changing' }))
  b.profiles.changing = profile('changing', { tools: { allowed: ['orders.lookup'] } })
  b.writeProfiles()
  b.signal('SIGHUP')
  await until('the new policy', async () => (await denied(planner.submit({ route: 'changing' }), 'tool_denied')).reason)
  const s = await worker.subscribe({ routes: ['changing'] })
  await until('the handoff to be put aside', async () => /QUARANTINED|REJECTED|FAILED|CANCELLED/.test((await planner.get(handoff_id)).state))
  assert.deepEqual(s.deliveries(), [])
  await s.leave()
})

// ---- configuration files that are wrong ----
function check (change, files = {}) {
  const dir = fs.mkdtempSync(b.path('cfg-'))
  const file = path.join(dir, 'baton.yaml')
  fs.writeFileSync(file, change(b.yaml().replaceAll(b.path('state'), path.join(dir, 'state')).replaceAll(b.path('profiles'), path.join(dir, 'profiles'))))
  fs.mkdirSync(path.join(dir, 'profiles'))
  fs.mkdirSync(path.join(dir, 'state'), { mode: 0o700 })
  for (const [name, p] of Object.entries({ [ROUTE]: b.profiles[ROUTE], ...files })) fs.writeFileSync(path.join(dir, 'profiles', `${name}.json`), typeof p === 'string' ? p : JSON.stringify(p))
  const r = spawnSync(BATOND, ['--check-config', '--config', file], { encoding: 'utf8', env: { PATH: process.env.PATH } })
  return { code: r.status, text: r.stdout + r.stderr, file }
}
const only = (t) => t.replaceAll(/call: \["[^\]]*\]/g, `call: ["${ROUTE}"]`).replaceAll(/serve: \["[^\]]*\]/g, `serve: ["${ROUTE}"]`)

test('--check-config: a good file is good', () => {
  const r = check(only)
  assert.equal(r.code, 0, r.text)
})

const lineOf = (text, what) => text.split('\n').findIndex((l) => l.includes(what)) + 1
for (const [name, from, to, key, says] of [
  ['an unknown key', 'fsync: always', 'fsink: always', 'fsink', /unknown key/],
  ['an unknown key inside an issuer', 'binding: certificate,', 'audience: x, binding: certificate,', 'audience', /unknown key.*issuers/s],
  ['a wrong type', 'workers: 2', 'workers: [2]', 'workers', /workers: a single value belongs here, not a list\n/],
  ['a number that is none', 'workers: 2', 'workers: two', 'workers', /workers: "two" is not a whole number\n/],
  ['a bad duration', 'timeout: 2s', 'timeout: 2 parsecs', 'timeout', /store\.timeout: "2 parsecs" is not a duration such as 250ms, 2s, 5m, 24h, 7d\n/],
  ['a word outside the choice', 'fsync: always', 'fsync: sometimes', 'fsync', /always/],
  ['a key that comes twice', 'fsync: always', 'fsync: always\n  fsync: everysec', 'fsync', /twice|duplicate/i],
  ['an url with a password', 'url: ""', 'url: "redis://u:hunter2@host:6379"', 'url', /password/],
  ['an issuer over plain http', 'https://static.issuer.example', 'http://static.issuer.example', 'url', /https/]
]) {
  test(`--check-config: ${name} names line, key and fix`, () => {
    let at
    const r = check((t) => { const out = only(t).replace(from, to); at = lineOf(out, to.split('\n').at(-1).trim()); return out })
    assert.equal(r.code, 78, r.text)
    assert.match(r.text, new RegExp(`baton\\.yaml:${at}`), r.text)
    assert.ok(r.text.includes(key), r.text)
    assert.match(r.text, says)
    assert.ok(!r.text.includes('hunter2'))
  })
}

test('--check-config: a missing file, an open key, a bad profile, an agent\'s route that is not there', () => {
  const missing = check((t) => only(t).replace('server.pem', 'nowhere.pem'))
  assert.equal(missing.code, 78)
  assert.match(missing.text, /baton\.yaml:\d+:\d+: tls\.cert: .*nowhere\.pem: No such file or directory\. Name the server's certificate chain/)
  const misplaced = check((t) => only(t).replace('url: ""', 'url: ""\n  password_file: hunter2'))
  assert.match(misplaced.text, /store\.password_file: an absolute path belongs here/)
  assert.ok(!misplaced.text.includes('hunter2'))
  const none = spawnSync(BATOND, ['--check-config', '--config', '/nonexistent/baton.yaml'], { encoding: 'utf8' })
  assert.ok([66, 78].includes(none.status), none.stderr)
  assert.match(none.stderr + none.stdout, /nonexistent\/baton\.yaml/)
  fs.chmodSync(b.server.key, 0o644)
  const open = check(only)
  fs.chmodSync(b.server.key, 0o600)
  assert.equal(open.code, 78)
  assert.match(open.text, /0600/)
  const bad = check(only, { broken: { ...profile('broken'), surprise: 1 } })
  assert.equal(bad.code, 78)
  assert.match(bad.text, /broken\.json.*surprise/s)
  const twice = check(only, { second: `{"route": "second", "route": "x"}` })
  assert.equal(twice.code, 78)
  const route = check((t) => only(t).replace(`serve: ["${ROUTE}"]`, 'serve: [no_such_route]'))
  assert.equal(route.code, 78)
  assert.match(route.text, /no_such_route/)
})

test('An audit file that cannot be written: nothing is accepted', async () => {
  const full = new Broker()
  await full.prepare()
  fs.symlinkSync('/dev/full', full.path('full.jsonl'))
  full.writeConfig((t) => t.replaceAll('audit.jsonl', 'full.jsonl'))
  const up = full.start().then(() => 'ready', () => 'not ready')
  try {
    const state = await until('an answer', async () => full.exit || (await full.http('/readyz')).status, 10000)
    if (state === 503 || state === 200) {
      const p = await full.agent('planner')
      let accepted = 0
      await until('a refusal', () => denied(p.submit().then((r) => { accepted++; return r }), 'store_unavailable', 'UNAVAILABLE'))
      assert.equal(accepted, 0)
    } else {
      assert.notEqual(state.code, 0)
    }
  } finally {
    full.process?.kill('SIGKILL')
    await up
    fs.rmSync(full.dir, { recursive: true, force: true })
  }
})

test('A second batond on the state folder of one that runs waits, says so and does not start / once the first has ended, the next serves what it left', async () => {
  const first = new Broker()
  let next
  try {
    const [p] = await first.startWith('planner')
    next = await first.twin('next')
    next.writeConfig((t) => t.replace(next.path('state'), first.path('state')))
    const marker = fs.readFileSync(first.path('state', 'running'), 'utf8')
    next.launch()
    assert.deepEqual(await next.exited, { code: 78, signal: null })
    assert.ok(next.log().includes(`batond: state_dir: another batond uses ${first.path('state')}, and has not ended within 30 s: stop it, or give each node a folder of its own`), next.log())
    assert.equal(fs.readFileSync(first.path('state', 'running'), 'utf8'), marker)
    const { handoff_id: id } = await p.submit()
    next.launch()
    await sleep(500)
    assert.equal(next.exit, null)
    await first.stop()
    await next.ready()
    const w = await next.agent('worker')
    const s = await w.subscribe()
    const d = await s.delivery()
    assert.equal(d.lease.handoff_id, id)
    assert.equal((await s.complete(d)).ok, true)
    await s.leave()
  } finally {
    await next?.remove()
    await first.remove()
  }
}, 120000)

test('SIGTERM drains: subscribers are told, what is under way is finished, the exit is clean', async () => {
  const s = await worker.subscribe()
  await planner.submit()
  const d = await s.delivery()
  b.signal('SIGTERM')
  const { notice } = await s.take('a notice', (f) => f.notice)
  assert.equal(notice.kind, 'NOTICE_KIND_DRAINING')
  assert.equal((await s.complete(d)).ok, true)
  s.cut()
  await b.exited
  assert.deepEqual(b.exit, { code: 0, signal: null })
  assert.ok(b.audit().some((r) => r.event === 'node.stopped'))
  await b.stop()
})
