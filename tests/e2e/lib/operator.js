// Who is in charge of the machine that the broker runs on? A real grpc-js client on the admin socket, without a certificate.
import { api, grpc } from './wire.js'

export class Operator {
  constructor (socket) {
    const creds = grpc.credentials.createInsecure()
    const opts = { 'grpc.use_local_subchannel_pool': 1 }
    this.clients = ['OperateService', 'ContainmentService', 'ResourceService', 'HandoffService'].map((s) => new api.baton.v1[s](`unix:${socket}`, creds, opts))
  }

  call (method, request = {}, timeout = 10000) {
    const client = this.clients.find((c) => c[method])
    return new Promise((yes, no) => client[method](request, new grpc.Metadata(), { deadline: Date.now() + timeout }, (e, r) => (e ? no(e) : yes(r))))
  }

  // Everything that a call which answers one by one has to say.
  stream (method, request = {}, timeout = 30000) {
    const client = this.clients.find((c) => c[method])
    return new Promise((yes, no) => {
      const all = [], call = client[method](request, new grpc.Metadata(), { deadline: Date.now() + timeout })
      call.on('data', (m) => all.push(m)).on('error', no).on('end', () => yes(all))
    })
  }

  // The last line of it, with the nodes' lines.
  async revoke (target, more = {}) {
    const lines = await this.stream('Revoke', { ...target, reason: 'a test', ...more })
    return { ...lines.at(-1), nodes: lines.slice(0, -1).map((l) => ({ ...l.node, closed: Number(l.connections_closed) })) }
  }

  lift (revocation_id, more = {}) { return this.stream('Lift', { revocation_id, reason: 'a test', ...more }).then((l) => l.at(-1)) }

  set (route, state, more = {}) { return this.call('SetRouteState', { route: { name: route, ...more }, state: `ROUTE_STATE_${state}`, reason: 'a test' }) }
  async route (name) { return (await this.call('ListRoutes', { route: name })).routes[0] }
  close () { for (const c of this.clients) c.close() }
}
