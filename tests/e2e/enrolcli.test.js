// Does `baton enroll` give its token to nobody but the broker that the token is of, and keep nothing that is no certificate for it? Does `baton renew`
// keep the identity? Against brokers of the test's own (grpc-js), which answer as a real one never would.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { execFileSync, spawn } from 'node:child_process'
import { createHash, createPublicKey, randomBytes, X509Certificate } from 'node:crypto'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { Agent } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { api, grpc, readText } from './lib/wire.js'

const top = fs.mkdtempSync(path.join(os.tmpdir(), 'baton-enrolcli-'))
const at = (...p) => path.join(top, ...p)
const ID = 'spiffe://acme.example/planner'
const openssl = (args, input) => execFileSync('openssl', args, { cwd: top, input, stdio: ['pipe', 'pipe', 'pipe'] })
const der = (file) => new X509Certificate(fs.readFileSync(file)).raw
const made = []
const running = new Set()
let acme, evil, serverLeaf, serial = 0

before(() => {
  acme = new Ca(top, 'acme', { uri: 'spiffe://acme.example' })
  evil = new Ca(top, 'evil', { uri: 'spiffe://acme.example' })
  serverLeaf = { acme: acme.leaf('batond', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' }), evil: evil.leaf('imitation', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' }) }
})
after(async () => {
  for (const c of running) c.kill('SIGKILL')
  for (const s of made) s.stop()
  fs.rmSync(top, { recursive: true, force: true })
})

// ---- certificates ----

const stamp = (ms) => new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')
// A leaf for the key of this request. from and to: seconds from now.
function sign (csr, { by = acme, sans = `URI:${ID}`, from = -1, to = 3600, ca = false, eku = 'clientAuth' } = {}) {
  const name = at(`signed-${++serial}`)
  fs.writeFileSync(`${name}.ext`, `basicConstraints=critical,CA:${ca ? 'TRUE' : 'FALSE'}\nkeyUsage=critical,${ca ? 'keyCertSign' : 'digitalSignature'}\nextendedKeyUsage=${eku}\nsubjectAltName=${sans}\n`)
  fs.writeFileSync(`${name}.csr`, csr)
  by.ca('-batch', '-notext', '-subj', '/CN=agent', '-inform', 'DER', '-in', `${name}.csr`, '-extfile', `${name}.ext`, '-startdate', stamp(Date.now() + from * 1000),
    '-enddate', stamp(Date.now() + to * 1000), '-out', `${name}.pem`)
  return der(`${name}.pem`)
}
function freshCsr () {
  const key = at(`key-${++serial}`)
  openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', key])
  return { key, csr: openssl(['req', '-new', '-key', key, '-subj', '/', '-outform', 'DER']) }
}
const keyOf = (csr) => openssl(['req', '-inform', 'DER', '-noout', '-pubkey'], csr).toString()
const pem = (raw) => new X509Certificate(raw).toString()

// What enroll leaves behind, made without it, as of the certificate's beginning.
// above: the file of the CA that vouches for the broker.
function identity (name, options = {}) {
  const { key, csr } = freshCsr()
  const dir = at(name)
  fs.mkdirSync(dir, { mode: 0o700 })
  const agent = path.join(dir, 'agent.pem')
  fs.writeFileSync(agent, fs.readFileSync(key, 'utf8') + pem(sign(csr, options)), { mode: 0o600 })
  fs.writeFileSync(path.join(dir, 'bundle.pem'), pem(der(options.above || acme.cert)))
  const begun = Date.now() / 1000 + (options.from ?? -1)
  fs.utimesSync(agent, begun, begun)
  return { dir, agent, bundle: path.join(dir, 'bundle.pem') }
}
const certOf = (file) => new X509Certificate(readText(file).match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\n/)[0])

// ---- a broker ----

const answerOf = (leaf, more = {}) => ({ chain_der: [leaf], bundle_der: [der(acme.cert)], renew_at_ms: 0, expires_at_ms: 0, ...more })
const refusal = (code, details, reason) => { const m = new grpc.Metadata(); if (reason) m.set('baton-reason', reason); return { code, details, metadata: m } }

class Fake {
  // mutual: client certificates are asked for, as on listen.agents. Answers of a method: a function of its request, which may throw a refusal; null: silence.
  constructor ({ as = 'acme', mutual = false, ...answers } = {}) {
    Object.assign(this, { as, mutual, answers: { GetBundle: () => ({ bundle_der: [der(acme.cert)] }), ...answers }, seen: [], port: 0 })
    made.push(this)
  }

  unary (method) {
    return async (call, done) => {
      this.seen.push({ method, request: call.request, all: JSON.stringify([call.request, call.metadata.getMap()]), peer: call.getAuthContext()?.sslPeerCertificate?.raw })
      try {
        const fn = this.answers[method]
        if (!fn) throw refusal(grpc.status.UNIMPLEMENTED, 'no')
        const answer = await fn(call.request, this)
        if (answer) done(null, answer)
      } catch (e) {
        done(e.code === undefined ? { code: grpc.status.UNKNOWN, details: String(e.stack) } : e)
      }
    }
  }

  async start (listen = `127.0.0.1:${this.port}`) {
    const leaf = serverLeaf[this.as]
    this.server = new grpc.Server()
    this.server.addService(api.baton.v1.EnrolService.service, Object.fromEntries(['CreateToken', 'GetBundle', 'Enrol', 'Renew'].map((m) => [m, this.unary(m)])))
    if (this.answers.Subscribe) this.server.addService(api.baton.v1.HandoffService.service, { Subscribe: (call) => this.answers.Subscribe(call, this) })
    const creds = listen.startsWith('unix:') ? grpc.ServerCredentials.createInsecure()
      : grpc.ServerCredentials.createSsl(this.mutual ? fs.readFileSync(acme.cert) : null, [{ private_key: fs.readFileSync(leaf.key), cert_chain: fs.readFileSync(leaf.cert) }], this.mutual)
    this.port = await new Promise((yes, no) => this.server.bindAsync(listen, creds, (e, port) => (e ? no(e) : yes(port))))
    return this
  }

  stop () { this.server?.forceShutdown() }
  get addr () { return `localhost:${this.port}` }
  calls (method) { return this.seen.filter((s) => s.method === method) }
}

// ---- baton ----

function begin (args, { input, env = {} } = {}) {
  const child = spawn(BATON, args, { cwd: top, env: { PATH: process.env.PATH, HOME: '/nonexistent', TMPDIR: top, ASAN_OPTIONS: 'exitcode=99', ...env } })
  const p = { child, out: '', err: '' }
  running.add(child)
  child.stdout.on('data', (d) => { p.out += d })
  child.stderr.on('data', (d) => { p.err += d })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  p.done = new Promise((yes) => child.on('close', (code) => { running.delete(child); p.code = code; yes(p) }))
  return p
}
const baton = (args, options) => begin(args, options).done

const tokenOf = (...ders) => `baton-enrol.${randomBytes(32).toString('base64url')}.${createHash('sha256').update(Buffer.concat(ders)).digest('base64url')}`
function tokenFile (token = tokenOf(der(acme.cert)), mode = 0o600) {
  const file = at(`token-${++serial}`)
  fs.writeFileSync(file, token + '\n', { mode })
  return { token, file }
}
const enrollArgs = (server, file, dir, ...more) => ['enroll', '--server', server, '--token-file', file, '--out', dir, ...more]
const own = (i, addr, ...more) => ['--addr', addr, '--cert', i.agent, '--key', i.agent, '--ca', i.bundle, ...more]
const honest = (q) => answerOf(sign(q.csr_der))
const secretless = (r, token) => assert.ok(!(r.out + r.err).includes(token.split('.')[1]), 'the token was printed')

// ---- enroll ----

test('I-5 attack 30: enroll makes its key itself: one file of 0600 for key and certificate, in a folder of 0700; the token is printed nowhere; what is there is not replaced unasked', async () => {
  const f = await new Fake({ Enrol: honest }).start()
  const { token, file } = tokenFile()
  const dir = at('honest', 'planner')
  const r = await baton(enrollArgs(f.addr, file, dir))
  assert.equal(r.code, 0, r.err)
  assert.match(r.out, /spiffe id: +spiffe:\/\/acme\.example\/planner\n/)
  assert.match(r.out, /not after: +20\d\d-/)
  assert.ok(r.err.includes(`--cert ${dir}/agent.pem --key ${dir}/agent.pem --ca ${dir}/bundle.pem`), r.err)
  secretless(r, token)
  assert.deepEqual(fs.readdirSync(dir).sort(), ['agent.pem', 'bundle.pem'])
  const mode = (p) => fs.statSync(p).mode & 0o777
  assert.deepEqual([mode(dir), mode(`${dir}/agent.pem`), mode(`${dir}/bundle.pem`)], [0o700, 0o600, 0o644])
  const text = readText(`${dir}/agent.pem`)
  assert.match(text, /^-----BEGIN PRIVATE KEY-----\n/)
  assert.equal(createPublicKey(text.split('-----BEGIN CERTIFICATE-----')[0]).export({ type: 'spki', format: 'pem' }), keyOf(f.calls('Enrol')[0].request.csr_der))
  assert.equal(readText(`${dir}/bundle.pem`), pem(der(acme.cert)))
  assert.deepEqual(f.seen.map((s) => s.method), ['GetBundle', 'Enrol'])
  assert.ok(!f.calls('GetBundle')[0].all.includes(token), 'the token went over the connection that nobody vouched for')
  assert.equal(f.calls('Enrol')[0].request.token, token)
  assert.ok(!openssl(['req', '-inform', 'DER', '-noout', '-text'], f.calls('Enrol')[0].request.csr_der).toString().includes('Alternative'), 'the request names somebody')

  const again = await baton(enrollArgs(f.addr, tokenFile().file, dir))
  assert.equal(again.code, 78)
  assert.match(again.err, /agent\.pem is there already\n.*--force/s)
  assert.equal(f.seen.length, 2, 'nothing was asked')
  assert.equal(readText(`${dir}/agent.pem`), text)
  const forced = await baton(enrollArgs(f.addr, '-', dir, '--force', '-o', 'name'), { input: tokenFile().token + '\n' })
  assert.equal(forced.code, 0, forced.err)
  assert.equal(forced.out, `${ID}\n`)
  assert.notEqual(readText(`${dir}/agent.pem`), text)
})

test('I-5 whoever answers in the broker\'s place, with CAs of his own or with the right ones but another key, never sees the token / the broker does', async () => {
  const imitation = await new Fake({ as: 'evil', GetBundle: () => ({ bundle_der: [der(evil.cert)] }), Enrol: (q) => answerOf(sign(q.csr_der, { by: evil }), { bundle_der: [der(evil.cert)] }) }).start()
  const echo = await new Fake({ as: 'evil', Enrol: honest }).start()
  const both = await new Fake({ as: 'evil', GetBundle: () => ({ bundle_der: [der(acme.cert), der(evil.cert)] }), Enrol: honest }).start()
  const none = await new Fake({ as: 'evil', GetBundle: () => ({ bundle_der: [] }), Enrol: honest }).start()
  const garbage = await new Fake({ as: 'evil', GetBundle: () => ({ bundle_der: [Buffer.from('garbage')] }), Enrol: honest }).start()
  const { token, file } = tokenFile()
  for (const [f, code, why] of [[imitation, 76, /not the one that this token was made for\n.*The token was not sent/s], [echo, 69, /certificate is refused/], [both, 76, /not the one/], [none, 76, /not the one/], [garbage, 76, /not the one/]]) {
    const r = await baton(enrollArgs(f.addr, file, at('misled')))
    assert.equal(r.code, code, r.err)
    assert.match(r.err, why)
    assert.deepEqual(f.seen.map((s) => s.method), ['GetBundle'])
    assert.ok(!f.seen.some((s) => s.all.includes(token.split('.')[1])))
    secretless(r, token)
    assert.deepEqual(fs.readdirSync(at('misled')), [])
  }
  const elsewhere = await baton(enrollArgs(`127.0.0.2:${echo.port}`, file, at('misled')))
  assert.equal(elsewhere.code, 69)
  const f = await new Fake({ Enrol: honest }).start()
  assert.equal((await baton(enrollArgs(f.addr, file, at('misled')))).code, 0)
  assert.equal(f.calls('Enrol')[0].request.token, token)
})

test('I-5 an answer that is no certificate for our key and one agent, vouched for by CAs that vouch for the broker too, is not kept / an honest one is', async () => {
  const bad = [
    ['another key', () => answerOf(sign(freshCsr().csr)), /another key/],
    ['ended', (q) => answerOf(sign(q.csr_der, { from: -7200, to: -3600 })), /certificate_expired/],
    ['nobody', (q) => answerOf(sign(q.csr_der, { sans: 'DNS:planner' })), /SPIFFE id/],
    ['two agents', (q) => answerOf(sign(q.csr_der, { sans: `URI:${ID},URI:spiffe://acme.example/auditor` })), /two_uri_sans/],
    ['a CA', (q) => answerOf(sign(q.csr_der, { ca: true })), /leaf_is_ca/],
    ['a server only', (q) => answerOf(sign(q.csr_der, { eku: 'serverAuth' })), /extended_key_usage/],
    ['another CA', (q) => answerOf(sign(q.csr_der, { by: evil })), /untrusted_chain/],
    ['a bundle without the broker\'s CA', (q) => answerOf(sign(q.csr_der, { by: evil }), { bundle_der: [der(evil.cert)] }), /does not vouch for the broker/],
    ['no bundle', (q) => answerOf(sign(q.csr_der), { bundle_der: [] }), /bundle: it has no certificate/],
    ['no chain', (q) => answerOf(sign(q.csr_der), { chain_der: [] }), /chain: it has no certificate/],
    ['a bundle of leaves', (q) => answerOf(sign(q.csr_der), { bundle_der: [der(serverLeaf.acme.cert)] }), /not a CA/],
    ['too much', (q) => answerOf(sign(q.csr_der), { bundle_der: Array(257).fill(der(acme.cert)) }), /at most 256/],
    ['garbage', () => answerOf(Buffer.from('garbage')), /no certificate/],
    ['more than a certificate', (q) => answerOf(Buffer.concat([sign(q.csr_der), Buffer.from([0])])), /no certificate/],
    ['a large one', () => answerOf(Buffer.alloc(20000, 0x30)), /20000 bytes/]
  ]
  for (const [what, Enrol, why] of bad) {
    const f = await new Fake({ Enrol }).start()
    const r = await baton(enrollArgs(f.addr, tokenFile().file, at('bad')))
    assert.equal(r.code, 76, `${what}: ${r.code} ${r.err}`)
    assert.match(r.err, why, what)
    assert.deepEqual(fs.readdirSync(at('bad')), ['agent.key.pending'], what)
    f.stop()
  }
  const f = await new Fake({ Enrol: (q) => answerOf(sign(q.csr_der), { bundle_der: [der(acme.cert), der(evil.cert)] }) }).start()
  const r = await baton(enrollArgs(f.addr, tokenFile().file, at('bad')))
  assert.equal(r.code, 0, r.err)
  assert.equal(readText(at('bad', 'bundle.pem')), pem(der(acme.cert)) + pem(der(evil.cert)))
})

test('I-1 a certificate that begins a little later than by the clock of this machine is kept, with a warning that names both times / one of more than 5 minutes later is not, until the clock is set', async () => {
  const both = /good from (\S+) on, and by this machine's clock it is (\S+): set the clock/
  const apart = (r) => { const [, begins, now] = r.err.match(both) || assert.fail(r.err); return (Date.parse(begins) - Date.parse(now)) / 1000 }
  const answer = { from: 400 }
  const f = await new Fake({ Enrol: (q) => answerOf(sign(q.csr_der, answer)) }).start()
  const { file } = tokenFile()
  const no = await baton(enrollArgs(f.addr, file, at('behind')))
  assert.equal(no.code, 78, no.err)
  assert.ok(apart(no) > 350 && apart(no) <= 400, no.err)
  assert.match(no.err, /same command with the same token goes on/)
  assert.deepEqual(fs.readdirSync(at('behind')), ['agent.key.pending'])
  answer.from = 250
  const r = await baton(enrollArgs(f.addr, file, at('behind')))
  assert.equal(r.code, 0, r.err)
  assert.match(r.err, /warning: /)
  assert.ok(apart(r) > 200 && apart(r) <= 250, r.err)
  assert.equal(new Set(f.calls('Enrol').map((s) => keyOf(s.request.csr_der))).size, 1)
  answer.from = -1
  const right = await baton(enrollArgs(f.addr, file, at('behind'), '--force'))
  assert.equal(right.code, 0, right.err)
  assert.doesNotMatch(right.err, /warning|clock/)

  const g = await new Fake({ mutual: true }).start()
  const i = identity('behind-too')
  const before = readText(i.agent)
  g.answers.Renew = (q) => answerOf(sign(q.csr_der, { from: 400 }))
  const kept = await baton(['renew', ...own(i, g.addr)])
  assert.equal(kept.code, 78, kept.err)
  assert.ok(apart(kept) > 350)
  assert.equal(readText(i.agent), before)
  g.answers.Renew = (q) => answerOf(sign(q.csr_der, { from: 250, to: 7200 }))
  const renewed = await baton(['renew', ...own(i, g.addr)])
  assert.equal(renewed.code, 0, renewed.err)
  assert.match(renewed.err, /warning: it is good from/)
  assert.notEqual(readText(i.agent), before)
  for (const more of [{ by: evil }, { sans: 'URI:spiffe://acme.example/auditor' }]) { // a clock that is behind excuses nothing else
    g.answers.Renew = (q) => answerOf(sign(q.csr_der, { from: 250, ...more }))
    assert.equal((await baton(['renew', ...own(identity(`other-${++serial}`), g.addr)])).code, 76)
  }
  const j = identity('daemon-behind', { from: -100, to: 50 })
  g.answers.Renew = (q) => answerOf(sign(q.csr_der, { from: 250, to: 7200 }))
  const d = begin(['renew', '--daemon', ...own(j, g.addr)])
  await until('a renewal', () => /is renewed: good until/.test(d.err), 15000)
  assert.match(d.err, /warning: it is good from/)
  d.child.kill('SIGTERM')
  assert.equal((await d.done).code, 0, d.err)
})

test('I-5 an answer that was lost can be asked for again: the same token comes with the same key, another with another / a used token is refused: 77', async () => {
  const answers = [() => null, () => { throw refusal(grpc.status.UNAVAILABLE, 'going away') }, (q, f) => { f.stop(); return null }, honest]
  const f = await new Fake({ Enrol: (q, f) => answers[f.calls('Enrol').length - 1](q, f) }).start()
  const { file } = tokenFile()
  for (const [why, limit] of [[/no answer in time|Deadline exceeded/, '4s'], [/going away/, '30s'], [/clos/, '30s']]) {
    const r = await baton(enrollArgs(f.addr, file, at('lost'), '--timeout', limit))
    assert.equal(r.code, 75, r.err)
    assert.match(r.err, /^try again: /)
    assert.match(r.err, why)
    assert.match(r.err, /same token goes on from there/)
    assert.equal(fs.statSync(at('lost', 'agent.key.pending')).mode & 0o777, 0o600)
  }
  await f.start()
  const r = await baton(enrollArgs(f.addr, file, at('lost')))
  assert.equal(r.code, 0, r.err)
  const keys = f.calls('Enrol').map((s) => keyOf(s.request.csr_der))
  assert.equal(keys.length, 4)
  assert.equal(new Set(keys).size, 1)
  assert.deepEqual(fs.readdirSync(at('lost')).sort(), ['agent.pem', 'bundle.pem'])

  const no = await new Fake({ Enrol: () => { throw refusal(grpc.status.PERMISSION_DENIED, 'no such token') } }).start()
  for (const t of [file, tokenFile().file]) {
    const r = await baton(enrollArgs(no.addr, t, at('lost'), '--force'))
    assert.equal(r.code, 77, r.err)
    assert.match(r.err, /^denied: .*no such token.*Ask for a new one/s)
  }
  const others = no.calls('Enrol').map((s) => keyOf(s.request.csr_der))
  assert.equal(new Set([...keys, ...others]).size, 3)
  const gone = await new Fake().start()
  gone.stop()
  assert.equal((await baton(enrollArgs(gone.addr, file, at('lost'), '--force'))).code, 69)
})

test('I-5 attack 30: what is no enrolment token is refused and not repeated; a file that others can read, and the variables of access tokens, are no way to give one', async () => {
  const f = await new Fake({ Enrol: honest }).start()
  const good = tokenOf(der(acme.cert))
  for (const bad of [good.slice(0, -1), good + 'A', good.replace('baton-enrol', 'baton-token'), good.replace(/\.([^.]*)$/, ':$1'), 'eyJhbGciOiJub25lIn0.e30.c2VjcmV0', good + '\n' + good]) {
    const r = await baton(enrollArgs(f.addr, tokenFile(bad).file, at('form')))
    assert.equal(r.code, 64, r.err)
    for (const part of bad.split(/[.:\n]/)) assert.ok(part === 'baton-enrol' || !r.err.includes(part), r.err)
  }
  assert.equal((await baton(enrollArgs(f.addr, tokenFile(good, 0o644).file, at('form')))).code, 78)
  assert.equal((await baton(enrollArgs(f.addr, at('nothing'), at('form')))).code, 66)
  assert.equal((await baton(enrollArgs(f.addr, '-', at('form')))).code, 64)
  const env = { BATON_TOKEN: good, BATON_TOKEN_FILE: tokenFile(good).file }
  for (const args of [['--server', f.addr, '--out', at('form')], ['--server', f.addr, '--token-file', env.BATON_TOKEN_FILE], ['--out', at('form'), '--token-file', env.BATON_TOKEN_FILE], ['--server', 'localhost', '--out', at('form'), '--token-file', env.BATON_TOKEN_FILE]]) {
    const r = await baton(['enroll', ...args], { env })
    assert.equal(r.code, 64, r.err)
    secretless(r, good)
  }
  assert.equal((await baton(['enroll', '--token', good])).code, 64)
  fs.mkdirSync(at('open'), { mode: 0o755 })
  const open = await baton(enrollArgs(f.addr, env.BATON_TOKEN_FILE, at('open')))
  assert.equal(open.code, 78)
  assert.match(open.err, /lets others in/)
  assert.equal(f.seen.length, 0)
  const r = await baton(enrollArgs(f.addr, env.BATON_TOKEN_FILE, at('form')))
  assert.equal(r.code, 0, r.err)
  const byName = await baton(['enroll', '--token-file', env.BATON_TOKEN_FILE, '--out', at('form2')], { env: { BATON_ENROLL_SERVER: f.addr } })
  assert.equal(byName.code, 0, byName.err)
})

test('I-5 attack 30: agent enroll-token prints the token alone, or writes it to a file of 0600 and prints nothing of it', async () => {
  const token = tokenOf(der(acme.cert))
  const f = await new Fake({ CreateToken: () => ({ token, expires_at_ms: Date.now() + 600e3, ca_sha256: 'ab' }) }).start(`unix:${at('admin.sock')}`)
  const admin = ['--admin-addr', `unix:${at('admin.sock')}`]
  const r = await baton(['agent', 'enroll-token', 'planner', '--tenant', 'acme', '--ttl', '10m', ...admin])
  assert.equal(r.code, 0, r.err)
  assert.equal(r.out, token + '\n')
  assert.match(r.err, /planner, until 20/)
  assert.match(r.err, /baton enroll --server/)
  assert.ok(!r.err.includes(token))
  const q = f.calls('CreateToken')[0].request
  assert.deepEqual([q.ttl_s, q.agent.kind, q.agent.tenant, q.agent.name], [600, 'agent', 'acme', 'planner'])
  const file = at('handed.token')
  const quiet = await baton(['agent', 'enroll-token', 'planner', '--out', file, ...admin])
  assert.equal(quiet.code, 0, quiet.err)
  secretless(quiet, token)
  assert.equal(quiet.out, '')
  assert.equal(readText(file), token)
  assert.equal(fs.statSync(file).mode & 0o777, 0o600)
  assert.equal(f.calls('CreateToken')[1].request.ttl_s, 3600)
  assert.equal(JSON.parse((await baton(['agent', 'enroll-token', 'planner', '-o', 'json', ...admin])).out).token, token)
  for (const ttl of ['59s', '25h']) assert.equal((await baton(['agent', 'enroll-token', 'planner', '--ttl', ttl, ...admin])).code, 64)
  for (const [code, reason, exit] of [[grpc.status.NOT_FOUND, 'not_found', 1], [grpc.status.FAILED_PRECONDITION, undefined, 1], [grpc.status.PERMISSION_DENIED, 'role_denied', 77]]) {
    f.answers.CreateToken = () => { throw refusal(code, 'no', reason) }
    assert.equal((await baton(['agent', 'enroll-token', 'planner', ...admin])).code, exit)
  }
  f.answers.CreateToken = () => ({ token: 'something else', expires_at_ms: 1 })
  const strange = await baton(['agent', 'enroll-token', 'planner', ...admin])
  assert.equal(strange.code, 76)
  assert.equal(strange.out, '')
})

// ---- renew ----

test('I-5 R-3 renew replaces key and certificate at once, and the bundle when it changed / what is of another agent, for another key, ended or refused changes nothing', async () => {
  const f = await new Fake({ mutual: true }).start()
  const i = identity('renewed')
  const before = readText(i.agent)
  for (const [Renew, code, why, limit = '30s'] of [
    [(q) => answerOf(sign(q.csr_der, { sans: 'URI:spiffe://acme.example/auditor' })), 76, /acme\.example\/auditor, and this agent is .*planner/],
    [() => answerOf(sign(freshCsr().csr)), 76, /another key/],
    [(q) => answerOf(sign(q.csr_der, { from: -7200, to: -3600 })), 76, /certificate_expired/],
    [(q) => answerOf(sign(q.csr_der, { by: evil }), { bundle_der: [der(evil.cert)] }), 76, /does not vouch for the broker/],
    [() => answerOf(Buffer.from('garbage')), 76, /no certificate/],
    [() => { throw refusal(grpc.status.PERMISSION_DENIED, 'quarantined', 'unknown_peer') }, 77, /^denied: unknown_peer/],
    [() => { throw refusal(grpc.status.UNAVAILABLE, 'soon') }, 75, /soon/],
    [() => null, 75, /no answer in time/, '4s']
  ]) {
    f.answers.Renew = Renew
    const r = await baton(['renew', ...own(i, f.addr, '--timeout', limit)])
    assert.equal(r.code, code, r.err)
    assert.match(r.err, why)
    assert.equal(readText(i.agent), before)
    assert.equal(readText(i.bundle), pem(der(acme.cert)))
  }
  f.answers.Renew = (q) => answerOf(sign(q.csr_der), { bundle_der: [der(acme.cert), der(evil.cert)] })
  const r = await baton(['renew', ...own(i, f.addr)])
  assert.equal(r.code, 0, r.err)
  assert.match(r.out, /not after:/)
  assert.equal(certOf(i.agent).subjectAltName, `URI:${ID}`)
  assert.deepEqual(f.calls('Renew').at(-1).peer, new X509Certificate(before.slice(before.indexOf('-----BEGIN CERT'))).raw, 'shown was the old one')
  assert.notEqual(readText(i.agent).split('CERT')[0], before.split('CERT')[0], 'the key is a new one')
  assert.equal(new Set(f.calls('Renew').map((s) => keyOf(s.request.csr_der))).size, f.calls('Renew').length)
  assert.equal(readText(i.bundle), pem(der(acme.cert)) + pem(der(evil.cert)))
  assert.equal(fs.statSync(i.agent).mode & 0o777, 0o600)
  assert.deepEqual(fs.readdirSync(i.dir).sort(), ['agent.pem', 'bundle.pem'])
  assert.equal((await baton(['renew', ...own(i, f.addr, '-o', 'json')])).code, 0, 'with the new one')
})

test('I-5 renew leaves alone what enroll did not make: two files, a link, a bundle elsewhere', async () => {
  const f = await new Fake({ mutual: true, Renew: (q) => answerOf(sign(q.csr_der), { bundle_der: [der(acme.cert), der(evil.cert)] }) }).start()
  const two = acme.leaf('two-files', { sans: [`URI:${ID}`] })
  const r = await baton(['renew', '--addr', f.addr, '--cert', two.cert, '--key', two.key, '--ca', acme.cert])
  assert.equal(r.code, 64)
  assert.match(r.err, /two files/)
  const i = identity('linked')
  fs.symlinkSync(i.agent, at('link.pem'))
  assert.equal((await baton(['renew', ...own({ ...i, agent: at('link.pem') }, f.addr)])).code, 64)
  assert.equal(f.seen.length, 0)
  const kept = readText(acme.cert)
  const e = await baton(['renew', ...own({ ...i, bundle: acme.cert }, f.addr)])
  assert.equal(e.code, 0, e.err)
  assert.match(e.err, /acme\.pem stays as it is/)
  assert.equal(readText(acme.cert), kept)
  assert.equal(readText(i.bundle), pem(der(acme.cert)))
  assert.equal((await baton(['renew', '--addr', f.addr])).code, 64)
})

test('R-3 renew --daemon renews when it is due, survives the broker, is one to a folder, and ends with 0 when it is told to', async () => {
  const f = new Fake({ mutual: true, Renew: (q) => answerOf(sign(q.csr_der, { to: 7200 })) })
  await f.start()
  f.stop()
  const i = identity('daemon', { from: -100, to: 50 })
  const first = certOf(i.agent).fingerprint256
  const d = begin(['renew', '--daemon', ...own(i, f.addr)])
  await until('a failure', () => /was not renewed: cannot connect .*; again in [3-5] s\n/.test(d.err))
  assert.equal(d.err.trim().split('\n').length, 1 + d.err.match(/was not renewed/g).length, 'a line for each')
  const second = await baton(['agent', 'renew', '--daemon', ...own(i, f.addr)]) // by its other name
  assert.equal(second.code, 75, second.err)
  assert.match(second.err, /another process renews/)
  await f.start()
  await until('a renewal', () => /is renewed: good until/.test(d.err), 15000)
  assert.notEqual(certOf(i.agent).fingerprint256, first)
  await sleep(500)
  assert.equal(f.calls('Renew').length, 1, 'the new one is not due')
  d.child.kill('SIGTERM')
  assert.equal((await d.done).code, 0, d.err)

  const hung = await new Fake({ mutual: true, Renew: () => null }).start()
  const j = identity('hung', { from: -100, to: 50 })
  const h = begin(['renew', '--daemon', ...own(j, hung.addr, '--timeout', '1h')])
  await until('a question', () => hung.calls('Renew').length)
  h.child.kill('SIGINT')
  assert.equal((await h.done).code, 0, 'also while it waits for an answer')
})

test('I-7 R-3 renew --daemon of an agent that is refused tries until its certificate has ended, then asks for a new token: 77', async () => {
  const f = await new Fake({ mutual: true, Renew: () => { throw refusal(grpc.status.PERMISSION_DENIED, 'quarantined', 'unknown_peer') } }).start()
  const i = identity('refused', { from: -60, to: 15 })
  const before = readText(i.agent)
  const d = await baton(['renew', '--daemon', ...own(i, f.addr)])
  assert.equal(d.code, 77, d.err)
  assert.match(d.err, /was not renewed: denied: unknown_peer: quarantined; again in/)
  assert.match(d.err, /has ended and was not renewed: ask for a new token/)
  assert.ok(f.calls('Renew').length >= 2, `${f.calls('Renew').length} tries`)
  assert.equal(readText(i.agent), before)
  for (const more of [['--daemon'], []]) {
    const ended = await baton(['renew', ...more, ...own(i, f.addr)])
    assert.equal(ended.code, 77)
    assert.match(ended.err, /has ended, 20.*new token/s)
  }
})

// ---- serve ----

// A broker with one task: handed out once, then resumed by whoever has its lease.
function oneTask () {
  const lease = { handoff_id: 'hf_000000000000000000000000', fencing_token: 1 }
  const s = { opens: [], settled: 0, delivered: false, released: 0 }
  s.Subscribe = (call) => {
    call.on('error', () => {})
    call.on('data', (f) => {
      if (f.open) {
        s.opens.push({ resume: f.open.resume, peer: call.getAuthContext().sslPeerCertificate.raw })
        call.write({ opened: { node: 'fake', max_in_flight: f.open.max_in_flight, resumed: f.open.resume } })
        if (!s.delivered && s.task) call.write({ delivery: { lease, envelope: { route: 'r', tool: 't', payload: Buffer.from('{}') }, attempt: 1, max_attempts: 3, lease_ms: 30000 } })
        s.delivered ||= s.task
      } else if (f.complete) {
        s.settled++
        s.settledBy = s.opens.length
        call.write({ settled: { lease: f.complete.lease, ok: true, state: 'HANDOFF_STATE_COMPLETED' } })
      } else if (f.release) {
        s.released++
      }
    })
  }
  return s
}
const serve = (i, f, script, ...more) => begin(['serve', '--renew', '--route', f instanceof Broker ? ROUTE : 'r', ...own(i, f.addr), ...more, '--', '/bin/sh', '-c', script])

test('R-3 serve --renew shows the new certificate at a quiet moment, without a word lost', async () => {
  const s = oneTask()
  const f = await new Fake({ mutual: true, Subscribe: s.Subscribe, Renew: (q) => answerOf(sign(q.csr_der, { to: 7200 })) }).start()
  const i = identity('quiet', { from: -200, to: 90 })
  const old = certOf(i.agent).raw
  const p = serve(i, f, 'cat', '--once')
  await until('a second connection', () => s.opens.length === 2)
  assert.deepEqual(s.opens[0].peer, old)
  assert.deepEqual(s.opens[1].peer, certOf(i.agent).raw)
  assert.notDeepEqual(s.opens[1].peer, old)
  await sleep(800)
  assert.equal(s.opens.length, 2)
  assert.equal(f.calls('Renew').length, 1)
  p.child.kill('SIGTERM')
  assert.equal((await p.done).code, 0, p.err)
})

test('R-3 serve --renew with work that never pauses: shortly before the old certificate ends it connects with the new one, resumes the lease, and the work is done once', async () => {
  const s = Object.assign(oneTask(), { task: true })
  const f = await new Fake({ mutual: true, Subscribe: s.Subscribe, Renew: (q) => answerOf(sign(q.csr_der, { to: 7200 })) }).start()
  const i = identity('busy', { from: -200, to: 25 })
  const p = serve(i, f, `echo begun >> ${at('begun')}; sleep 12; echo done`, '--once')
  await until('the renewal', () => f.calls('Renew').length === 1)
  await until('the work', () => readText(at('begun')))
  assert.equal(s.opens.length, 1, 'the old connection goes on')
  const end = await p.done
  assert.equal(end.code, 0, p.err)
  assert.equal(s.opens.length, 2)
  assert.deepEqual(s.opens[1].peer, certOf(i.agent).raw)
  assert.deepEqual(s.opens[1].resume.map((l) => l.fencing_token), [1])
  assert.deepEqual([s.settled, s.settledBy, s.released, readText(at('begun'))], [1, 2, 0, 'begun\n'])
})

test('I-7 R-3 serve --renew of an agent that is refused serves until its certificate has ended, then leaves: 77; beside a daemon it takes what that renewed', async () => {
  const s = oneTask()
  const f = await new Fake({ mutual: true, Subscribe: s.Subscribe, Renew: () => { throw refusal(grpc.status.PERMISSION_DENIED, 'quarantined', 'unknown_peer') } }).start()
  const p = await serve(identity('unwanted', { from: -30, to: 6 }), f, 'cat').done
  assert.equal(p.code, 77, p.err)
  assert.match(p.err, /ask for a new token/)

  f.answers.Renew = (q) => answerOf(sign(q.csr_der, { to: 7200 }))
  s.opens.length = f.seen.length = 0
  const i = identity('beside', { from: -100, to: 50 })
  const d = begin(['renew', '--daemon', ...own(i, f.addr)])
  await until('a renewal', () => /is renewed/.test(d.err))
  const beside = serve(i, f, 'cat')
  await until('it serves', () => s.opens.length === 1)
  assert.deepEqual(s.opens[0].peer, certOf(i.agent).raw)
  for (const one of [d, beside]) {
    one.child.kill('SIGTERM')
    assert.equal((await one.done).code, 0, one.err)
  }
  assert.equal(f.calls('Renew').length, 1)
})

test('R-3 serve --renew takes what somebody else renewed, and a real broker resumes the lease under the new certificate: the work is done once', async () => {
  const b = new Broker({ profiles: { [ROUTE]: profile(ROUTE, { delivery: { ...profile(ROUTE).delivery, lease_ms: 60000, resume_ms: 60000 } }) } })
  try {
    await b.start()
    const { spiffe } = b.leaves.worker
    const whose = { by: b.acme, sans: `URI:${spiffe}`, above: b.serverCa.cert }
    const i = identity('real', { ...whose, from: -27, to: 24 })
    const p = serve(i, b, `echo "begun $BATON_FENCE" >> ${at('real-begun')}; sleep 12; echo done`, '--once')
    await until('it serves', () => /serving on/.test(p.err))
    const planner = new Agent({ ...b.leaves.planner, trust: b.serverCa.cert }, b.addr, { token: await b.issuer.mint(b.leaves.planner) })
    const { handoff_id: id } = await planner.submit()
    await until('the work', () => readText(at('real-begun')))
    const next = identity('real-next', { ...whose, to: 3600 })
    fs.renameSync(next.agent, i.agent)
    await until('it knows', () => /is renewed/.test(p.err))
    fs.renameSync(identity('real-last', { ...whose, to: 7200 }).agent, i.agent) // it does not look again before it connects
    const end = await p.done
    assert.equal(end.code, 0, p.err)
    assert.match(p.err, /is renewed: good until.*connecting with the new certificate.*settled: completed/s)
    assert.equal(p.err.match(/connecting with/g).length, 1)
    assert.equal(readText(at('real-begun')).split('\n').length, 2, 'it was begun once')
    const done = await planner.get(id)
    assert.equal(done.state, 'HANDOFF_STATE_COMPLETED')
    assert.equal(done.attempt, 1)
  } finally {
    await b.remove()
  }
}, 60000)
