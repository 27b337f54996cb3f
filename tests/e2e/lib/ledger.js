// What was promised, what was done, and does the one agree with the other? Agents write down every answer that they got; afterwards every handoff is
// asked for and held against that.
import { assert } from './suite.js'

const END = (name) => `HANDOFF_STATE_${name}`
export const TERMINAL = ['COMPLETED', 'FAILED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'DEAD_LETTERED'].map(END)

// What workers write to: one value for each handoff, and nobody may write with an older fencing token than the last one's.
class Register {
  constructor () { this.rows = new Map() }

  // The value that this handoff's work has, made now or before; null: somebody newer was here.
  write (id, fence) {
    const row = this.rows.get(id) || { fence: 0, value: `made by ${fence}` }
    if (fence < row.fence) return null
    this.rows.set(id, { ...row, fence })
    return row.value
  }
}

export class Ledger {
  constructor () {
    this.handoffs = new Map() // id → what is known of it
    this.keys = new Map()     // idempotency key → id
    this.news = {}            // idempotency key of a broadcast → its copies by agent
    this.register = new Register()
    this.anomalies = []
    this.replaysAccepted = 0
    this.seen = { submits: 0, resent: 0, restamped: 0, replays: 0, cancels: 0, watches: 0, runs: 0, reports: 0, reported_again: 0, found_stored: 0, leases_resumed: 0, leases_lost: 0, drained: 0, confirmed: 0, registered: 0 }
  }

  count (what, n = 1) { this.seen[what] += n }
  strange (what) { this.anomalies.push(what) }

  row (id) {
    let row = this.handoffs.get(id)
    if (!row) this.handoffs.set(id, row = { id, acknowledged: false, cancelled: false, tried: [], settled: [] })
    return row
  }

  acknowledge (id, envelope, { sender }) {
    const row = this.row(id)
    const before = this.keys.get(envelope.idempotency_key)
    if (before && before !== id) this.strange(`one idempotency key, two handoffs: ${before} and ${id}`)
    this.keys.set(envelope.idempotency_key, id)
    Object.assign(row, { acknowledged: true, sender, envelope, deadline: envelope.deadline_ms, broadcast: envelope.idempotency_key in this.news || undefined })
    return row
  }

  // A broadcast is to reach all of these agents.
  publish (envelope, agents) { this.news[envelope.idempotency_key] ||= { deadline: envelope.deadline_ms, copies: Object.fromEntries(agents.map((a) => [a, null])) } }

  // An agent has been given its copy: a handoff of its own, which is held against the ledger as any other is.
  copy (envelope, agent, id) {
    const { copies } = this.news[envelope.idempotency_key]
    if (copies[agent] && copies[agent] !== id) this.strange(`${agent} has two copies of one broadcast: ${copies[agent]} and ${id}`)
    copies[agent] = id
    Object.assign(this.row(id), { acknowledged: true, sender: agent, copy: true, deadline: envelope.deadline_ms })
  }

  // Of the broadcasts that were acknowledged, the agents that never had a copy, though there was time.
  unheard () {
    return [...this.keys].filter(([key]) => this.news[key] && !this.news[key].deadline)
      .flatMap(([key, id]) => Object.entries(this.news[key].copies).filter(([, copy]) => !copy).map(([agent]) => `${id} did not reach ${agent}`))
  }

  get acknowledged () { return [...this.handoffs.values()].filter((r) => r.acknowledged) }
  get completed () { return this.acknowledged.filter((r) => !r.broadcast && r.state === END('COMPLETED')).length }

  tried (id, fence, kind, retryable) { this.row(id).tried.push({ fence, kind, retryable }) }
  settled ({ lease, ok, state }) { if (ok) this.row(lease.handoff_id).settled.push({ fence: lease.fencing_token, state }) }

  // Handoffs whose completion was acknowledged more than once.
  duplicated () { return [...this.handoffs.values()].filter((r) => r.settled.filter((s) => s.state === END('COMPLETED')).length > 1) }

  // A copy that expired after its agent had given it back: nobody may ask for it.
  static nobodys (row, h) { return row.copy && row.deadline > 0 && h.state === 'not_found' }

  // Why this handoff, as Get shows it, is not what the ledger allows; null: it is.
  judge (row, h, maxAttempts) {
    if (Ledger.nobodys(row, h)) return null
    if (!TERMINAL.includes(h.state)) return `it is ${h.state}`
    if (row.broadcast) return h.state === END('COMPLETED') ? null : `a broadcast that was stored is ${h.state}`
    row.state = h.state
    for (const s of row.settled) if (TERMINAL.includes(s.state) && h.state !== s.state) return `${s.state} was settled, and it is ${h.state}`
    const tried = (kind, more = () => true) => row.tried.some((t) => t.kind === kind && more(t))
    const fits = {
      COMPLETED: () => {
        const { fence, value } = JSON.parse(h.result.payload)
        const done = row.settled.filter((s) => s.state === h.state)
        return tried('complete', (t) => t.fence === fence) && done.every((s) => s.fence === fence) && value === this.register.rows.get(row.id)?.value
      },
      FAILED: () => tried('fail', (t) => !t.retryable),
      REJECTED: () => tried('reject'),
      CANCELLED: () => row.cancelled,
      EXPIRED: () => row.deadline > 0 && row.deadline <= Date.now(),
      DEAD_LETTERED: () => h.attempt >= maxAttempts
    }[h.state.slice(END('').length)]
    return fits() ? null : `${h.state} is not what was reported: ${JSON.stringify({ h: { ...h, result: String(h.result?.payload) }, row })}`
  }

  // Why the events of a handoff are no whole story; null: they are.
  static judgeEvents (events, h) {
    try {
      assert.deepEqual(events.map((e) => e.cursor), events.map((_, i) => i + 1))
      assert.equal(events.length, h.cursor)
      assert.deepEqual(events.filter((e) => TERMINAL.includes(e.state)).map((e) => e.cursor), [h.cursor])
      assert.equal(events.at(-1).state, h.state)
      return null
    } catch (e) {
      return `its events are ${events.map((ev) => `${ev.cursor}:${ev.state.slice(END('').length)}`).join(' ')}, it is ${h.state} at ${h.cursor}`
    }
  }
}
