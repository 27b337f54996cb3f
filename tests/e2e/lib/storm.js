// What is left of a broker when everything happens to it at once? Many agents of several processes come and go, hand work over, take it, drop it
// (lib/stormclient.js), while the broker is told to throw agents out, certificates are revoked, policies change, its audit is rotated and its
// Redis stops or dies. All choices come from one seed. Then it becomes quiet, and the promises are counted.
import fs from 'node:fs'
import path from 'node:path'
import { fork } from 'node:child_process'
import { assert, sleep, until } from './suite.js'
import { Broker, profile } from './broker.js'
import { choices } from './stormclient.js'
import { BUILD, ROOT, readText } from './wire.js'

const PROCESSES = 2
const GROWTH_MB = /asan|tsan/.test(BUILD) ? 400 : 60 // what a sanitizer keeps is its own
const ROUTES = ['r0', 'r1', 'r2']
const TERMINAL = ['COMPLETED', 'FAILED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'DEAD_LETTERED', 'QUARANTINED'].map((s) => `HANDOFF_STATE_${s}`)
const delivery = { kind: 'queue', lease_ms: 1500, resume_ms: 800, max_attempts: 20, backoff_ms: [50, 200], default_deadline_ms: 600000, max_deadline_ms: 3600000 }
const CALLERS = ['c0', 'c1', 'c2', 'c3']
const SERVERS = ['s0', 's1', 's2']
const agents = [
  ...CALLERS.map((name) => ({ name, tenant: 'acme', call: true })), ...SERVERS.map((name) => ({ name, tenant: 'acme', serve: true })),
  { name: 'g0', tenant: 'globex', call: true }, { name: 'gs', tenant: 'globex', serve: true }
]

class Storm {
  constructor ({ seconds, clients, workers, seed }) {
    Object.assign(this, { seconds, clients, seed, r: choices(seed) })
    this.said = { connects: 0, submits: 0, cancels: 0, resumes: 0, refused: {} }
    this.did = { reloads: 0, kicks: 0, revocations: 0, policies: 0, rotations: 0, redis_stops: 0, redis_kills: 0 }
    this.acknowledged = new Map()
    this.completed = new Map()
    this.b = new Broker({
      workers, agents, asan: 'quarantine_size_mb=8:', profiles: Object.fromEntries(ROUTES.map((n) => [n, profile(n, { delivery })])),
      config: (t) => this.config(t)
    })
    this.out = new Set() // agents that are thrown out just now
  }

  get crl () { return this.b.path('pki', 'acme.crl') }

  config (t) {
    let text = t.replace(/(domain: acme\.example, bundle: [^}]*)}/, (_, head) => `${head}, crl: ${JSON.stringify(this.crl)}}`)
    for (const name of this.out) text = text.replace(new RegExp(` {2}- \\{name: ${name}, .*\\n`), '')
    return `${text}limits: {connections_per_agent: 200, connections_per_source: 4000, connections_per_source_per_s: 2000, handshakes_per_s: 2000}\n`
  }

  rss () { return Number(/VmRSS:\s+(\d+)/.exec(readText(`/proc/${this.b.process.pid}/status`))?.[1] || 0) >> 10 }

  async start () {
    await this.b.prepare()
    this.b.acme.crl(this.crl, [])
    await this.b.start()
    const [planner] = [await this.b.agent('c0')]
    await planner.whoami()
    this.began = this.rss()
    const key = await this.b.issuer.tell()
    const roles = Array.from({ length: this.clients }, (_, index) => (index % 3 === 2
      ? { kind: 'server', name: [...SERVERS, 'gs'][Math.floor(index / 3) % 4], index } : { kind: 'caller', name: [...CALLERS, 'g0'][index % 5], index }))
    this.children = Array.from({ length: PROCESSES }, (_, i) => {
      const child = fork(path.join(ROOT, 'tests/e2e/lib/stormclient.js'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
      child.done = new Promise((yes, no) => {
        child.once('message', (m) => { child.report = m })
        child.once('exit', (code, signal) => (child.report ? yes(child.report) : no(new Error(`clients ended: ${code} ${signal}`))))
      })
      child.done.catch(() => {})
      child.send({
        issuer: { url: this.b.issuer.url, key }, home: { addr: this.b.addr, port: this.b.port, trust: this.b.serverCa.cert, routes: ROUTES, seed: this.seed },
        clients: roles.filter((_, at) => at % PROCESSES === i).map(({ kind, name, index }) => ({ kind, leaf: { ...this.b.leaves[name], name }, index }))
      })
      return child
    })
  }

  reload () { this.b.writeConfig(); this.b.signal('SIGHUP'); this.did.reloads++ }

  // ---- what is done to the broker ----

  kick () {
    if (this.out.size && this.r.chance(0.6)) this.out.delete(this.r.pick([...this.out]))
    else this.out.add(this.r.pick(this.b.agentRows).name)
    this.did.kicks++
    this.reload()
  }

  revoke () {
    this.b.acme.crl(this.crl, this.r.chance(0.5) ? [this.b.leaves[this.r.pick([...CALLERS, ...SERVERS])]] : [])
    this.did.revocations++
    this.reload()
  }

  policy () {
    const without = this.r.chance(0.4) ? { tools: { allowed: ['orders.close'] } } : {}
    this.b.profiles.r2 = profile('r2', { delivery: { ...delivery, lease_ms: 1000 + this.r.below(1500) }, ...without })
    this.b.writeProfiles()
    this.did.policies++
    this.reload()
  }

  rotate () {
    fs.renameSync(this.b.path('audit.jsonl'), this.b.path(`audit.${++this.did.rotations}`))
    if (this.r.chance(0.7)) this.reload() // else it notices by itself
  }

  async stopRedis () {
    const pid = await this.b.redisPid()
    process.kill(pid, 'SIGSTOP')
    this.did.redis_stops++
    await sleep(this.r.below(2800)) // its time-out is 2 s
    process.kill(pid, 'SIGCONT')
  }

  async killRedis () {
    process.kill(await this.b.redisPid(), 'SIGKILL')
    this.did.redis_kills++
  }

  async rage () {
    const end = Date.now() + this.seconds * 1000
    const deeds = [[8, () => this.kick()], [4, () => this.revoke()], [4, () => this.policy()], [2, () => this.rotate()], [2, () => this.stopRedis()], [1, () => this.killRedis()]]
    while (Date.now() < end && !this.b.exit && this.children.every((c) => c.exitCode === null)) {
      await sleep(100 + this.r.below(500))
      try { await this.r.among(deeds)() } catch (e) { if (!/ECONN|ENOENT|closed|null/.test(e.message)) throw e } // Redis was away
    }
  }

  // ---- afterwards ----

  async calm () {
    this.out.clear()
    this.b.acme.crl(this.crl, [])
    for (const n of ROUTES) this.b.profiles[n] = profile(n, { delivery })
    this.b.writeProfiles()
    for (const c of this.children) if (c.connected) c.send({ stop: true })
    const late = setTimeout(() => this.children.forEach((c) => c.kill('SIGKILL')), 30000)
    const reports = await Promise.all(this.children.map((c) => c.done)).finally(() => clearTimeout(late))
    for (const m of reports) {
      for (const k of ['connects', 'submits', 'cancels', 'resumes']) this.said[k] += m[k]
      for (const [k, n] of Object.entries(m.refused)) this.said.refused[k] = (this.said.refused[k] || 0) + n
      for (const [id, name] of Object.entries(m.acknowledged)) this.acknowledged.set(id, name)
      for (const [id, n] of Object.entries(m.completed)) this.completed.set(id, (this.completed.get(id) || 0) + n)
    }
    assert.ok(!this.b.exit, `batond ended: ${JSON.stringify(this.b.exit)}\n${this.b.log().slice(-6000)}`)
    await until('all agents to be taken back', async () => { this.reload(); await sleep(500); return (await (await this.b.agent('c0')).whoami()).token.outcome === 'OUTCOME_ALLOW' }, 30000)
    await this.b.ready(30000)
  }

  // What is left is done, by two that work.
  async finish () {
    this.last = []
    for (const name of ['s0', 'gs']) {
      const s = await (await this.b.agent(name)).subscribe({ routes: ROUTES, max_in_flight: 100 })
      s.each((f) => { if (f.delivery) s.write({ complete: { lease: f.delivery.lease, result: {} } }) })
      this.last.push(s)
    }
  }

  // The ids that are not over and cannot be found so, after a while.
  async lost () {
    const owners = {}
    for (const name of [...CALLERS, 'g0']) owners[name] = await this.b.agent(name)
    const end = Date.now() + 45000
    let left = [...this.acknowledged]
    for (let again = false; left.length && Date.now() < end; again = true) {
      if (again) await sleep(500)
      const still = []
      const take = async () => {
        for (let one; (one = left.pop());) {
          const [id, name] = one
          const state = await owners[name].get(id).then((h) => h.state, (e) => e.details)
          if (!TERMINAL.includes(state)) still.push([id, name, state])
        }
      }
      await Promise.all(Array.from({ length: 20 }, take))
      left = still
    }
    return left
  }

  async idle () {
    for (const s of this.last) s.cut()
    for (const a of this.b.made) a.close()
    this.b.made = []
    const gauges = ['baton_connections', 'baton_subscribers', 'baton_deliveries_in_flight', 'baton_waiting']
    let busy
    await until('all to be gone', async () => {
      const { body } = await this.b.http('/metrics')
      busy = body.split('\n').filter((l) => gauges.some((g) => l.startsWith(`${g}{`)) && !/ 0$/.test(l))
      return !busy.length
    }, 20000).catch(() => assert.fail(`not all is gone: ${busy.join('; ')}`))
  }

  twice () {
    const ends = fs.readdirSync(this.b.dir).filter((f) => f.startsWith('audit.')).flatMap((f) => readText(this.b.path(f)).split('\n'))
      .filter((l) => l.includes('"event":"handoff.completed"') && !l.includes('"reconciled":true')).map((l) => JSON.parse(l).handoff_id)
    const seen = new Set()
    return [...ends.filter((id) => seen.size === seen.add(id).size), ...[...this.completed].filter(([, n]) => n > 1).map(([id]) => id)]
  }
}

// Runs one; answers what happened. What should not have happened throws, with that answer as `storm`.
export async function storm (options) {
  const s = new Storm(options)
  const out = { ...options, ...s.said }
  try {
    await s.start()
    await s.rage()
    await s.calm()
    await s.finish()
    const lost = await s.lost()
    Object.assign(out, s.said, s.did, { acknowledged: s.acknowledged.size, completed: s.completed.size, lost: lost.length, twice: s.twice().length })
    await s.idle()
    Object.assign(out, { rss_begin_mb: s.began, rss_end_mb: s.rss() })
    await s.b.stop({ ms: 60000 })
    out.reports = 0
    assert.ok(out.rss_end_mb - out.rss_begin_mb < GROWTH_MB, `${out.rss_begin_mb} MiB before, ${out.rss_end_mb} after`)
    assert.deepEqual(lost.slice(0, 5), [], 'acknowledged, and not over')
    assert.deepEqual(s.twice().slice(0, 5), [], 'completed twice')
  } catch (e) {
    out.reports = /sanitizer reported/.test(e.message) ? 1 : 0
    throw Object.assign(e, { storm: { ...out, ...s.said, ...s.did } })
  } finally {
    for (const c of s.children || []) c.kill('SIGKILL')
    await s.b.remove()
  }
  return out
}
