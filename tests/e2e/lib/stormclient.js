// What does one process of a storm's agents do? Everything that agents do, at random, and everything that they should not: it is forked by
// lib/storm.js, is told who it is, runs its clients side by side until it is told to stop, and sends home what it was promised and what it did.
import fs from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import tls from 'node:tls'
import { Agent, read, refusalOf } from './agent.js'
import { StaticIssuer } from './tokens.js'

process.noDeprecation = true

// A small generator with a seed (mulberry32, public domain): the same seed makes the same choices, though not at the same moments.
export function choices (seed) {
  let s = seed >>> 0
  const next = () => {
    s = (s + 0x6D2B79F5) >>> 0
    let t = s
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (n) => Math.floor(next() * n)
  // of [[weight, thing], ...]
  const among = (list) => {
    let at = below(list.reduce((sum, [w]) => sum + w, 0))
    for (const [w, thing] of list) { if (at < w) return thing; at -= w }
  }
  return { below, among, pick: (list) => list[below(list.length)], chance: (p) => next() < p }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const quietly = (emitter) => emitter.on('error', () => {})

class Client {
  constructor (home, leaf, index) {
    Object.assign(this, { home, leaf, ids: [], r: choices(home.seed + index * 7919) })
  }

  get said () { return this.home.said }

  async connect () {
    this.close()
    if (!this.token || this.r.chance(0.1)) this.token = await this.home.issuer.mint(this.leaf)
    this.agent = new Agent({ ...this.leaf, trust: this.home.trust }, this.home.addr, { token: this.token })
    this.shut = false
    this.said.connects++
  }

  close () { if (this.agent && !this.shut) this.agent.close(); this.shut = true }

  // Until the storm is over: something, then a pause, now and then on a new connection.
  async run () {
    await this.connect()
    while (!this.home.over) {
      if (this.shut) await this.connect()
      try { await this.act() } catch (e) { this.said.refused[this.reason(e)] = (this.said.refused[this.reason(e)] || 0) + 1 }
      if (this.r.chance(0.05)) await this.connect()
      await sleep(this.r.below(30))
    }
    this.close()
  }

  reason (e) {
    if (!e.metadata) throw e // not what a broker says: the test's own fault
    const { code, reason } = refusalOf(e)
    return reason || code
  }

  promised (id) {
    this.said.acknowledged[id] = this.leaf.name
    this.ids.push(id)
    if (this.ids.length > 50) this.ids.shift()
  }

  // ---- what should not be ----

  // A socket that says this much of something and goes.
  async raw () {
    const socket = quietly(net.connect(this.home.port, '127.0.0.1'))
    await new Promise((done) => socket.once('connect', done).once('error', done))
    if (this.r.chance(0.7)) socket.write(this.r.pick([Buffer.from([22, 3, 1, 0, 200, 1]), Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(40, 22)]))
    await sleep(this.r.below(20))
    if (this.r.chance(0.5)) socket.resetAndDestroy()
    else socket.destroy()
  }

  // A handshake, whole or not, then HTTP/2 frames with holes in them: half a message, a reset, nothing at all.
  async halfway () {
    const files = { ca: this.leaf.pem.trust, key: this.leaf.pem.key, cert: this.leaf.pem.cert }
    if (this.r.chance(0.3)) {
      const t = quietly(tls.connect({ host: '127.0.0.1', port: this.home.port, ...files, ALPNProtocols: ['h2'], servername: 'localhost' }))
      await sleep(this.r.below(15))
      t.destroy()
      return
    }
    const session = quietly(http2.connect(`https://localhost:${this.home.port}`, files))
    this.said.connects++
    const streams = []
    for (let i = this.r.below(4); i >= 0; i--) {
      const st = quietly(session.request({
        ':method': 'POST', ':path': `/baton.v1.HandoffService/${this.r.pick(['Submit', 'Run', 'Pipe', 'Subscribe', 'Watch', 'Nothing'])}`,
        'content-type': 'application/grpc', te: 'trailers', authorization: `Bearer ${this.token}`
      }))
      st.on('data', () => {})
      st.write(Buffer.concat([Buffer.from([0, 0, 0, 4, 0]), Buffer.alloc(this.r.below(900), 10)])) // of 1,024 bytes that it announces
      streams.push(st)
    }
    await sleep(this.r.below(60))
    for (const st of streams) if (this.r.chance(0.5)) st.close(this.r.pick([http2.constants.NGHTTP2_CANCEL, http2.constants.NGHTTP2_NO_ERROR]))
    if (this.r.chance(0.5)) session.close()
    await sleep(this.r.below(30))
    session.destroy()
  }
}

export class Caller extends Client {
  act () {
    return this.r.among([[10, () => this.submit()], [4, () => this.run_()], [2, () => this.pipe()], [3, () => this.watch()], [2, () => this.cancel()],
      [3, () => this.look()], [1, () => this.raw()], [2, () => this.halfway()]])()
  }

  change () {
    return read(this.r.pick(this.home.routes), {
      payload: Buffer.alloc(1 + this.r.below(this.r.chance(0.05) ? 60000 : 400), 'x'), priority: this.r.below(10),
      ...(this.r.chance(0.05) ? { start_at_ms: Date.now() + this.r.below(600) } : {})
    })
  }

  // The same bytes again while their outcome is not known, as a client should.
  async submit () {
    const request = { envelope: this.agent.envelope(this.change()) }
    this.said.submits++
    for (let tries = 0; ; tries++) {
      try {
        this.promised((await this.agent.unary('Submit', request, { timeout: 5000 })).handoff_id)
        return
      } catch (e) {
        const { code, reason, handoff_id } = refusalOf(e)
        if (reason === 'replayed_nonce' && handoff_id) this.promised(handoff_id)
        if (tries === 3 || !['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'INTERNAL'].includes(code)) throw e
        if (this.r.chance(0.3)) await this.connect()
        await sleep(50)
      }
    }
  }

  // A stream of the broker's, followed for a while, then left as it is, or cancelled, or with its whole connection.
  async follow (frames, onEach) {
    const leave = Date.now() + this.r.below(800)
    frames.each(onEach)
    while (!frames.ended && Date.now() < leave) await sleep(10)
    if (!frames.ended && this.r.chance(0.8)) frames.call.cancel()
    else if (!frames.ended) await this.connect()
  }

  run_ () {
    this.said.submits++
    return this.follow(this.agent.run(this.change()), (ev) => { if (ev.receipt) this.promised(ev.receipt.handoff_id) })
  }

  async pipe () {
    const p = this.agent.pipe()
    const n = 1 + this.r.below(6)
    for (let ref = 1; ref <= n; ref++) p.write({ submit: { envelope: this.agent.envelope(this.change()), ref } })
    this.said.submits += n
    if (this.r.chance(0.6)) p.call.end()
    await this.follow(p, ({ receipt }) => { if (receipt?.decision.outcome === 'OUTCOME_ALLOW') this.promised(receipt.handoff_id) })
  }

  watch () { return this.ids.length ? this.follow(this.agent.watch(this.r.pick(this.ids), this.r.below(3)), () => {}) : null }
  async cancel () { if (this.ids.length) { await this.agent.cancel(this.r.pick(this.ids)); this.said.cancels++ } }

  look () {
    return this.r.pick([() => this.agent.whoami(), () => this.agent.list({ page_size: 1 + this.r.below(20) }), () => this.ids.length && this.agent.get(this.r.pick(this.ids))])()
  }
}

export class Server extends Client {
  // One subscription: until it ends, or its agent has had enough; then perhaps another that resumes its leases.
  async act () {
    if (this.r.chance(0.1)) return this.r.chance(0.5) ? this.raw() : this.halfway()
    const held = new Map()
    let resume = []
    for (let lives = 1 + this.r.below(3); lives > 0 && !this.home.over; lives--) {
      await this.serve(held, resume)
      resume = [...held.values()]
      this.said.resumes += resume.length
      if (this.shut || this.r.chance(0.5)) await this.connect()
    }
  }

  async serve (held, resume) {
    const call = this.agent.client.Subscribe(this.agent.meta())
    const routes = this.home.routes.filter(() => this.r.chance(0.7))
    let ended = null
    call.on('error', (e) => { ended = e }).on('end', () => { ended ||= {} })
    call.on('data', (f) => {
      if (f.opened) for (const id of held.keys()) if (!f.opened.resumed.some((l) => l.handoff_id === id)) held.delete(id)
      if (f.delivery) { held.set(f.delivery.lease.handoff_id, f.delivery.lease); this.work(call, f.delivery.lease, held) }
      if (f.stop) held.delete(f.stop.lease.handoff_id)
      if (f.settled) this.settled(f.settled)
    })
    call.write({ open: { routes: routes.length ? routes : this.home.routes, max_in_flight: 1 + this.r.below(8), resume } })
    const leave = Date.now() + this.r.below(2500)
    while (!ended && Date.now() < leave && !this.home.over) {
      await sleep(20)
      if (this.r.chance(0.02)) { call.pause(); await sleep(this.r.below(300)); call.resume() }
      if (this.r.chance(0.03)) call.write({ flow: { max_in_flight: this.r.below(9) } })
    }
    if (!ended) this.r.pick([() => call.cancel(), () => call.end(), () => this.close()])()
    if (!ended) await sleep(20)
    call.cancel()
    if (ended?.code && ended.metadata) throw ended
  }

  settled (s) {
    const id = s.lease.handoff_id
    if (s.ok && s.state === 'HANDOFF_STATE_COMPLETED') this.said.completed[id] = (this.said.completed[id] || 0) + 1
  }

  async work (call, lease, held) {
    const say = (frame) => { try { call.write(frame) } catch { /* it has ended */ } }
    const complete = { complete: { lease, result: { payload: Buffer.alloc(this.r.below(200), 'y') } } }
    await sleep(this.r.below(60))
    if (this.r.chance(0.2)) say({ progress: { lease, percent: 1 + this.r.below(100), message: 'on the way' } })
    if (this.r.chance(0.1)) say({ artifact: { lease, artifact_id: 'a', data: Buffer.alloc(this.r.below(2000)), last_chunk: this.r.chance(0.5) } })
    this.r.among([
      [60, () => { say(complete); held.delete(lease.handoff_id) }],
      [5, () => { say(complete); say(complete) }],
      [5, () => this.agent.report(complete).then((s) => this.settled(s), () => {})],
      [8, () => say({ fail: { lease, failure: { code: 'storm', message: 'again', retryable: true } } })],
      [2, () => say({ fail: { lease, failure: { code: 'storm', message: 'no', retryable: false } } })],
      [3, () => say({ reject: { lease, reason: 'not this' } })],
      [7, () => say({ release: { lease, delay_ms: this.r.below(300) } })],
      [3, () => say({ accept: { lease } })],
      [7, () => {}] // keeps it, and takes it along when it resumes
    ])()
  }
}

const KINDS = { caller: Caller, server: Server }

process.on('message', async (m) => {
  if (m.stop) { home.over = true; return }
  const issuer = new StaticIssuer(null, m.issuer.url)
  await issuer.recall(m.issuer.key)
  Object.assign(home, m.home, { issuer })
  const clients = m.clients.map(({ kind, leaf, index }) => {
    leaf.pem = Object.fromEntries([['trust', home.trust], ['key', leaf.key], ['cert', leaf.cert]].map(([k, f]) => [k, fs.readFileSync(f)]))
    return new KINDS[kind](home, leaf, index)
  })
  await Promise.all(clients.map((c) => c.run()))
  process.send(home.said, () => process.exit(0))
})
const home = { over: false, said: { connects: 0, submits: 0, cancels: 0, resumes: 0, acknowledged: {}, completed: {}, refused: {} } }
