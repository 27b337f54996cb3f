// Who is in charge of the broker? A real grpc-js client: on the admin socket without a certificate, on listen.admin with one and, maybe, a token.
import fs from 'node:fs'
import { patience } from './suite.js'
import { api, grpc } from './wire.js'

const SERVICES = ['OperateService', 'ContainmentService', 'ResourceService', 'HandoffService', 'EnrolService', 'ApprovalService', 'AuditService']

export class Operator {
  constructor (at, leaf, { token, options = {} } = {}) {
    const read = (f) => (f ? fs.readFileSync(f) : null)
    const creds = leaf ? grpc.credentials.createSsl(read(leaf.trust), read(leaf.key), read(leaf.cert)) : grpc.credentials.createInsecure()
    const opts = { 'grpc.use_local_subchannel_pool': 1, 'grpc.max_receive_message_length': -1, 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 200, ...options }
    const where = leaf ? at : `unix:${at}`
    Object.assign(this, leaf, { token })
    this.clients = SERVICES.map((s) => new api.baton.v1[s](where, creds, opts))
    this.health = new api.grpc.health.v1.Health(where, creds, opts)
  }

  meta ({ token = this.token, metadata = {} } = {}) {
    const m = new grpc.Metadata()
    if (token) m.set('authorization', `Bearer ${token}`)
    for (const [k, v] of Object.entries(metadata)) for (const one of [v].flat()) m.add(k, one)
    return m
  }

  // service: where two of them have a method of this name.
  call (method, request = {}, { timeout = patience(10000), service, ...opts } = {}) {
    const client = service ? this.clients[SERVICES.indexOf(service)] : this.clients.find((c) => c[method])
    if (client[method].responseStream) return this.stream(method, request, { timeout, ...opts })
    return new Promise((yes, no) => client[method](request, this.meta(opts), { deadline: Date.now() + timeout }, (e, r) => (e ? no(e) : yes(r))))
  }

  // Everything that a call which answers one by one has to say.
  stream (method, request = {}, { timeout = patience(30000), ...opts } = {}) {
    const client = this.clients.find((c) => c[method])
    return new Promise((yes, no) => {
      const all = [], call = client[method](request, this.meta(opts), { deadline: Date.now() + timeout })
      call.on('data', (m) => all.push(m)).on('error', no).on('end', () => yes(all))
    })
  }

  // The last line of it, with what was said of each node, in one line or two.
  async revoke (target, more = {}) {
    const lines = await this.stream('Revoke', { ...target, reason: 'a test', ...more }), nodes = new Map()
    for (const l of lines.slice(0, -1)) {
      const known = nodes.get(l.node.node) || { ...l.node, closed: Number(l.connections_closed), aside: 0 }
      nodes.set(l.node.node, { ...known, aside: known.aside + Number(l.handoffs_quarantined) })
    }
    return { ...lines.at(-1), nodes: [...nodes.values()] }
  }

  lift (revocation_id, more = {}) { return this.stream('Lift', { revocation_id, reason: 'a test', ...more }).then((l) => l.at(-1)) }

  set (route, state, more = {}) { return this.call('SetRouteState', { route: { name: route, ...more }, state: `ROUTE_STATE_${state}`, reason: 'a test' }) }
  async route (name) { return (await this.call('ListRoutes', { route: name })).routes[0] }

  // ---- roles ----
  // The first one, on the admin socket.
  init (spiffe_id, roles = ['platform', 'sre', 'auditor'], more = {}) {
    return this.call('InitAdmin', { role: { name: 'first', roles, spiffe_id, ...more }, reason: 'a test' })
  }

  grant (name, roles, holder, more = {}, version = '') {
    const role = { name, roles: [roles].flat(), ...(typeof holder === 'string' ? { spiffe_id: holder } : holder), ...more }
    return this.call('Apply', { resources: [{ version, role }], reason: 'a test' })
  }

  role (name) { return this.call('Get', { kind: 'role', name }, { service: 'ResourceService' }) }
  async ungrant (name) {
    const { version } = await this.role(name)
    return this.call('Delete', { ref: { kind: 'role', name }, version, reason: 'a test' })
  }

  close () { for (const c of [...this.clients, this.health]) c.close() }
}
