// Do several nodes on one Redis keep their promises while all of it is killed, stopped, parted and restarted? Good clients (lib/chaosclient.js) hand
// work over and do it, faults are made at random from one seed; then everything is mended, and every handoff that was acknowledged is held against
// the ledger (lib/ledger.js).
import { Cluster } from './cluster.js'
import { AGENTS, profile } from './broker.js'
import { Registrar, Sender, Worker } from './chaosclient.js'
import { Ledger, TERMINAL } from './ledger.js'
import { choices } from './stormclient.js'
import { sleep, until } from './suite.js'

const ROUTES = ['r0', 'r1']
const NEWS = 'news' // a broadcast: whoever serves it has a copy
const MAX_ATTEMPTS = 40
const SENDERS = Array.from({ length: 10 }, (_, i) => ['planner', 'auditor'][i % 2])
const WORKERS = Array.from({ length: 5 }, (_, i) => ['worker', 'worker2'][i % 2])
const GUEST = 'guest' // registered, quarantined and released all the time
const PATIENCE_MS = 60000 // after the faults
const TOKEN_MS = 1800000
const READY_MS = 120000 // other faults go on meanwhile, and a Redis with much in its log is long in loading it
const delivery = { kind: 'queue', lease_ms: 1500, resume_ms: 1000, max_attempts: MAX_ATTEMPTS, backoff_ms: [50, 200], default_deadline_ms: 21600000, max_deadline_ms: 43200000 } // longer than any run: nothing that its sender leaves held may end by itself
const READS = { allowed: ['refunds.draft_refund'], spec: { 'refunds.draft_refund': { scopes: ['refunds:draft'], side_effect: 'draft' } } }
const LIMITS = 'limits: {connections_per_agent: 200, connections_per_source: 4000, connections_per_source_per_s: 2000, handshakes_per_s: 2000, keepalive: 2s, keepalive_timeout: 2s}\n'

export class Chaos {
  // only: names of FAULTS; all of them otherwise
  constructor ({ seconds, nodes, seed, say = () => {}, only = Object.keys(FAULTS), broker = {} }) {
    Object.assign(this, { seconds, seed, say, only, r: choices(seed), ledger: new Ledger(), busy: new Set(), began: Date.now() })
    this.faults = Object.fromEntries(only.map((k) => [k, 0]))
    this.cluster = new Cluster(nodes, {
      workers: 2, profiles: { ...Object.fromEntries(ROUTES.map((n) => [n, profile(n, { delivery })])), [NEWS]: profile(NEWS, { delivery: { ...delivery, kind: 'broadcast' }, tools: READS }) }, asan: 'quarantine_size_mb=8:', ...broker,
      agents: [...AGENTS, { name: GUEST, tenant: 'acme' }],
      config: (n, t) => `${t.replace('timeout: 2s', 'timeout: 1s').replace(new RegExp(`  - \\{name: ${GUEST},.*\\n`), '')}${LIMITS}`
    })
  }

  async start () {
    await this.cluster.start()
    const tokens = await this.mint({})
    this.home = {
      cluster: this.cluster, ledger: this.ledger, seed: this.seed, routes: ROUTES, news: NEWS, readers: [...new Set(WORKERS)], tokens, pause_ms: 25, over: false,
      patience: Date.now() + this.seconds * 1000 + PATIENCE_MS
    }
    this.work = { over: false }
    this.workerHome = Object.create(this.home, { over: { get: () => this.work.over } })
    this.load()
  }

  // No token is good for longer than an hour.
  async mint (tokens) {
    const { issuer, leaves } = this.cluster.first
    for (const name of new Set([...SENDERS, ...WORKERS, GUEST])) tokens[name] = await issuer.mint({ ...leaves[name], name }, { exp: Math.floor(Date.now() / 1000) + 3500 })
    this.mintedAt = Date.now()
    return tokens
  }

  load () {
    this.senders = SENDERS.map((name, i) => new Sender(this.home, name, i))
    this.workers = WORKERS.map((name, i) => new Worker(this.workerHome, name, 100 + i))
    this.registrar = new Registrar(this.home, GUEST, 300)
    const run = (c) => c.run().catch((e) => { this.broken ||= e })
    this.sending = [...this.senders, this.registrar].map(run)
    this.working = this.workers.map(run)
  }

  note (what) { this.say(`# ${((Date.now() - this.began) / 1000).toFixed(1)} s: ${what}`) }

  // Faults overlap, but never two on one thing.
  async rage () {
    const end = Date.now() + this.seconds * 1000
    const under = new Set()
    while (Date.now() < end && !this.broken) {
      await sleep(100 + this.r.below(900))
      if (Date.now() - this.mintedAt > TOKEN_MS) await this.mint(this.home.tokens)
      const kind = this.r.among(this.only.map((k) => [FAULTS[k].weight, k]))
      const f = FAULTS[kind]
      const node = this.r.pick(this.cluster.nodes)
      const thing = f.on(node, this)
      const ms = f.ms ? f.ms[0] + this.r.below(f.ms[1] - f.ms[0]) : 0
      if (this.busy.has(thing) || this.busy.size > 1) continue
      this.busy.add(thing)
      this.faults[kind]++
      this.note(`${kind} ${thing === 'redis' ? '' : node.name} ${ms || ''}`)
      const one = f.make(this, node, ms).catch((e) => { this.broken ||= e }).finally(() => { this.busy.delete(thing); under.delete(one) })
      under.add(one)
    }
    await Promise.all(under)
  }

  async up (node) { node.launch(); await node.ready(READY_MS) }

  watchOver () { // a node that ends by itself
    for (const n of this.cluster.nodes) {
      if (n.exit && n.process && !this.busy.has(n.name)) throw new Error(`${n.name} ended by itself: ${JSON.stringify(n.exit)}\n${n.log().slice(-4000)}`)
    }
    if (this.broken) throw this.broken
  }

  // ---- afterwards ----

  async calm () {
    this.note('all is mended')
    for (const n of this.cluster.nodes) { n.toStore.set('pass'); n.toAgents.set('pass') }
    this.watchOver()
    for (const n of this.cluster.nodes) await n.ready(READY_MS)
    this.home.patience = Date.now() + PATIENCE_MS
    this.home.over = true
    await Promise.all(this.sending)
    this.watchOver()
    this.note(`${this.ledger.acknowledged.length} were acknowledged`)
  }

  async each (things, fn) {
    const left = [...things]
    await Promise.all(Array.from({ length: 16 }, async (_, i) => { for (let one; (one = left.pop()) !== undefined;) await fn(one, i) }))
  }

  asker (i, name) { return this.askers[name][i] }

  async get (row, i) {
    const a = this.asker(i, row.sender)
    a.elsewhere()
    return a.insist((x) => x.get(row.id), Date.now() + 20000).catch((e) => ({ state: a.refusal(e).reason }))
  }

  // Is there nothing more to come of it? A copy that was given back is nobody's until its agent has it again.
  isOver (row, h) { return !h || TERMINAL.includes(h.state) || Ledger.nobodys(row, h) || (h.state === 'not_found' && !row.copy) }

  // Until nothing waits, and every agent has heard of every broadcast: what is not over by then is lost.
  async settle () {
    const end = Date.now() + PATIENCE_MS
    const over = new Set()
    let left
    for (;;) {
      await this.each(this.ledger.acknowledged.filter((row) => !over.has(row.id)), async (row, i) => {
        const h = await this.get(row, i)
        if (h?.state === 'HANDOFF_STATE_HELD') await this.asker(i, row.sender).confirm(row)
        if (this.isOver(row, h)) over.add(row.id)
      })
      left = this.ledger.acknowledged.filter((row) => !over.has(row.id)).length + this.ledger.unheard().length
      if (!left || Date.now() > end) break
      await sleep(500)
    }
    this.note(left ? `${left} are not over` : 'nothing waits any more')
    this.work.over = true
    for (const w of this.workers) w.cut()
    await Promise.all(this.working)
    this.watchOver()
  }

  async count () {
    this.lost = []
    this.holes = []
    await this.each(this.ledger.acknowledged, async (row, i) => {
      const h = await this.get(row, i)
      const wrong = h ? this.ledger.judge(row, h, MAX_ATTEMPTS) : 'nobody answers'
      if (wrong) this.lost.push(`${row.id}: ${wrong}`)
      if (wrong || Ledger.nobodys(row, h)) return
      const hole = Ledger.judgeEvents(await this.asker(i, row.sender).watch(row.id, Date.now() + 20000), h)
      if (hole) this.holes.push(`${row.id}: ${hole}`)
    })
    this.lost.push(...this.ledger.unheard())
    this.duplicated = this.ledger.duplicated().map((r) => JSON.stringify(r))
    await this.each(this.senders.flatMap((s) => s.old.map((one) => [s, one])), ([s, one], i) => this.asker(i, s.name).replay(one))
  }

  // What the nodes wrote down, all together: each handoff, and the end of each that was completed, once. A node that was killed writes what it owes
  // when it is back.
  async readAudits () {
    const completed = this.ledger.acknowledged.filter((r) => r.state === 'HANDOFF_STATE_COMPLETED')
    const done = completed.filter((r) => !r.broadcast).map((r) => r.id)
    await until('all to be written', () => {
      const seen = new Set()
      const ends = new Map()
      for (const r of this.cluster.nodes.flatMap((n) => n.audit())) {
        if (r.handoff_id) seen.add(r.handoff_id)
        if (r.event === 'handoff.completed') ends.set(r.handoff_id, (ends.get(r.handoff_id) || 0) + 1)
      }
      this.unwritten = [
        ...this.ledger.acknowledged.filter(({ id }) => !seen.has(id)).map(({ id }) => `${id} is in no audit`),
        ...done.filter((id) => ends.get(id) !== 1).map((id) => `${id} was completed ${ends.get(id) || 0} times, say the audits`),
        ...completed.filter((r) => r.broadcast && ends.has(r.id)).map(({ id }) => `${id} was sent to inboxes, and the audits say that it was done`)
      ]
      return !this.unwritten.length
    }, 10000).catch(() => {})
    for (const r of this.cluster.nodes.flatMap((n) => n.audit())) {
      if (r.event === 'store.incarnation' && !r.message.includes('; 0 sequence')) this.ledger.strange(`${r.route}: ${r.message}`)
    }
  }

  // Nothing of what is over is left in Redis' queues and counters.
  async readStore () {
    this.left = []
    for (const route of [...ROUTES, NEWS, ...this.home.readers.map((a) => `${NEWS}/${a}`)]) {
      const [name, agent] = route.split('/')
      const key = (k) => `{acme/${name}}:${agent ? `@${agent}:` : ''}${k}`
      const count = async () => {
        const [w, wb] = (await this.cluster.redis.call('HMGET', key('m'), 'w', 'wb')).map(String)
        const [z, h, x] = await Promise.all(['z', 'h', 'x'].map((k) => this.cluster.redis.call('ZCARD', key(k))))
        return { w, wb, z, h, x }
      }
      const none = { w: '0', wb: '0', z: 0, h: 0, x: 0 }
      let last
      await until('nothing to be left', async () => { last = await count(); return JSON.stringify(last) === JSON.stringify(none) }, 20000)
        .catch(() => this.left.push(`${route}: ${JSON.stringify(last)}`))
    }
  }

  line () {
    const l = this.ledger
    return {
      acknowledged: l.acknowledged.length, completed: l.completed, lost: this.lost?.length ?? null, duplicated_effects: this.duplicated?.length ?? null,
      replays_accepted: l.replaysAccepted, faults: this.faults, seed: this.seed
    }
  }

  checks () {
    return [
      ['nothing that was acknowledged is lost', this.lost], ['no work is acknowledged as complete twice', this.duplicated],
      ['no nonce is accepted twice, and nothing else is strange', this.ledger.anomalies], ['the events of every handoff are whole', this.holes],
      ['every acknowledgement and every completion is in the audits, once', this.unwritten],
      ['nothing is left in the queues', this.left], ['every node ends in order', this.ends], ['something happened', this.ledger.completed ? [] : ['no handoff was completed']]
    ]
  }

  async whole () {
    await this.start()
    await this.rage()
    await this.calm()
    this.home.patience = Date.now() + 300000
    await this.mint(this.home.tokens)
    this.askers = Object.fromEntries([...new Set([...SENDERS, ...WORKERS])].map((name) => [name, Array.from({ length: 16 }, (_, i) => new Sender(this.home, name, 200 + i))]))
    await this.settle()
    await this.count()
    await this.readStore()
    await this.readAudits()
    for (const c of [...this.senders, ...(this.registrar ? [this.registrar] : []), ...this.workers, ...Object.values(this.askers).flat()]) c.close()
    this.ends = []
    await this.cluster.stop().catch((e) => this.ends.push(e.message))
  }
}

// weight; on: what it is done to, so that no second fault meets it there; ms: for how long; make: does it, and mends it
const parted = (which, mode, weight) => ({
  weight, ms: [500, 4500], on: (n) => `${n.name} ${which}`,
  make: async (c, n, ms) => {
    n[which].set(mode)
    await sleep(ms)
    if (['hole', 'deaf'].includes(mode) && ms % 2) n[which].cut() // the network comes back, what was under way does not
    n[which].set('pass')
  }
})
const redis = (weight, ms, begin, end) => ({
  weight, ms, on: () => 'redis',
  make: async (c, n, howLong) => { await begin(c.cluster.redis); await sleep(howLong); await end(c.cluster.redis) }
})
async function slowStart (r, ms) { // it is there, and answers LOADING
  const entries = 1 + Number(await r.info('aof_current_size')) / 200 // about so many
  await r.kill()
  const us = ms * 1000 / entries // for each; no sleep is shorter than 60 µs or so, then only one in so many is slept, which is what below 0 means
  await r.start(['--key-load-delay', us > 60 ? Math.ceil(us) : -Math.ceil(60 / us), '--loading-process-events-interval-bytes', '1024'])
}
export const FAULTS = {
  node_kill: { weight: 3, ms: [0, 2500], on: (n) => n.name, make: async (c, n, ms) => { n.signal('SIGKILL'); await n.exited; await sleep(ms); await c.up(n) } },
  node_stop: { weight: 3, ms: [1700, 4500], on: (n) => n.name, make: async (c, n, ms) => { n.signal('SIGSTOP'); await sleep(ms); n.signal('SIGCONT') } },
  node_drain: { weight: 3, ms: [0, 1000], on: (n) => n.name, make: async (c, n, ms) => { await n.stop({ ms: 40000 }); await sleep(ms); await c.up(n) } },
  redis_kill: redis(2, [0, 1500], (r) => r.kill(), (r) => r.start()),
  redis_rewrite: { weight: 1, ms: [0, 300], on: () => 'redis', make: async (c, n, ms) => { await c.cluster.redis.call('BGREWRITEAOF'); await sleep(ms); await c.cluster.redis.kill(); await c.cluster.redis.start() } },
  redis_stop: redis(2, [200, 3000], (r) => r.signal('SIGSTOP'), (r) => r.signal('SIGCONT')),
  redis_loading: { weight: 1, ms: [500, 2500], on: () => 'redis', make: (c, n, ms) => slowStart(c.cluster.redis, ms) },
  redis_readonly: redis(1, [200, 2500], (r) => r.call('REPLICAOF', '127.0.0.1', '1'), (r) => r.call('REPLICAOF', 'NO', 'ONE')),
  redis_full: redis(1, [200, 2500], (r) => r.call('CONFIG', 'SET', 'maxmemory', '1'), (r) => r.call('CONFIG', 'SET', 'maxmemory', '0')),
  store_hole: parted('toStore', 'hole', 2),
  store_deaf: parted('toStore', 'deaf', 2),
  store_slow: parted('toStore', 'slow', 1),
  store_reset: parted('toStore', 'reset', 2),
  store_forget: { weight: 1, on: (n) => `${n.name} toStore`, make: async (c, n) => n.toStore.forget() },
  agents_hole: parted('toAgents', 'hole', 2),
  agents_slow: parted('toAgents', 'slow', 1),
  agents_reset: parted('toAgents', 'reset', 2),
  worker_death: { weight: 1, on: () => 'worker', make: async (c) => c.r.pick(c.workers).die() }
}

// Runs one. Answers the closing line, the checks ([name, what speaks against it]), and the folders that are kept, if any check fails.
export const chaos = (options) => judged(new Chaos(options))
export async function judged (c) {
  let failed
  try { await c.whole() } catch (e) { failed = e }
  const checks = failed ? [['the run comes to its end', [failed.stack]], ...c.checks()] : c.checks()
  const bad = checks.filter(([, against]) => !against || against.length)
  const kept = await c.cluster.remove(bad.length ? true : undefined)
  return { line: c.line(), checks, bad, kept, seen: c.ledger.seen }
}
