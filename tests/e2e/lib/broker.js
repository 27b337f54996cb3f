// How does a real batond come up for a test? In a folder of its own: PKI, issuer, profiles, baton.yaml, private Redis, free loopback ports.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { Ca } from './pki.js'
import { StaticIssuer, AUDIENCE, STATIC_ISSUER } from './tokens.js'
import { Agent } from './agent.js'
import { freePort } from './ports.js'
import { Redis } from './redis.js'
import { BUILD, ROOT, readText } from './wire.js'
import { assert, patience, sleep, until } from './suite.js'

export const BATOND = path.join(BUILD, 'batond')
export const BATON = path.join(BUILD, 'baton')
export const ROUTE = 'support_refund_assistant'
// grpc-js may leave a connection behind that it was making when its channel was closed: of the configuration, where a test closes many.
export const LEFT_BEHIND = 'limits: {connections_per_agent: 1000}\n'
const SKEW_MS = 1000 // envelope.clock_skew below
const SANITIZER = /(AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed)/

// A route's profile that says what every test needs; `change` overrides whole members.
export function profile (route, change = {}, issuers = [STATIC_ISSUER]) {
  return {
    route,
    risk_class: 'medium',
    identity: { allowed_issuers: issuers, required_audience: AUDIENCE, required_scopes: ['orders:read', 'refunds:draft'], tenants: ['acme', 'globex'] },
    tools: {
      allowed: ['orders.lookup', 'refunds.draft_refund', 'orders.close', 'email.notify', 'notes.any'],
      approval_required: ['refunds.issue_refund'],
      spec: {
        'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' },
        'refunds.draft_refund': { scopes: ['refunds:draft'], side_effect: 'draft' },
        'orders.close': { scopes: ['orders:read'], side_effect: 'write' },
        'refunds.issue_refund': { scopes: ['refunds:draft'], side_effect: 'write', destinations: ['api.example.com'] },
        'email.notify': { scopes: ['orders:read'], side_effect: 'external_send', destinations: ['api.example.com'] }
      }
    },
    egress: { classes: { 'api.example.com': 'internal', 'docs.example.com': 'public' } },
    sandbox: { network: { allowed_domains: ['api.example.com', 'docs.example.com'], block_private_networks: true, require_tls: true } },
    observability: { retention_days: 30 },
    delivery: { kind: 'queue', lease_ms: 2000, resume_ms: 1000, max_attempts: 3, backoff_ms: [100, 300], default_deadline_ms: 600000, max_deadline_ms: 3600000 },
    ...change
  }
}

export const AGENTS = [
  { name: 'planner', tenant: 'acme', call: true },
  { name: 'worker', tenant: 'acme', serve: true },
  { name: 'worker2', tenant: 'acme', serve: true },
  { name: 'auditor', tenant: 'acme', call: true },
  { name: 'bystander', tenant: 'acme' },
  { name: 'gplanner', tenant: 'globex', call: true },
  { name: 'gworker', tenant: 'globex', serve: true }
]

// Who started a process, and is it over, though nobody may have asked for its exit code yet?
function stat (pid) {
  try {
    const [state, parent] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
    return { parent: Number(parent), gone: state === 'Z' }
  } catch { return { parent: 1, gone: true } }
}

export class Broker {
  // profiles: {file name: object or text}; fsync; idp: an issuer by discovery; config: text → text, the last word on baton.yaml;
  // asan: more of AddressSanitizer's options; wrap: a command that executes batond; env: more variables; as: the uid it runs as;
  // becoming: with the right to have its keeper be another user; admin: with listen.admin
  constructor ({ profiles, fsync = 'always', idp, config = (t) => t, agents = AGENTS, workers = 2, asan = '', wrap = [], env = {}, as, becoming = false, admin = false } = {}) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'bt-'))
    for (const d of ['state', 'profiles', 'pki']) fs.mkdirSync(this.path(d), { mode: 0o700 })
    Object.assign(this, { fsync, asan, wrap, env, as, becoming, admin, change: config, workers, agentRows: agents, idpOf: idp, starts: 0 })
    this.profiles = profiles || { [ROUTE]: profile(ROUTE) }
    this.agents = {}
    this.node = 'test-node'
  }

  path (...p) { return path.join(this.dir, ...p) }
  get adminSocket () { return this.path('admin.sock') }

  async prepare () {
    this.acme = new Ca(this.path('pki'), 'acme', { uri: 'spiffe://acme.example' })
    this.globex = new Ca(this.path('pki'), 'globex', { uri: 'spiffe://globex.example' })
    this.serverCa = new Ca(this.path('pki'), 'servers')
    this.server = this.serverCa.leaf('server', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
    this.leaves = Object.fromEntries(this.agentRows.map((a) => {
      const spiffe = `spiffe://${a.tenant}.example/${a.name}`
      return [a.name, { ...this[a.tenant].leaf(a.name, { sans: [`URI:${spiffe}`] }), tenant: a.tenant, spiffe }]
    }))
    this.issuer = await new StaticIssuer(this.path('static.jwks')).make()
    if (this.idpOf) this.idp = await this.idpOf(this)
    return this.settle()
  }

  // Another node of the same deployment: the same peers, issuer and profiles, a folder and ports of its own.
  async twin (node, opts = {}) {
    const t = new Broker({ profiles: this.profiles, fsync: this.fsync, agents: this.agentRows, workers: this.workers, admin: this.admin, ...opts })
    for (const k of ['acme', 'globex', 'serverCa', 'server', 'leaves', 'issuer']) t[k] = this[k]
    t.node = node
    return t.settle()
  }

  async settle () {
    this.port = await freePort()
    this.metricsPort = await freePort()
    await this.chooseAdmin()
    this.addr = `127.0.0.1:${this.port}`
    this.writeProfiles()
    this.writeConfig()
    return this
  }

  async chooseAdmin () {
    if (this.admin) this.adminPort = await freePort()
    this.adminAddr = this.admin ? `127.0.0.1:${this.adminPort}` : 'off'
  }

  writeProfiles (profiles = this.profiles) {
    for (const f of fs.readdirSync(this.path('profiles'))) fs.rmSync(this.path('profiles', f))
    for (const [name, p] of Object.entries(profiles)) {
      fs.writeFileSync(this.path('profiles', `${name}.json`), typeof p === 'string' ? p : JSON.stringify(p, null, 1))
    }
  }

  yaml () {
    const q = JSON.stringify
    const issuers = [`  - {name: static, url: ${q(STATIC_ISSUER)}, jwks_file: ${q(this.issuer.file)}, tenants: [acme, globex], algorithms: [ES256, ES384, EdDSA, PS256, RS256], binding: certificate, max_lifetime: 1h}`]
    if (this.idp) {
      issuers.push(`  - {name: corp, url: ${q(this.idp.url)}, ca_file: ${q(this.serverCa.cert)}, allow_private: true, tenants: [acme], algorithms: [ES256], binding: certificate, max_lifetime: 1h}`)
    }
    const agents = this.agentRows.map((a) => {
      const there = Object.entries(this.profiles).filter(([, p]) => !p.identity?.tenants || p.identity.tenants.includes(a.tenant)).map(([r]) => r)
      const routes = (on) => (on ? q(there) : '[]')
      return `  - {name: ${a.name}, tenant: ${a.tenant}, id: "spiffe://${a.tenant}.example/${a.name}", call: ${routes(a.call)}, serve: ${routes(a.serve)}}`
    })
    return `version: 1
node: ${this.node}
state_dir: ${q(this.path('state'))}
workers: ${this.workers}
listen:
  agents: ${this.addr}
  http1: "off"
  admin: ${q(this.adminAddr || 'off')}
  admin_socket: ${q(this.adminSocket)}
  metrics: 127.0.0.1:${this.metricsPort}
tls:
  cert: ${q(this.server.cert)}
  key: ${q(this.server.key)}
  trust:
    - {domain: acme.example, bundle: ${q(this.acme.cert)}}
    - {domain: globex.example, bundle: ${q(this.globex.cert)}}
issuers:
${issuers.join('\n')}
store:
  url: ""
  fsync: ${this.fsync}
  timeout: 2s
profiles: ${q(this.path('profiles'))}
envelope:
  window: 5m
  clock_skew: 1s
  max_payload: 1MiB
audit:
  file: ${q(this.path('audit.jsonl'))}
  when_unwritable: refuse
  payloads: never
log: {level: info, format: json}
agents:
${agents.join('\n')}
`
  }

  writeConfig (change = this.change) { fs.writeFileSync(this.path('baton.yaml'), change(this.yaml())) }

  // Brings batond up and waits until it says that it is ready.
  async start () {
    if (!this.port) await this.prepare()
    this.launch()
    await this.ready(30000)
    await sleep(SKEW_MS + 200) // what is stamped before the store's floor plus the skew is refused
    return this
  }

  launch () {
    const log = fs.openSync(this.path('batond.log'), 'a')
    const rights = this.becoming ? ['setpriv', `--reuid=${this.as}`, `--regid=${this.as}`, '--clear-groups', '--inh-caps=+setuid,+setgid', '--ambient-caps=+setuid,+setgid'] : []
    const [program, ...args] = [...this.wrap, ...rights, this.as ? this.giveTo(this.as) : BATOND, '--config', this.path('baton.yaml')]
    this.process = spawn(program, args, {
      stdio: ['ignore', log, log], cwd: this.dir, ...(this.becoming ? {} : { uid: this.as, gid: this.as }),
      env: { PATH: process.env.PATH, ASAN_OPTIONS: `detect_leaks=1:abort_on_error=0:exitcode=99:${this.asan}`, UBSAN_OPTIONS: 'print_stacktrace=1', TSAN_OPTIONS: 'exitcode=99', ...this.env }
    })
    this.exited = new Promise((done) => this.process.on('exit', (code, signal) => { this.exit = { code, signal }; done(this.exit) }))
    this.exit = null
    this.starts++
  }

  // Its folder, with a copy of batond that it can reach, belongs to this uid from now on.
  giveTo (uid) {
    fs.copyFileSync(BATOND, this.path('batond'))
    const give = (p) => { fs.chownSync(p, uid, uid); if (fs.statSync(p).isDirectory()) for (const e of fs.readdirSync(p)) give(path.join(p, e)) }
    give(this.dir)
    return this.path('batond')
  }

  async ready (ms = 20000) {
    try {
      await until('/readyz', async () => { if (this.exit) return 'gone'; return (await this.http('/readyz')).status === 200 }, ms)
      if (this.exit) throw new Error(`batond ended: ${JSON.stringify(this.exit)}`)
    } catch (e) {
      throw new Error(`${e.message}\n${(await this.http('/readyz').catch(() => ({}))).body || ''}\n${this.log().slice(-4000)}`)
    }
  }

  http (url) {
    return new Promise((yes, no) => {
      http.get({ host: '127.0.0.1', port: this.metricsPort, path: url, agent: false, timeout: patience(10000) }, (rs) => {
        let body = ''
        rs.on('data', (d) => { body += d })
        rs.on('end', () => yes({ status: rs.statusCode, body, type: rs.headers['content-type'] }))
      }).on('error', no).on('timeout', function () { this.destroy(new Error('timeout')) })
    })
  }

  // A connected agent with an honest token (or another: {token}).
  async agent (name, opts = {}) {
    const leaf = { ...this.leaves[name], trust: this.serverCa.cert }
    const token = 'token' in opts ? opts.token : await this.issuer.mint(leaf)
    const a = new Agent(leaf, this.addr, { ...opts, token })
    this.made ||= []
    this.made.push(a)
    return a
  }

  // Who may operate it if a role says so: a certificate that no agent has.
  person (name, tenant = 'acme') {
    const spiffe = `spiffe://${tenant}.example/ops/${name}`
    return { ...this[tenant].leaf(`ops-${name}`, { sans: [`URI:${spiffe}`] }), name, tenant, spiffe, trust: this.serverCa.cert }
  }

  // Brings it up, and these agents with honest tokens to it.
  async startWith (...names) {
    const agents = []
    await this.start()
    for (const name of names) agents.push(await this.agent(name))
    return agents
  }

  signal (sig) { this.process.kill(sig) }

  async stop ({ expect = 0, ms = 20000 } = {}) {
    for (const a of this.made || []) a.close()
    this.made = []
    if (!this.process) return
    if (!this.exit) this.signal('SIGTERM')
    const late = setTimeout(() => this.process.kill('SIGABRT'), patience(ms))
    await this.exited
    clearTimeout(late)
    this.process = null
    const said = this.log()
    const report = said.match(SANITIZER)
    assert.ok(!report, `a sanitizer reported:\n${report && said.slice(Math.max(0, report.index - 300), report.index + 6000)}`)
    assert.deepEqual(this.exit, { code: expect, signal: null }, said.slice(-3000))
  }

  async crash () { // kill -9, of its Redis too
    const redis = await this.redisPid(), supervisor = stat(redis).parent
    this.signal('SIGKILL')
    try { process.kill(redis, 'SIGKILL') } catch { /* it went with its parent */ }
    await this.exited
    this.process = null
    await until('the end of redis-server and of who supervises it', () => [redis, supervisor].every((pid) => pid === 1 || stat(pid).gone))
  }

  async remove () {
    let failed
    try { await this.stop() } catch (e) { failed = e }
    await this.idp?.stop()
    if (process.env.BATON_KEEP) console.log('# kept', this.dir)
    else fs.rmSync(this.dir, { recursive: true, force: true })
    if (failed) throw failed
  }

  log () { return readText(this.path('batond.log')) }
  auditLines () { return readText(this.path('audit.jsonl')).split('\n').slice(0, -1).filter(Boolean) } // without the one that is being written
  audit () { return this.auditLines().map((l) => JSON.parse(l)) }
  // The first audit record that has these members, once it is there.
  async audited (want, ms = 10000) {
    const fits = (r) => Object.entries(want).every(([k, v]) => r[k] === v)
    try { return await until('an audit record', () => this.audit().find(fits), ms) } catch {
      const near = this.audit().filter((r) => r.trace_id === want.trace_id || r.handoff_id === want.handoff_id).map((r) => JSON.stringify(r))
      return assert.fail(`no audit record like ${JSON.stringify(want)} among\n${near.join('\n')}`)
    }
  }

  // Lets it read its configuration anew: what the audit says of that.
  async reload () {
    const said = () => this.audit().filter((r) => r.event === 'config.reloaded')
    const n = said().length
    this.signal('SIGHUP')
    return until('the reload', () => said()[n], 20000)
  }

  // The same, and this comes of it: the message, if there is one.
  async reloaded (outcome = 'allow') {
    const r = await this.reload()
    assert.equal(r.outcome, outcome, r.message)
    return r.message || ''
  }

  // ---- the private Redis ----
  socket () {
    const find = (dir) => {
      for (const e of fs.readdirSync(dir, { withFileTypes: true })) {
        const p = path.join(dir, e.name)
        if (e.isDirectory()) { const f = find(p); if (f) return f } else if (e.name === 'redis.sock') return p
      }
      return null
    }
    return find(this.path('state'))
  }

  async redis (fn) { // fn gets a connection that is closed afterwards
    const r = await new Redis(this.socket()).connect()
    try { return await fn(r) } finally { r.close() }
  }

  redisPid () { return this.redis((r) => r.info('process_id')).then(Number) }
}

export { ROOT, BUILD }
