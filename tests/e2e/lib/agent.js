// What does an agent do in a test? A real grpc-js client with a certificate and, mostly, a token: submits, serves, follows.
import fs from 'node:fs'
import { randomUUID } from 'node:crypto'
import { api, grpc, statusDetails } from './wire.js'
import { assert, patience, sleep, until } from './suite.js'

const CODES = Object.fromEntries(Object.entries(grpc.status).map(([k, v]) => [v, k]))

// How a call was refused: the status, the trailers, the details.
export function refusalOf (e) {
  if (e.code === undefined || !e.metadata) throw e
  const get = (k) => e.metadata.get(k)[0]
  const bin = get('grpc-status-details-bin')
  return {
    code: CODES[e.code], message: e.details, reason: get('baton-reason'), trace_id: get('baton-trace-id'), handoff_id: get('baton-handoff-id'),
    policy_version: get('baton-policy-version'), retry_after_ms: get('baton-retry-after-ms'), server_time_ms: get('baton-server-time-ms'),
    trailers: e.metadata, status: bin && statusDetails(bin)
  }
}

export async function refused (promise) {
  let answer
  try { answer = await promise } catch (e) { return refusalOf(e) }
  assert.fail(`was accepted: ${JSON.stringify(answer)}`)
}

// The refusal is exactly this one.
export async function denied (promise, reason, code) {
  const r = await refused(promise)
  assert.equal(r.reason, reason, `${r.code} ${r.message}`)
  if (code) assert.equal(r.code, code)
  return r
}

// Who may not is told so, whoever is revoked if nothing else is said. A connection of his that closes meanwhile, as it does each time a node judges its peers
// anew, takes a question that is open with it: that is no answer, and he asks again.
export async function shutOut (ask, reason = 'revoked', code = reason === 'revoked' ? 'PERMISSION_DENIED' : undefined) {
  for (let tries = 0; ; tries++) {
    const r = await refused(ask())
    if (r.code === 'UNAVAILABLE' && !r.reason && tries < 5) { await sleep(250); continue }
    assert.equal(r.reason, reason, `${r.code} ${r.message}`)
    if (code) assert.equal(r.code, code)
    return r
  }
}

class Frames { // what came on a stream, and who waits for it
  constructor (call) {
    this.call = call
    this.items = []
    this.ended = null
    call.on('data', (d) => this.items.push(d))
    call.on('end', () => { this.ended ||= { code: 'OK' } })
    call.on('error', (e) => { this.ended = { ...safeRefusal(e), error: e } })
  }

  // The oldest unread message for which test() is true; others stay.
  async take (what, test = () => true, ms = 8000) {
    await until(what, () => this.items.some(test) || (this.ended && !this.items.some(test)), ms)
    const i = this.items.findIndex(test)
    if (i < 0) throw new Error(`the stream ended (${this.ended.code} ${this.ended.message || ''}) before: ${what}`)
    return this.items.splice(i, 1)[0]
  }

  // fn gets every message, those that are here already first.
  each (fn) {
    for (const m of this.items) fn(m)
    this.call.on('data', fn)
  }

  async end (ms = 8000) {
    await until('the end of the stream', () => this.ended, ms)
    return this.ended
  }

  async all (ms = 8000) { // everything until an orderly end
    const e = await this.end(ms)
    assert.equal(e.code, 'OK', e.message)
    return this.items.splice(0)
  }
}

function safeRefusal (e) {
  try { return refusalOf(e) } catch { return { code: String(e.code), message: e.message } }
}

class Subscription extends Frames {
  async opened () { return (await this.take('opened', (f) => f.opened)).opened }
  async delivery (ms) { return (await this.take('a delivery', (f) => f.delivery, ms)).delivery }
  async settled (ms) { return (await this.take('settled', (f) => f.settled, ms)).settled }
  async stop (ms) { return (await this.take('a stop', (f) => f.stop, ms)).stop }
  deliveries () { return this.items.filter((f) => f.delivery).map((f) => f.delivery) }
  write (frame) { this.call.write(frame) }
  async settle (frame) { this.write(frame); return this.settled() }
  complete (d, body = { done: true }, more = {}) {
    return this.settle({ complete: { lease: d.lease, result: { payload: Buffer.from(JSON.stringify(body)), stop_reason: 'done', ...more } } })
  }

  fail (d, retryable, code = 'broken') { return this.settle({ fail: { lease: d.lease, failure: { code, message: 'it broke', retryable } } }) }
  cut () { this.call.cancel() } // as a process that dies: no goodbye
  // Takes nothing more, then goes. (Closing only the sending half would keep deliveries coming.)
  async leave () {
    this.write({ flow: { max_in_flight: 0 } })
    await sleep(60)
    this.cut()
    await this.end()
  }
}

// Fields of an envelope that asks to read: a tool of each test profile that needs no approval and no idempotency key.
export const read = (route, more = {}) => ({ route, tool: 'orders.lookup', side_effect: 'SIDE_EFFECT_READ', idempotency_key: '', ...more })

export class Agent {
  constructor (leaf, addr, { token, options = {} } = {}) {
    Object.assign(this, leaf, { addr, token })
    const read = (f) => (f ? fs.readFileSync(f) : null)
    const creds = grpc.credentials.createSsl(read(leaf.trust), read(leaf.key), read(leaf.cert))
    const opts = { 'grpc.use_local_subchannel_pool': 1, 'grpc.max_receive_message_length': -1, 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 200, ...options }
    this.creds = creds
    this.client = new api.baton.v1.HandoffService(addr, creds, opts)
    this.health = new api.grpc.health.v1.Health(addr, creds, opts)
    this.admin = new api.baton.v1.ContainmentService(addr, creds, opts)
    this.operate = new api.baton.v1.OperateService(addr, creds, opts)
    this.enrolment = new api.baton.v1.EnrolService(addr, creds, opts)
  }

  meta ({ token = this.token, metadata = {} } = {}) {
    const m = new grpc.Metadata()
    if (token) m.set('authorization', `Bearer ${token}`)
    for (const [k, v] of Object.entries(metadata)) for (const one of [v].flat()) m.add(k, one)
    return m
  }

  // An honest envelope; `change` overrides.
  envelope (change = {}) {
    return {
      route: 'support_refund_assistant', tool: 'refunds.draft_refund', side_effect: 'SIDE_EFFECT_DRAFT',
      payload: Buffer.from('{"order":"A-1009","amount":25}'), nonce: randomUUID(), issued_at_ms: Date.now(),
      idempotency_key: randomUUID(), ...change
    }
  }

  unary (method, request, opts = {}) {
    return new Promise((yes, no) => {
      this.client[method](request, this.meta(opts), { deadline: Date.now() + (opts.timeout || patience(10000)) }, (e, r) => (e ? no(e) : yes(r)))
    })
  }

  // The next certificate.
  renew (csr_der) {
    return new Promise((yes, no) => this.enrolment.Renew({ csr_der }, this.meta(), { deadline: Date.now() + patience(10000) }, (e, r) => (e ? no(e) : yes(r))))
  }

  // Exact bytes as the request of a unary method.
  raw (method, bytes, opts = {}) {
    return new Promise((yes, no) => {
      const def = this.client[method]
      this.client.makeUnaryRequest(def.path, (b) => b, def.responseDeserialize, bytes, this.meta(opts),
        { deadline: Date.now() + (opts.timeout || patience(10000)) }, (e, r) => (e ? no(e) : yes(r)))
    })
  }

  submit (change = {}, { request = {}, ...opts } = {}) {
    return this.unary('Submit', { envelope: this.envelope(change), ...request }, opts)
  }

  get (handoff_id, more = {}) { return this.unary('Get', { handoff_id, ...more }) }
  list (filter = {}) { return this.unary('List', filter) }
  cancel (handoff_id, more = {}) { return this.unary('Cancel', { handoff_id, reason: 'no longer needed', ...more }) }
  report (frame) { return this.unary('Report', frame) }
  whoami (opts) { return this.unary('WhoAmI', {}, opts) }
  watch (handoff_id, after_cursor = 0) { return new Frames(this.client.Watch({ handoff_id, after_cursor }, this.meta())) }
  run (change = {}, opts = {}) { return new Frames(this.client.Run({ envelope: this.envelope(change) }, this.meta(opts))) }
  pipe (opts) { const f = new Frames(this.client.Pipe(this.meta(opts))); f.write = (m) => f.call.write(m); return f }

  async state (id, want, ms) { // waits until the handoff is in this state
    return until(`${id} to be ${want}`, async () => { const h = await this.get(id); return h.state === `HANDOFF_STATE_${want}` && h }, ms)
  }

  async subscribe (open = {}, { wait = true } = {}) {
    const s = new Subscription(this.client.Subscribe(this.meta()))
    s.write({ open: { routes: ['support_refund_assistant'], max_in_flight: 1, ...open } })
    if (wait) s.granted = await s.opened()
    return s
  }

  close () { for (const c of [this.client, this.health, this.admin]) c.close() }
}

export { grpc, CODES, Frames }
