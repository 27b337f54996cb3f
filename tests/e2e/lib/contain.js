// How fast is an agent cut off, and is it then? Nodes on one Redis, many peers connected over all of them, work under way; one agent with connections on each
// node is revoked, again and again. Counted is what of it is accepted or delivered after the command returned: nothing may be.
import { Cluster } from './cluster.js'
import { ROUTE, profile } from './broker.js'
import { read } from './agent.js'
import { Operator } from './operator.js'
import { Raw, identity } from './rawh2.js'
import { sleep, until } from './suite.js'

const VICTIMS = 4 // connections to each node
const LIMITS = { connections_per_agent: 20000, connections_per_source: 20000, connections_per_source_per_s: 5000, handshakes_per_s: 5000, handshakes_open_per_source: 2000 }
const limits = `limits: {${Object.entries(LIMITS).map(([k, v]) => `${k}: ${v}`).join(', ')}}\n`
const agents = [{ name: 'planner', tenant: 'acme', call: true }, { name: 'helper', tenant: 'acme', call: true }, { name: 'worker', tenant: 'acme', serve: true },
  { name: 'crowd', tenant: 'acme', call: true }]

export const percentile = (values, p) => [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(values.length * p / 100) - 1)]

async function connect (node, name) {
  const raw = new Raw(identity(node, node.cluster.first.leaves[name]))
  await raw.greet()
  raw.socket.on('close', () => { raw.closedAt = performance.now() })
  return raw
}

async function crowd (nodes, peers, say) {
  const all = []
  for (let i = 0; i < peers; i += 50) {
    all.push(...await Promise.all(Array.from({ length: Math.min(50, peers - i) }, (_, j) => connect(nodes[(i + j) % nodes.length], 'crowd'))))
    if (all.length % 1000 === 0) say(`# ${all.length} peers`)
  }
  return all
}

export class Containment {
  constructor ({ nodes = 3, peers = 300, rounds = 10, say = () => {} } = {}) {
    Object.assign(this, { peers, rounds, say, accepted: [], delivered: [], closed: [], command: [], quarantined: 0, streams: 0, revokedAt: null })
    this.cluster = new Cluster(nodes, { agents, profiles: { [ROUTE]: profile(ROUTE) }, config: (n, t) => t + limits })
  }

  async start () {
    await this.cluster.start()
    this.nodes = this.cluster.nodes
    this.first = this.cluster.first
    this.idle = await crowd(this.nodes, this.peers, this.say)
    this.ops = this.nodes.map((n) => new Operator(n.adminSocket))
    this.agents = { planner: [], helper: [], worker: [] }
    for (const name of Object.keys(this.agents)) for (const n of this.nodes) this.agents[name].push(await n.agent(name, { token: await this.first.issuer.mint({ ...this.first.leaves[name], name }) }))
    this.going = true
    this.loops = [...this.agents.worker.map((a) => this.serve(a)), ...['planner', 'helper'].flatMap((name) => this.agents[name].map((a) => this.send(a, name)))]
    return this
  }

  async serve (agent) {
    while (this.going) {
      const s = await agent.subscribe({ routes: [ROUTE], max_in_flight: 8 })
      s.each((f) => { if (f.delivery?.sender.name === 'planner') this.note(this.delivered) }) // as it comes
      while (this.going && !s.ended) {
        const d = await s.delivery(1000).catch(() => sleep(5))
        if (d) await s.complete(d).catch(() => {})
      }
      if (s.ended) this.streams++
      s.cut()
      await sleep(5)
    }
  }

  async send (agent, name) {
    while (this.going) {
      await agent.submit(read(ROUTE)).then(() => name === 'planner' && this.note(this.accepted), () => {})
      await sleep(5)
    }
  }

  note (list) { if (this.revokedAt !== null) list.push(performance.now() - this.revokedAt) }

  async round (i) {
    const victims = (await Promise.all(this.nodes.flatMap((n) => Array.from({ length: VICTIMS }, () => connect(n, 'planner')))))
    await sleep(300)
    const begun = performance.now()
    const r = await this.ops[i % this.ops.length].revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'planner' } })
    this.command.push(performance.now() - begun)
    for (let i = 0; i < 2; i++) await new Promise(setImmediate) // what came before the answer, and is read behind it
    this.revokedAt = performance.now()
    if (r.nodes_missing || r.nodes.some((n) => !n.confirmed)) throw new Error(`not confirmed: ${JSON.stringify(r)}`)
    await until('all of its connections to close', () => victims.every((v) => v.closed))
    this.closed.push(...victims.map((v) => v.closedAt - begun))
    this.quarantined += Number(r.handoffs_quarantined)
    await sleep(700) // its sender goes on trying, everywhere
    this.revokedAt = null
    await this.ops[i % this.ops.length].lift(r.revocation_id)
  }

  async run () {
    for (let i = 0; i < this.rounds; i++) await this.round(i)
    const cut = this.idle.filter((r) => r.closed).length
    return {
      nodes: this.nodes.length, peers: this.peers, rounds: this.rounds, closed_ms_p50: Math.round(percentile(this.closed, 50)), closed_ms_p99: Math.round(percentile(this.closed, 99)),
      command_ms_p50: Math.round(percentile(this.command, 50)), accepted_after: this.accepted.length, delivered_after: this.delivered.length, quarantined: this.quarantined, honest_cut: cut, honest_streams_ended: this.streams
    }
  }

  async stop () {
    this.going = false
    await Promise.all(this.loops || [])
    for (const r of this.idle || []) r.close()
    for (const o of this.ops || []) o.close()
    await this.cluster.stop()
    await this.cluster.remove()
  }
}

export const holds = (line) => !line.accepted_after && !line.delivered_after && !line.honest_cut
