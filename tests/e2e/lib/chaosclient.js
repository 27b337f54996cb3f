// What do good clients do while nodes and Redis come and go? Senders send the same bytes again until they know what became of them, and stamp anew
// only when told so; workers resume their leases elsewhere, report until they are answered, and write under the fencing token. Everything that they
// hear goes into the ledger.
import { Operator } from './operator.js'
import { refusalOf } from './agent.js'
import { choices } from './stormclient.js'
import { sleep } from './suite.js'
import { encode } from './wire.js'

const OPTIONS = { 'grpc.keepalive_time_ms': 2000, 'grpc.keepalive_timeout_ms': 1500, 'grpc.keepalive_permit_without_calls': 1 }
const CALL_MS = 3000
const APPLY_MS = 8000 // a node that is gone is waited for
const OLD_MS = 280000 // bytes that are presented later than that are stale before they are replayed

// The work has lost its point: what presents it now is told so, whatever became of it.
const tooLate = (envelope) => envelope.deadline_ms && envelope.deadline_ms <= Date.now()

class Client {
  constructor (home, name, index) {
    Object.assign(this, { home, name, r: choices(home.seed + 7919 * (index + 1)), agents: [], at: index })
    this.ledger = home.ledger
  }

  // An agent on another node than the last one; on this one as long as nothing is wrong with it.
  agent () {
    const nodes = this.home.cluster.nodes
    const i = this.at % nodes.length
    this.agents[i] ||= nodes[i].through(this.name, '', OPTIONS)
    return Object.assign(this.agents[i], { token: this.home.tokens[this.name] })
  }

  elsewhere () { this.at += 1 + this.r.below(2) }
  close () { for (const a of this.agents) a?.close() }

  // What a refusal means: `unknown` whether it was done (again, elsewhere), or a reason.
  refusal (e) {
    const r = refusalOf(e)
    const broken = ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'].includes(r.code) || (!r.reason && ['INTERNAL', 'UNKNOWN'].includes(r.code))
    return { ...r, unknown: broken }
  }

  // fn(agent) until it is answered by a node; other refusals than those of a broken node are thrown. null: the time is over.
  async insist (fn, until = Infinity) {
    while (Date.now() < until) {
      try { return await fn(this.agent()) } catch (e) {
        if (!this.refusal(e).unknown) throw e
        this.elsewhere()
        await sleep(20 + this.r.below(80))
      }
    }
    return null
  }
}

export class Sender extends Client {
  constructor (...args) {
    super(...args)
    this.old = [] // bytes that were accepted
    this.ids = []
  }

  async run () {
    while (!this.home.over) {
      try {
        await this.r.among([[14, () => this.submit()], [2, () => this.run_()], [3, () => this.replay()], [1, () => this.cancel()], [1, () => this.watch()], [1, () => this.look()]])()
      } catch (e) {
        if (!e.metadata) throw e
        const { code, reason, message } = this.refusal(e)
        this.ledger.strange(`${this.name} was refused: ${code} ${reason} ${message}`)
      }
      await sleep(this.r.below(2 * this.home.pause_ms))
    }
  }

  envelope () {
    const news = this.r.chance(0.1)
    const envelope = this.agent().envelope({
      route: news ? this.home.news : this.r.pick(this.home.routes), payload: Buffer.from(JSON.stringify({ order: this.r.below(1e6) })), priority: this.r.below(10),
      ...(this.r.chance(0.02) ? { deadline_ms: Date.now() + 2000 + this.r.below(3000) } : {}), ...(this.r.chance(0.03) ? { start_at_ms: Date.now() + this.r.below(1000) } : {})
    })
    if (news) this.ledger.publish(envelope, this.home.readers)
    return envelope
  }

  keep (bytes, id, envelope) {
    this.ledger.acknowledge(id, envelope, { sender: this.name })
    for (const [list, thing] of [[this.old, { bytes, id, envelope }], [this.ids, id]]) {
      list.push(thing)
      if (list.length > 400) list.splice(this.r.below(300), 1)
    }
  }

  pack (envelope) { return encode('baton.v1.SubmitRequest', { envelope }) }
  stamp (envelope) { return { ...envelope, nonce: this.agent().envelope().nonce, issued_at_ms: Date.now() } }

  // Until it is known what became of it, or everything has been over for long.
  async submit (envelope = this.envelope(), bytes = this.pack(envelope), unsure = false) {
    this.ledger.count('submits')
    while (Date.now() < this.home.patience) {
      try {
        if (unsure) this.ledger.count('resent')
        const receipt = await this.agent().raw('Submit', bytes, { timeout: CALL_MS })
        this.keep(bytes, receipt.handoff_id, envelope)
        return
      } catch (e) {
        const { unknown, code, reason, handoff_id } = this.refusal(e)
        if (reason === 'replayed_nonce' && handoff_id && unsure) { this.keep(bytes, handoff_id, envelope); return }
        if (reason === 'stale_envelope') {
          await sleep(1100) // the slot's floor is as far ahead as clocks may differ
          this.ledger.count('restamped')
          envelope = this.stamp(envelope)
          if (tooLate(envelope)) return // and it was never acknowledged
          if (envelope.start_at_ms && envelope.start_at_ms < Date.now()) envelope.start_at_ms = 0
          bytes = this.pack(envelope)
          unsure = false
          continue
        }
        if (tooLate(envelope)) return
        if (code !== 'RESOURCE_EXHAUSTED' && !unknown) throw e
        unsure ||= unknown
        this.elsewhere()
        if (unsure && this.r.chance(0.1)) { // it forgot which nonce it was: the key makes it the same handoff
          this.ledger.count('restamped')
          envelope = { ...this.stamp(envelope), start_at_ms: 0 }
          bytes = this.pack(envelope)
          unsure = false
        }
        await sleep(30 + this.r.below(100))
      }
    }
  }

  // Submit and follow in one call; what is not known after it is found out by sending the same bytes.
  async run_ () {
    const envelope = this.envelope()
    const bytes = this.pack(envelope)
    const a = this.agent()
    const def = a.client.Run
    this.ledger.count('runs')
    const call = a.client.makeServerStreamRequest(def.path, (b) => b, def.responseDeserialize, bytes, a.meta(), { deadline: Date.now() + 6000 })
    let id = null
    let cursor = 0
    call.on('data', (ev) => {
      if (ev.receipt && !id) this.keep(bytes, id = ev.receipt.handoff_id, envelope)
      if (ev.cursor !== ++cursor) this.ledger.strange(`Run of ${id}: event ${ev.cursor} where ${cursor} should be`)
    })
    const end = await new Promise((done) => call.on('error', done).on('end', () => done(null)))
    if (id || tooLate(envelope)) return
    if (end && !this.refusal(end).unknown && !['stale_envelope', 'quota_exceeded', 'replayed_nonce'].includes(this.refusal(end).reason)) throw end
    await this.submit(envelope, bytes, true)
  }

  // Old bytes, perhaps on another node: refused with the first handoff's name, or nobody answers. Never work.
  async replay (one = this.old.length && this.r.pick(this.old)) {
    if (!one) return
    this.elsewhere()
    this.ledger.count('replays')
    try {
      const { handoff_id } = await this.agent().raw('Submit', one.bytes, { timeout: CALL_MS })
      this.ledger.replaysAccepted++
      this.ledger.strange(`the bytes of ${one.id} were accepted again, as ${handoff_id}`)
    } catch (e) {
      const { unknown, reason, handoff_id } = this.refusal(e)
      if (unknown || reason === 'quota_exceeded' || (reason === 'stale_envelope' && Date.now() - one.envelope.issued_at_ms > OLD_MS) || tooLate(one.envelope)) return
      if (reason !== 'replayed_nonce') throw e
      if (handoff_id !== one.id) this.ledger.strange(`a replay of ${one.id} was answered with ${handoff_id}`)
    }
  }

  // What is held since a fail-over is to be done all the same.
  async look () {
    if (!this.ids.length) return
    const row = this.ledger.row(this.r.pick(this.ids))
    const h = await this.insist((a) => a.get(row.id), this.home.patience)
    if (h?.state === 'HANDOFF_STATE_HELD') await this.confirm(row)
  }

  // Once; whoever looks later sees whether it was of use.
  async confirm (row) {
    const envelope = { ...this.stamp(row.envelope), start_at_ms: 0 }
    if (tooLate(envelope)) return
    this.ledger.count('confirmed')
    try {
      const { handoff_id, duplicate } = await this.agent().raw('Submit', this.pack(envelope), { timeout: CALL_MS })
      if (handoff_id !== row.id || !duplicate) this.ledger.strange(`${row.id} was submitted again under its key, and is ${handoff_id}`)
    } catch (e) {
      const { unknown, reason, code } = this.refusal(e)
      if (!unknown && reason !== 'stale_envelope' && code !== 'RESOURCE_EXHAUSTED' && !tooLate(envelope)) throw e
      this.elsewhere()
    }
  }

  async cancel () {
    if (!this.ids.length) return
    const id = this.r.pick(this.ids)
    this.ledger.row(id).cancelled = true
    this.ledger.count('cancels')
    await this.agent().cancel(id).catch((e) => { const { unknown, reason } = this.refusal(e); if (!unknown && reason !== 'wrong_state') throw e })
  }

  // All events of one handoff, on as many nodes as it takes.
  async watch (id = this.ids.length && this.r.pick(this.ids), until = this.home.patience) {
    if (!id) return []
    const events = []
    this.ledger.count('watches')
    for (let end = 1; end && Date.now() < until;) {
      const call = this.agent().client.Watch({ handoff_id: id, after_cursor: events.length }, this.agent().meta(), { deadline: Date.now() + 6000 })
      call.on('data', (ev) => {
        events.push(ev)
        if (ev.cursor !== events.length) this.ledger.strange(`Watch of ${id}: event ${ev.cursor} where ${events.length} should be`)
      })
      end = await new Promise((done) => call.on('error', done).on('end', () => done(null)))
      if (end && !this.refusal(end).unknown) throw end
      if (end) this.elsewhere()
    }
    return events
  }
}

// An operator who takes an agent's rights away and gives them back, on whichever node, and looks whether what he was told is true.
export class Registrar extends Client {
  constructor (...args) {
    super(...args)
    this.resource = null
  }

  async run () {
    while (!this.home.over) {
      try { await this.turn() } catch (e) {
        if (!e.metadata) throw e
        const { unknown, code, reason, message } = this.refusal(e)
        if (!unknown && code !== 'RESOURCE_EXHAUSTED' && reason !== 'wrong_state') this.ledger.strange(`the registrar was refused: ${code} ${reason} ${message}`)
      }
      await sleep(this.r.below(1500))
    }
  }

  async turn () {
    const node = this.r.pick(this.home.cluster.nodes)
    const op = new Operator(node.adminSocket)
    try {
      const ref = { kind: 'agent', tenant: 'acme', name: this.name }
      const now = await op.call('Get', ref, CALL_MS).catch((e) => { if (this.refusal(e).reason === 'not_found') return null; throw e })
      const status = `AGENT_STATUS_${now?.agent.status === 'AGENT_STATUS_ACTIVE' ? 'QUARANTINED' : 'ACTIVE'}`
      const agent = now ? { ...now.agent, status } : { tenant: 'acme', name: this.name, spiffe_id: `spiffe://acme.example/${this.name}`, owner: 'chaos', may_call: this.home.routes, may_originate: true, status }
      const said = await op.call('Apply', { resources: [{ version: now?.version || '', agent }], reason: 'chaos' }, APPLY_MS)
      this.ledger.count('registered')
      await this.look(status, said.nodes.filter((n) => n.confirmed).map((n) => n.node))
    } finally { op.close() }
  }

  // On each node that has confirmed it: a quarantined agent is refused. (An active one may find a node that is gone, or not ready yet.)
  async look (status, nodes) {
    for (const node of this.home.cluster.nodes.filter((n) => nodes.includes(n.name))) {
      const a = node.through(this.name, this.home.tokens[this.name])
      const outcome = await a.submit({ route: this.home.routes[0], tool: 'orders.lookup', side_effect: 'SIDE_EFFECT_READ' }, { request: { dry_run: true }, timeout: CALL_MS })
        .then(() => 'taken', (e) => this.refusal(e).reason || 'nobody there')
      a.close()
      if (status === 'AGENT_STATUS_QUARANTINED' && outcome === 'taken') this.ledger.strange(`${node.name} took a call of ${this.name} after it had confirmed that it is quarantined`)
      if (status === 'AGENT_STATUS_ACTIVE' && outcome === 'unknown_peer') this.ledger.strange(`${node.name} does not know ${this.name} after it had confirmed that it is active`)
    }
  }
}

export class Worker extends Client {
  constructor (...args) {
    super(...args)
    this.held = new Map()    // handoff → its lease
    this.answers = new Map() // handoff → who waits for Settled
  }

  // One stream after the other; the next one elsewhere, with what is still held.
  async run () {
    while (!this.home.over) {
      await this.serve()
      this.elsewhere()
      await sleep(20 + this.r.below(60))
    }
    this.cut()
  }

  cut () { for (const c of [this.opening, this.call, this.before]) c?.cancel() }

  serve () {
    const call = this.opening = this.agent().client.Subscribe(this.agent().meta())
    const resume = [...this.held.values()]
    return new Promise((done) => {
      const over = () => { if (this.call === call) this.call = null; done() }
      call.on('error', over).on('end', over).on('data', (f) => this.hear(f, call, resume, done))
      call.write({ open: { routes: [...this.home.routes, this.home.news], max_in_flight: 8, resume, instance: `${process.pid}` } })
      setTimeout(() => { if (!call.opened) { call.cancel(); done() } }, CALL_MS)
    })
  }

  hear (f, call, resume, done) {
    if (f.opened) {
      call.opened = true
      this.before?.cancel()
      this.before = null
      this.call = call
      const kept = new Set(f.opened.resumed.map((l) => l.handoff_id))
      this.ledger.count('leases_resumed', kept.size)
      for (const l of resume) if (!kept.has(l.handoff_id)) this.lose(l)
    }
    if (f.delivery) this.work(f.delivery).catch((e) => this.ledger.strange(`a worker met ${e.stack}`))
    if (f.stop) this.lose(f.stop.lease)
    if (f.settled) this.settled(f.settled)
    if (f.notice?.kind === 'NOTICE_KIND_DRAINING') {
      this.ledger.count('drained')
      this.before = call // it goes when the next one is open
      done()
    }
  }

  settled (s) {
    this.ledger.settled(s)
    this.answers.get(s.lease.handoff_id)?.(s)
  }

  lose (lease) {
    if (this.held.get(lease.handoff_id)?.fencing_token !== lease.fencing_token) return
    this.held.delete(lease.handoff_id)
    this.ledger.count('leases_lost')
  }

  holds (lease) { return this.held.get(lease.handoff_id) === lease }

  // A process that dies: it knows nothing any more, and says no goodbye.
  die () {
    this.held.clear()
    this.cut()
  }

  async work ({ lease, envelope }) {
    const { handoff_id: id, fencing_token: fence } = lease
    if (envelope.route === this.home.news) this.ledger.copy(envelope, this.name, id)
    this.held.set(id, lease)
    await sleep(this.r.chance(0.03) ? 1500 + this.r.below(2500) : this.r.below(120))
    if (!this.holds(lease)) return
    if (this.r.chance(0.2)) this.write({ progress: { lease, percent: 50, message: 'half of it' } })
    const kind = this.r.among([[85, 'complete'], [4, 'retry'], [3, 'fail'], [3, 'reject'], [5, 'release']])
    const frames = {
      complete: () => {
        const value = this.ledger.register.write(id, fence)
        return value && { complete: { lease, result: { payload: Buffer.from(JSON.stringify({ id, value, fence })), stop_reason: 'done' } } }
      },
      retry: () => ({ fail: { lease, failure: { code: 'again', message: 'once more', retryable: true } } }),
      fail: () => ({ fail: { lease, failure: { code: 'broken', message: 'it cannot be done', retryable: false } } }),
      reject: () => ({ reject: { lease, reason: 'not this' } }),
      release: () => ({ release: { lease, delay_ms: this.r.below(200) } })
    }
    const frame = frames[kind]()
    if (frame) await this.report(lease, frame, kind === 'retry' ? 'again' : kind)
    if (this.holds(lease)) this.held.delete(id)
  }

  write (frame) { try { this.call?.write(frame) } catch { /* it has just ended */ } }

  // Until there is an answer, or the lease is not ours any more.
  async report (lease, frame, kind) {
    const { handoff_id: id, fencing_token: fence } = lease
    this.ledger.tried(id, fence, kind === 'again' ? 'fail' : kind, kind === 'again')
    this.ledger.count('reports')
    for (let again = false; this.holds(lease) && Date.now() < this.home.patience; again = true) {
      if (again) this.ledger.count('reported_again')
      const s = await (this.r.chance(0.3) ? this.say(frame) : this.sayInStream(id, fence, frame))
      if (s?.ok) return
      if (s && s.reason !== 'REASON_STORE_UNAVAILABLE') {
        this.lose(lease)
        if (again && kind === 'complete') await this.find(id, fence)
        return
      }
      await sleep(30 + this.r.below(100))
    }
  }

  // The report before the last one may have been stored: then this is its result.
  async find (id, fence) {
    const h = await this.insist((a) => a.get(id), Date.now() + CALL_MS).catch((e) => {
      if (this.refusal(e).reason !== 'not_found') throw e // by now it is another's, and none of this one's business
    })
    if (h?.state === 'HANDOFF_STATE_COMPLETED' && JSON.parse(h.result.payload).fence === fence) this.ledger.count('found_stored')
  }

  say (frame) {
    return this.agent().unary('Report', frame, { timeout: CALL_MS }).then((s) => { this.ledger.settled(s); return s }, (e) => { if (!this.refusal(e).unknown) throw e; return null })
  }

  sayInStream (id, fence, frame) {
    if (!this.call) return null
    return new Promise((done) => {
      const answer = (s) => { if (!s || s.lease.fencing_token === fence) { clearTimeout(late); this.answers.delete(id); done(s) } }
      const late = setTimeout(() => answer(null), CALL_MS)
      this.answers.set(id, answer)
      this.write(frame)
    })
  }
}
