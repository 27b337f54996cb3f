// A platform team's day: a broker that knows nobody, and by the evening agents were registered, given certificates, put to work, changed, renewed, stopped and let go;
// all by the command line, with no restart, and no honest connection was cut.
import fs from 'node:fs'
import path from 'node:path'
import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { BATON, Broker, ROUTE, profile } from './lib/broker.js'
import { Agent, denied, read, refused } from './lib/agent.js'
import { issuing } from './lib/enrolling.js'
import { Idp } from './lib/idp.js'
import { thumbprint } from './lib/pki.js'

const NAMES = ['planner', 'worker', 'witness']
const spiffe = (name) => `spiffe://acme.example/${name}`
const b = new Broker({ admin: true, agents: [] })
const made = []
let ca, idp, root, working

before(async () => {
  await b.prepare()
  ca = await issuing(b)
  const before = b.change // nobody of acme.example stands in the file: no agent, no issuer, no CA
  b.change = (t) => before(t).replace(/ +- \{domain: acme\.example.*\n/, '').replace(/\nissuers:\n[^]*?\nstore:/, '\nstore:').replace(/\nagents:\n[^]*$/, '\nregistry: {allow_private_fetches: true}\n')
  b.writeConfig()
  idp = await new Idp({ ca: b.serverCa.cert, agentsCa: path.join(ca, 'bundle.pem'), server: b.server, agents: NAMES.map((name) => ({ name, tenant: 'acme', spiffe: spiffe(name) })) }).start()
  b.profiles = { [ROUTE]: profile(ROUTE, {}, [idp.url]), quiet: profile('quiet', {}, [idp.url]) }
  b.writeProfiles()
  root = b.person('root', 'globex')
  await b.start()
})
after(async () => {
  working?.kill('SIGKILL')
  for (const a of made) a.close()
  await idp?.stop()
  await b.remove()
})

// ---- whoever types ----

function baton (args, env = {}) {
  const p = spawn(BATON, args, { cwd: b.dir, env: { PATH: process.env.PATH, HOME: b.dir, ASAN_OPTIONS: 'exitcode=99', ...env } })
  const r = { process: p, stdout: '', stderr: '' }
  for (const k of ['stdout', 'stderr']) p[k].setEncoding('utf8').on('data', (d) => { r[k] += d })
  p.stdin.end()
  r.exit = new Promise((done) => p.on('close', done))
  return r
}
async function says (args, env, status = 0) {
  const r = baton(args, env)
  assert.equal(await r.exit, status, `${args.join(' ')}\n${r.stdout}${r.stderr}`)
  return r.stdout
}
const onSocket = () => ({ BATON_ADMIN_ADDR: `unix:${b.adminSocket}` })
const operator = () => ({ BATON_ADMIN_ADDR: b.adminAddr, BATON_CA: b.serverCa.cert, BATON_CERT: root.cert, BATON_KEY: root.key })
const platform = (...args) => says([...args, '--reason', 'the day'], operator())
const home = (name) => b.path('agents', name)
const agentEnv = (name) => ({ BATON_ADDR: b.addr, BATON_CA: path.join(home(name), 'bundle.pem'), BATON_CERT: path.join(home(name), 'agent.pem'), BATON_KEY: path.join(home(name), 'agent.pem') })
const leafOf = (name) => { const { BATON_CERT: cert } = agentEnv(name); return { name, tenant: 'acme', spiffe: spiffe(name), cert, key: cert, trust: agentEnv(name).BATON_CA, thumbprint: thumbprint(cert) } }
const chainOf = (name) => fs.readFileSync(agentEnv(name).BATON_CERT, 'utf8').match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g).map((p) => new X509Certificate(p))

async function enrol (name) {
  const file = b.path(`${name}.token`)
  await says(['agent', 'enroll-token', name, '--tenant', 'acme', '--ttl', '10m', '--out', file], operator())
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  await says(['enroll', '--server', b.enrolAddr, '--token-file', file, '--out', home(name)])
  assert.equal(chainOf(name)[0].subjectAltName, `URI:${spiffe(name)}`)
  return file
}
// An access token of the company's provider, for the certificate that the agent has now, where its command line looks for it.
async function token (name) {
  const file = path.join(home(name), 'access.token')
  fs.writeFileSync(file, await idp.token(leafOf(name)), { mode: 0o600 })
  return file
}
async function connected (name) {
  const a = new Agent(leafOf(name), b.addr, { token: fs.readFileSync(await token(name), 'utf8') })
  made.push(a)
  return a
}
const serve = () => {
  const r = baton(['serve', '--route', ROUTE, '--renew', '--', 'cat'], agentEnv('worker'))
  working = r.process
  return r
}
const run = async (status = 0) => says(['handoff', 'run', '--route', ROUTE, '--tool', 'orders.lookup', '--side-effect', 'read', '--payload', b.path('payload.json'), '--token-file', await token('planner'), '--timeout', '15s'], agentEnv('planner'), status)

const REGISTRY = NAMES.map((name) => `kind: agent
tenant: acme
name: ${name}
spiffe_id: ${spiffe(name)}
owner: team-refunds
${name === 'planner' ? `may_call: [${ROUTE}]\nmay_originate: true` : `may_serve: [${name === 'worker' ? ROUTE : 'quiet'}]`}
`).join('---\n')

test('I-5 I-7 I-1 R-3 A platform team\'s day, from the first role to the last agent\'s retirement: nothing is restarted, and no honest connection is cut', async () => {
  const pid = b.process.pid
  fs.writeFileSync(b.path('payload.json'), '{"order":"A-1009"}')
  fs.writeFileSync(b.path('registry.yaml'), REGISTRY)
  fs.mkdirSync(b.path('agents'), { mode: 0o700 })

  // Morning: who may do what, whose signatures count, whose tokens count.
  await says(['admin', 'init', '--role', 'platform', '--role', 'sre', '--role', 'auditor', '--spiffe-id', root.spiffe, '--reason', 'the first'], onSocket())
  await says(['admin', 'init', '--role', 'platform', '--spiffe-id', root.spiffe, '--name', 'again', '--reason', 'the first'], onSocket(), 1)
  await platform('trust', 'add', 'acme.example', '--bundle', path.join(ca, 'bundle.pem'))
  await platform('issuer', 'add', 'corp', '--url', idp.url, '--tenant', 'acme', '--issuer-ca', b.serverCa.cert, '--allow-private', 'yes', '--algorithm', 'ES256')
  await says(['issuer', 'test', 'corp'], operator())

  // Three agents from a file; each enrols.
  await says(['diff', '-f', b.path('registry.yaml')], operator(), 1)
  await platform('apply', '-f', b.path('registry.yaml'))
  await says(['diff', '-f', b.path('registry.yaml')], operator())
  for (const name of NAMES) await enrol(name)
  await says(['enroll', '--server', b.enrolAddr, '--token-file', b.path('planner.token'), '--out', b.path('agents', 'thief')], {}, 77)

  // They hand work over. The witness is there until the evening, and does nothing that anybody could hold against it.
  const witness = await connected('witness'), stream = await witness.subscribe({ routes: ['quiet'] })
  serve()
  assert.match(await run(), /completed/)
  const planner = await connected('planner'), once = () => planner.submit(read(ROUTE))
  assert.ok((await once()).handoff_id)
  const ended = (name) => b.audit().filter((r) => r.event === 'peer.closed' && r.spiffe_id === spiffe(name)).map((r) => r.remote)
  const { remote } = b.audit().filter((r) => r.event === 'peer.connected' && r.spiffe_id === spiffe('planner')).at(-1) // planner's own, beside those of its commands

  // A limit is changed, and holds for the connection that is there.
  await platform('agent', 'update', 'planner', '--tenant', 'acme', '--rate', '1')
  const many = await Promise.allSettled(Array.from({ length: 12 }, once))
  assert.ok(many.some((r) => r.status === 'rejected' && r.reason.metadata.get('baton-reason')[0] === 'quota_exceeded'))
  await platform('agent', 'update', 'planner', '--tenant', 'acme', '--rate', '0')
  for (let i = 0; i < 12; i++) assert.ok((await once()).handoff_id)

  // The intermediate is rotated, and planner's next certificate is of the new one; its connection goes on with the old one.
  const [, old] = chainOf('planner')
  await says(['ca', 'rotate', ca])
  await says(['ca', 'install', ca, '--out', b.path('issuing', 'ca.pem')])
  await until('the broker to see it', () => b.log().includes('issuing.reloaded'), 15000)
  await says(['renew'], agentEnv('planner'))
  assert.notEqual(chainOf('planner')[1].fingerprint256, old.fingerprint256)
  assert.ok((await once()).handoff_id)
  assert.match(await run(), /completed/)
  const renewed = await connected('planner')
  assert.ok((await renewed.submit(read(ROUTE))).handoff_id)

  assert.deepEqual([ended('worker'), ended('planner').includes(remote)], [[], false]) // neither the limit nor the rotation nor the renewal cut either

  // The worker is quarantined: nothing is delivered to it. Released, it gets what waited.
  await until('all work to be done', async () => (await planner.list({})).handoffs.every((h) => h.state === 'HANDOFF_STATE_COMPLETED'), 20000)
  await platform('agent', 'quarantine', 'worker', '--tenant', 'acme')
  const { handoff_id: waits } = await once()
  await sleep(1500)
  assert.equal((await planner.get(waits)).state, 'HANDOFF_STATE_QUEUED')
  await platform('agent', 'release', 'worker', '--tenant', 'acme')
  working.kill('SIGTERM')
  serve()
  await planner.state(waits, 'COMPLETED', 20000)

  assert.equal(ended('planner').includes(remote), false)

  // So is the planner: its calls are refused on the connection that it has, and its name gets no certificate.
  await platform('agent', 'quarantine', 'planner', '--tenant', 'acme')
  await denied(once(), 'unknown_peer')
  await says(['renew'], agentEnv('planner'), 77)
  await says(['agent', 'enroll-token', 'planner', '--tenant', 'acme'], operator(), 1)
  await platform('agent', 'release', 'planner', '--tenant', 'acme')
  assert.ok((await once()).handoff_id)

  // Evening: it is retired, for good.
  await platform('agent', 'retire', 'planner', '--tenant', 'acme', '--yes')
  await denied(once(), 'unknown_peer')
  assert.match(await says(['agent', 'history', 'planner', '--tenant', 'acme'], operator()), /retired/)

  // The witness was there all day, by one connection; the broker is the one of the morning.
  assert.equal(stream.ended, null)
  assert.equal(b.audit().filter((r) => r.event === 'peer.connected' && r.spiffe_id === spiffe('witness')).length, 1)
  assert.equal(b.audit().filter((r) => r.event === 'peer.closed' && r.spiffe_id === spiffe('witness')).length, 0)
  assert.equal(b.process.pid, pid)
  assert.equal(b.audit().filter((r) => r.event === 'node.started').length, 1)
  assert.ok(!(await refused(planner.submit(read(ROUTE), { timeout: 2000 }))).handoff_id)
}, 180000)
