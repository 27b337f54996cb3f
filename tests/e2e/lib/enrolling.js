// How does a broker of a test issue certificates? A CA made by `baton ca init`, the section of baton.yaml that names it, and a client of the port where nobody has
// a certificate yet.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { Agent, read, refusalOf } from './agent.js'
import { BATON, ROUTE } from './broker.js'
import { Operator } from './operator.js'
import { thumbprint } from './pki.js'
import { assert, sleep } from './suite.js'
import { freePort } from './ports.js'
import { api, grpc } from './wire.js'

const q = JSON.stringify

// Of a broker that is prepared: makes the CA in its folder, takes a port, and has baton.yaml name both. more: further lines of `issuing`.
export async function issuing (b, { dir = b.path('ca'), port, more = '', ttl = '1h' } = {}) {
  const made = fs.existsSync(dir)
  if (!made) execFileSync(BATON, ['ca', 'init', dir, '--trust-domain', 'acme.example', '--dns', 'localhost', '--ip', '127.0.0.1'], { stdio: 'pipe' })
  const bundle = b.path('acme-both.pem')
  fs.writeFileSync(bundle, fs.readFileSync(b.acme.cert, 'utf8') + fs.readFileSync(path.join(dir, 'bundle.pem'), 'utf8'))
  const known = b.path('issuing.pem') // by which agents verify the broker, and what they get
  fs.writeFileSync(known, fs.readFileSync(b.serverCa.cert, 'utf8') + fs.readFileSync(path.join(dir, 'bundle.pem'), 'utf8'))
  b.enrolPort = port || await freePort()
  b.enrolAddr = `127.0.0.1:${b.enrolPort}`
  const files = install(b, dir)
  const before = b.change
  b.change = (text) => before(text)
    .replace('  metrics:', `  enrol: ${b.enrolAddr}\n  metrics:`)
    .replace(q(b.acme.cert), q(bundle))
    .replace('\nissuers:', `\nissuing: {cert: ${q(files.cert)}, key: ${q(files.key)}, bundle: ${q(known)}, ttl: ${ttl}${more}}\nissuers:`)
  b.writeConfig()
  return dir
}

// The CA's intermediate of now, where the broker looks for it.
export function install (b, dir) {
  fs.mkdirSync(b.path('issuing'), { recursive: true, mode: 0o700 })
  execFileSync(BATON, ['ca', 'install', dir, '--out', b.path('issuing', 'ca.pem')])
  return { cert: b.path('issuing', 'ca.pem'), key: b.path('issuing', 'ca.key') }
}

// A request for a key of its own; sans: what it asks for.
export function request (dir, name, sans = [], subject = '/') {
  const key = path.join(dir, `${name}.key`), csr = path.join(dir, `${name}.der`)
  const ext = sans.length ? ['-addext', `subjectAltName=${sans.join(',')}`] : []
  execFileSync('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', subject, '-keyout', key, '-outform', 'DER', '-out', csr, ...ext], { stdio: 'pipe' })
  return { key, der: fs.readFileSync(csr) }
}

export const pem = (der) => `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`

// Who has no certificate.
export class Stranger {
  constructor (b, { trust = b.serverCa.cert, addr = b.enrolAddr } = {}) {
    this.client = new api.baton.v1.EnrolService(addr, grpc.credentials.createSsl(fs.readFileSync(trust)), { 'grpc.use_local_subchannel_pool': 1, 'grpc.initial_reconnect_backoff_ms': 50 })
  }

  call (method, request = {}, timeout = 10000) {
    return new Promise((yes, no) => this.client[method](request, new grpc.Metadata(), { deadline: Date.now() + timeout }, (e, r) => (e ? no(e) : yes(r))))
  }

  enrol (token, csr) { return this.call('Enrol', { token, csr_der: csr.der || csr }) }
  bundle () { return this.call('GetBundle') }
  close () { this.client.close() }
}

// What an agent keeps of a Certificate.
export function keep (dir, name, key, answer, more = {}) {
  const cert = path.join(dir, `${name}-enrolled.pem`)
  fs.writeFileSync(cert, answer.chain_der.map(pem).join(''))
  return { name, cert, key, ...more }
}

// A platform team beside a broker that issues: root with all roles on listen.admin, a stranger on listen.enrol, and what they do all day.
export class Platform {
  constructor (b) { Object.assign(this, { b, made: [] }) }

  async open () {
    const { b } = this
    await b.prepare()
    this.ca = await issuing(b)
    await b.start()
    this.local = this.keep(new Operator(b.adminSocket))
    await this.local.init(b.person('root').spiffe)
    this.root = this.operator('root')
    this.stranger = this.keep(new Stranger(b))
    return this
  }

  keep (x) { this.made.push(x); return x }
  operator (name) { return this.keep(new Operator(this.b.adminAddr, this.b.person(name))) }
  close () { for (const o of this.made) o.close() }

  spiffe (name) { return `spiffe://acme.example/${name}` }
  register (name, more = {}, op = this.root) {
    return op.call('Apply', { resources: [{ agent: { tenant: 'acme', name, spiffe_id: this.spiffe(name), owner: 'team-e', may_call: [ROUTE], may_originate: true, ...more } }], reason: 'a test' })
  }

  resource (name) { return this.local.call('Get', { kind: 'agent', tenant: 'acme', name }, { service: 'ResourceService' }) }
  async change (name, more, opts) {
    const { version, agent } = await this.resource(name)
    return this.root.call('Apply', { resources: [{ version, agent: { ...agent, ...more } }], reason: 'a test' }, opts)
  }

  async retire (name) {
    const { version } = await this.resource(name)
    return this.root.call('Delete', { ref: { kind: 'agent', tenant: 'acme', name }, version, reason: 'a test' })
  }

  token (name, more = {}, op = this.root) { return op.call('CreateToken', { agent: { kind: 'agent', tenant: 'acme', name }, ...more }) }
  csr (name, sans, subject) { return request(this.b.path('pki'), name, sans, subject) }
  // As an agent does that is told to ask again: a node has not heard yet of what was kept a moment ago.
  async patiently (fn) {
    for (;;) {
      try { return await fn() } catch (e) { if (refusalOf(e).reason !== 'store_unavailable') throw e }
      await sleep(100)
    }
  }

  // The agent of an answer, with an honest token.
  async agent (name, key, answer) {
    const leaf = { ...keep(this.b.path('pki'), `${name}-${this.made.length}`, key, answer, { tenant: 'acme', spiffe: this.spiffe(name), trust: this.b.serverCa.cert }), name }
    leaf.thumbprint = thumbprint(leaf.cert)
    return this.keep(new Agent(leaf, this.b.addr, { token: await this.b.issuer.mint(leaf) }))
  }

  async enrolled (name) {
    await this.register(name)
    const { token } = await this.token(name)
    const r = this.csr(name)
    return { r, token, answer: await this.stranger.enrol(token, r) }
  }

  async works (a) { assert.ok((await a.submit(read(ROUTE))).handoff_id) }
  keeper () { return Number(execFileSync('pgrep', ['-P', String(this.b.process.pid), 'batond-keeper'], { encoding: 'utf8' })) }
}
