// How does an agent get a certificate from the broker itself? A token of an operator's, a request of its own, a certificate for hours, and the next one for that:
// with the keeper that holds the key, and all that is refused.
import fs from 'node:fs'
import path from 'node:path'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { X509Certificate, createHash } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, ROOT, ROUTE } from './lib/broker.js'
import { Agent, denied, read, refused, shutOut } from './lib/agent.js'
import { Platform, Stranger, install, pem } from './lib/enrolling.js'
import { Operator } from './lib/operator.js'
import { thumbprint } from './lib/pki.js'

const b = new Broker({ admin: true })
const p = new Platform(b)
let ca, local, root, stranger

before(async () => { ({ ca, local, root, stranger } = await p.open()) })
after(async () => { p.close(); await b.remove() })

const { made } = p
const spiffeOf = (name) => p.spiffe(name)
const register = (...args) => p.register(...args)
const resource = (name) => p.resource(name)
const change = (name, more) => p.change(name, more)
const tokenFor = (...args) => p.token(...args)
const csr = (...args) => p.csr(...args)
const agentOf = (...args) => p.agent(...args)
const works = (a) => p.works(a)
const patiently = (fn) => p.patiently(fn)
const enrolled = (name) => p.enrolled(name)

test('I-5 I-1 An agent that is registered enrols with a token and a request, and works with what it gets: one URI, hours, a critical name, and a chain to the root', async () => {
  await register('enid')
  const t = await tokenFor('enid', { ttl_s: 600 })
  assert.match(t.token, /^baton-enrol\.[\w-]{43}\.[\w-]{43}$/)
  assert.ok(Math.abs(Number(t.expires_at_ms) - Date.now() - 600000) < 30000)
  const { bundle_der } = await stranger.bundle()
  const digest = createHash('sha256').update(Buffer.concat(bundle_der)).digest()
  assert.equal(t.ca_sha256, digest.toString('hex'))
  assert.equal(t.token.split('.')[2], digest.toString('base64url'))
  const r = csr('enid')
  const answer = await stranger.enrol(t.token, r)
  const [leaf, issuer] = answer.chain_der.map((d) => new X509Certificate(d))
  assert.equal(leaf.subjectAltName, 'URI:spiffe://acme.example/enid')
  assert.ok(leaf.verify(issuer.publicKey))
  assert.ok(issuer.verify(new X509Certificate(fs.readFileSync(path.join(ca, 'bundle.pem'))).publicKey))
  const lives = Number(answer.expires_at_ms) - Date.now()
  assert.ok(lives > 3500e3 && lives <= 3600e3, `${lives}`)
  assert.ok(Math.abs(Number(answer.renew_at_ms) - Date.now() - 2400e3) < 30000)
  const a = await agentOf('enid', r.key, answer)
  await works(a)
  const said = await b.audited({ event: 'certificate.issued', rpc: 'Enrol', agent: 'enid' })
  assert.equal(said.tenant, 'acme')
  assert.ok(said.message.includes(a.thumbprint), said.message)
  assert.ok((await b.audited({ event: 'enrolment.token', agent: 'enid' })).roles.includes('platform'))
})

test('I-5 A token is good once: with another key, expired, cut short, changed, or after a newer one it is refused / asked again with the same key it is answered again', async () => {
  const { r, token, answer } = await enrolled('once')
  assert.equal(answer.chain_der.length, 2)
  assert.match((await denied(patiently(() => stranger.enrol(token, csr('thief'))), 'invalid_token', 'UNAUTHENTICATED')).message, /used with another key/)
  const again = await patiently(() => stranger.enrol(token, r))
  assert.notDeepEqual(again.chain_der[0], answer.chain_der[0])
  const flipped = token.slice(0, 30) + (token[30] === 'A' ? 'B' : 'A') + token.slice(31)
  for (const bad of ['', 'x', token.slice(0, -1), token + 'A', flipped, token.replace('baton', 'Baton'), `${'A'.repeat(12)}.${'A'.repeat(43)}.${'A'.repeat(43)}`]) {
    assert.match((await denied(stranger.enrol(bad, r), 'invalid_token')).message, /none of this broker's/)
  }
  await tokenFor('once')
  await denied(stranger.enrol(token, r), 'invalid_token')
})

test('I-5 attack 4: A request for another agent\'s name, for more than a name, with a broken signature, or for no good key, is refused, and costs the token nothing', async () => {
  await register('honest')
  const { token } = await tokenFor('honest')
  const refusedFor = async (der, words) => assert.match((await denied(stranger.enrol(token, der), 'malformed_envelope')).message, words)
  await refusedFor(csr('another', ['URI:spiffe://acme.example/planner']).der, /another URI/)
  await refusedFor(csr('two', ['URI:spiffe://acme.example/honest', 'URI:spiffe://acme.example/planner']).der, /2 URIs/)
  await refusedFor(csr('dns', ['URI:spiffe://acme.example/honest', 'DNS:localhost']).der, /another kind of name/)
  const good = csr('honest', ['URI:spiffe://acme.example/honest'])
  const broken = Buffer.from(good.der)
  broken[broken.length - 3] ^= 1
  await refusedFor(broken, /signature/)
  await refusedFor(Buffer.alloc(0), /csr_der/)
  await refusedFor(Buffer.alloc(16500, 0x30), /16384 bytes/)
  await denied(stranger.enrol(token, Buffer.alloc(17000, 0x30)), 'payload_too_large')
  execFileSync('openssl', ['req', '-new', '-newkey', 'rsa:1024', '-nodes', '-subj', '/', '-keyout', b.path('pki', 'weak.key'), '-outform', 'DER', '-out', b.path('pki', 'weak.der')], { stdio: 'pipe' })
  await refusedFor(fs.readFileSync(b.path('pki', 'weak.der')), /csr_der/)
  assert.ok((await stranger.enrol(token, good)).chain_der.length)
})

test('I-5 Nobody gets a token for an agent that is not there, not active or of another domain; nor does a token outlive its agent / released, it is good again', async () => {
  await denied(tokenFor('nobody'), 'not_found')
  await denied(root.call('CreateToken', {}), 'malformed_envelope')
  assert.match((await denied(tokenFor('enid', { ttl_s: 59 }), 'malformed_envelope')).message, /60 to 86400/)
  await denied(tokenFor('enid', { ttl_s: 86401 }), 'malformed_envelope')
  assert.match((await denied(root.call('CreateToken', { agent: { tenant: 'globex', name: 'gplanner' } }), 'wrong_state')).message, /trust domain acme\.example alone/)
  await register('later')
  const { token } = await tokenFor('later'), r = csr('later')
  await change('later', { status: 'AGENT_STATUS_QUARANTINED' })
  assert.match((await denied(tokenFor('later'), 'wrong_state')).message, /release it first/)
  assert.match((await denied(stranger.enrol(token, r), 'unknown_peer')).message, /not active/)
  await change('later', { status: 'AGENT_STATUS_ACTIVE' })
  await patiently(() => stranger.enrol(token, r))
  const { version } = await resource('later')
  await root.call('Delete', { ref: { kind: 'agent', tenant: 'acme', name: 'later' }, version, reason: 'a test' })
  await register('later') // of the same name, and another one
  assert.match((await denied(stranger.enrol(token, r), 'unknown_peer')).message, /another one by now/)
})

test('I-5 A-4 Who may make tokens: platform, for tenants that he sees / not an sre, not an agent, nobody on the port of those without a certificate', async () => {
  const sre = new Operator(b.adminAddr, b.person('sally')), owner = new Operator(b.adminAddr, b.person('tess'))
  made.push(sre, owner)
  await root.grant('sally', ['sre'], b.person('sally').spiffe)
  await root.grant('tess', ['platform'], b.person('tess').spiffe, { tenant: 'globex' })
  await denied(tokenFor('enid', {}, sre), 'role_denied')
  await denied(tokenFor('enid', {}, owner), 'not_found')
  await tokenFor('planner', {}, local) // of the configuration, and by the socket
  const agent = await b.agent('planner')
  const nobody = new Stranger(b, { addr: b.addr })
  made.push(nobody)
  assert.match((await refused(nobody.call('GetBundle', {}, 1500))).code, /UNAVAILABLE|DEADLINE_EXCEEDED/)
  for (const m of ['CreateToken', 'Enrol', 'GetBundle']) assert.equal((await refused(new Promise((yes, no) => agent.enrolment[m]({}, (e, r) => (e ? no(e) : yes(r)))))).code, 'UNIMPLEMENTED')
  for (const m of ['CreateToken', 'Renew']) assert.equal((await refused(stranger.call(m))).code, 'UNIMPLEMENTED')
  for (const m of ['Enrol', 'GetBundle', 'Renew']) assert.equal((await refused(root.call(m, {}, { service: 'EnrolService' }))).code, 'UNIMPLEMENTED')
  const health = new Operator(b.enrolAddr, b.person('root'))
  made.push(health)
  assert.equal((await refused(new Promise((yes, no) => health.health.Check({}, (e, r) => (e ? no(e) : yes(r)))))).code, 'UNIMPLEMENTED')
  await works(agent)
})

test('I-1 I-5 An agent renews by the certificate it has, for a key of its own choice / not for another name; its connection goes on, and the old certificate too', async () => {
  const { r, answer } = await enrolled('renate')
  const a = await agentOf('renate', r.key, answer)
  const next = csr('renate-2')
  const second = await a.renew(next.der)
  assert.equal(new X509Certificate(second.chain_der[0]).subjectAltName, 'URI:spiffe://acme.example/renate')
  assert.match((await denied(a.renew(csr('renate-3', ['URI:spiffe://acme.example/enid']).der), 'malformed_envelope')).message, /another URI/)
  await works(a)
  const young = await agentOf('renate', next.key, second)
  await works(young)
  await works(a)
  const said = await b.audited({ event: 'certificate.issued', rpc: 'Renew', agent: 'renate' })
  assert.equal(said.certificate_sha256, a.thumbprint)
  await change('renate', { status: 'AGENT_STATUS_QUARANTINED' })
  await denied(a.renew(csr('renate-4').der), 'unknown_peer')
})

test('I-7 R-3 attack 12: Who is revoked gets no certificate and renews none / as of a moment: a certificate of after it is good, one of before is not', async () => {
  const { r, token, answer } = await enrolled('revoked')
  const a = await agentOf('revoked', r.key, answer)
  await works(a)
  const { revocation_id } = await root.revoke({ agent: { tenant: 'acme', name: 'revoked' } })
  await denied(stranger.enrol(token, r), 'revoked')
  await root.lift(revocation_id)
  await sleep(1100)
  await root.revoke({ agent: { tenant: 'acme', name: 'revoked' }, issued_before_ms: Date.now() })
  await sleep(1100) // a certificate's times are seconds
  const fresh = await patiently(() => stranger.enrol(token, r))
  await works(await agentOf('revoked', r.key, fresh))
  const old = await agentOf('revoked', r.key, answer)
  await shutOut(() => old.submit(read(ROUTE)))
})

test('I-8 T3 attack 30: The token stands in no log, audit, metric or store; the key of the CA is the keeper\'s alone, who writes down each certificate', async () => {
  const { token, answer } = await enrolled('secretive')
  const secret = token.split('.')[1]
  for (const where of [b.log(), b.auditLines().join('\n'), (await b.http('/metrics')).body]) assert.ok(!where.includes(secret))
  await b.redis(async (r) => {
    for (const key of await r.call('KEYS', '*')) {
      const dump = await r.call('DUMP', key)
      assert.ok(!String(dump).includes(secret), String(key))
    }
  })
  const lines = fs.readFileSync(b.path('state', 'keeper', 'record.jsonl'), 'utf8').trim().split('\n').map((l) => JSON.parse(l))
  const sha256 = createHash('sha256').update(answer.chain_der[0]).digest('hex')
  assert.equal(lines.find((l) => l.sha256 === sha256)?.spiffe_id, spiffeOf('secretive'))
  assert.equal(fs.statSync(b.path('state', 'keeper', 'record.jsonl')).mode & 0o777, 0o600)
  const keeper = p.keeper()
  const own = b.process.pid
  const open = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length
  assert.ok(open(keeper) < 8 && open(own) > 8)
  const status = fs.readFileSync(`/proc/${keeper}/status`, 'utf8')
  assert.match(status, /^NoNewPrivs:\t1$/m)
  assert.match(status, /^Seccomp:\t2$/m)
  assert.equal(fs.readFileSync(`/proc/${keeper}/environ`, 'utf8').replaceAll('\0', ''), '')
})

test('R-3 I-7 What the broker issued can be put on the lists of its CA, by serial number or all of an agent, from the record of its keeper / others are good, and what nobody issued is said', async () => {
  const [one, two] = [await enrolled('listed'), await enrolled('unlisted')]
  const leaf = (x, name) => { const file = b.path(name); fs.writeFileSync(file, x.answer.chain_der.map(pem).join('')); return file }
  const files = [leaf(one, 'listed.pem'), leaf(two, 'unlisted.pem')]
  const record = b.path('state', 'keeper', 'record.jsonl')
  fs.copyFileSync(record, b.path('record'))
  fs.appendFileSync(b.path('record'), '{"at":"torn')
  const crl = (...args) => spawnSync(BATON, ['ca', 'crl', ca, '-o', 'json', ...args], { encoding: 'utf8' })
  assert.match(crl('--revoke', spiffeOf('listed')).stderr, /no certificate that is good .*--record FILE/)
  assert.match(crl('--revoke', spiffeOf('nobody'), '--record', b.path('record')).stderr, /nobody has no certificate/)
  assert.match(crl('--revoke', spiffeOf('listed'), '--record', b.path('none')).stderr, /cannot read .*none/)
  const r = crl('--revoke', spiffeOf('listed'), '--record', b.path('record'), '--out', b.path('copy.pem'))
  assert.equal(r.status, 0, r.stderr)
  assert.equal(JSON.parse(r.stdout).revoked, '1')
  const verify = (file) => spawnSync('openssl', ['verify', '-x509_strict', '-crl_check', '-CRLfile', b.path('copy.pem'), '-CAfile', `${ca}/bundle.pem`, '-untrusted', file, file], { encoding: 'utf8' })
  assert.match(verify(files[0]).stderr, /certificate revoked/)
  assert.equal(verify(files[1]).status, 0, verify(files[1]).stderr)
  const { serial } = fs.readFileSync(record, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l)).find((l) => l.spiffe_id === spiffeOf('unlisted'))
  assert.equal(crl('--revoke', serial, '--record', b.path('record'), '--out', b.path('copy.pem')).status, 0)
  assert.match(verify(files[1]).stderr, /certificate revoked/)
})

test('I-5 The intermediate is rotated while work goes on: the next certificate is of the new one, both are good, nothing is cut / a bad pair of files changes nothing', async () => {
  const { r, answer } = await enrolled('rosa')
  const a = await agentOf('rosa', r.key, answer)
  const issuerOf = (x) => createHash('sha256').update(x.chain_der[1]).digest('hex')
  fs.writeFileSync(b.path('issuing', 'ca.key'), 'nonsense', { mode: 0o600 })
  await b.reloaded()
  await until('the failure to be said', () => b.log().includes('keeper.reload_failed'))
  const second = await a.renew(csr('rosa-2').der)
  assert.equal(issuerOf(second), issuerOf(answer))
  execFileSync(BATON, ['ca', 'rotate', ca], { stdio: 'pipe' })
  install(b, ca)
  await b.reloaded()
  await until('the new intermediate', () => b.log().includes('issuing.reloaded'))
  const next = csr('rosa-3')
  const third = await a.renew(next.der)
  assert.notEqual(issuerOf(third), issuerOf(answer))
  await works(a)
  await works(await agentOf('rosa', next.key, third))
})

test('The commands of the README for enrolment do what they say', async () => {
  await register('planner2')
  const block = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8').match(/```sh\n(baton ca install[^`]*)```/)[1]
  const here = block.replaceAll('$BROKER:7445', b.enrolAddr).replaceAll('$BROKER:7443', b.addr).replace('--daemon &', '')
  const shell = spawn('bash', ['-ec', here], { cwd: b.dir, env: { PATH: `${path.dirname(BATON)}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}` } })
  let said = ''
  for (const s of [shell.stdout, shell.stderr]) s.on('data', (d) => { said += d })
  assert.equal(await new Promise((done) => shell.on('close', done)), 0, said)
  assert.ok(!fs.readFileSync(b.path('token'), 'utf8').includes('\n\n') && fs.statSync(b.path('token')).mode % 0o100 === 0)
  const cert = b.path('planner2', 'agent.pem')
  assert.equal(new X509Certificate(fs.readFileSync(cert, 'utf8').match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/)[0]).subjectAltName, 'URI:spiffe://acme.example/planner2')
  const leaf = { name: 'planner2', tenant: 'acme', cert, key: cert, trust: b.path('planner2', 'bundle.pem'), thumbprint: thumbprint(cert) }
  const a = new Agent(leaf, b.addr, { token: await b.issuer.mint(leaf) })
  made.push(a)
  await works(a)
  assert.equal(b.audit().filter((r) => r.event === 'certificate.issued' && r.agent === 'planner2').map((r) => r.rpc).join(), 'Enrol,Renew')
})

test('O-1 Strangers cannot fill the audit: of what they are refused a bounded part is written down, all of it is counted / an honest one still gets in', async () => {
  await register('patient')
  const { token } = await tokenFor('patient'), fresh = p.keep(new Stranger(b)) // a minute is all that a connection has
  const lines = () => b.auditLines().length
  const n = lines()
  const many = 600
  for (let i = 0; i < many; i += 50) await Promise.all(Array.from({ length: 50 }, () => refused(fresh.enrol('baton-enrol.x', Buffer.alloc(10)))))
  assert.ok(lines() - n < 300, `${lines() - n} lines`)
  const counted = (await b.http('/metrics')).body.match(/^baton_decisions_total\{[^}]*reason="invalid_token"[^}]*\} (\d+)$/m)
  assert.ok(Number(counted?.[1]) >= many, counted?.[0])
  assert.ok((await fresh.enrol(token, csr('patient'))).chain_der.length)
})

test('I-5 When the keeper has ended the node says so and ends / started again, it issues', async () => {
  const { r, answer } = await enrolled('kim')
  const over = new Promise((done) => b.process.on('exit', done))
  process.kill(p.keeper(), 'SIGKILL')
  assert.equal(await over, 1)
  assert.ok(b.log().includes('keeper.lost'))
  b.process = null
  await b.start()
  assert.match((await b.http('/metrics')).body, /^baton_keeper_up 1$/m)
  await works(await agentOf('kim', r.key, answer))
  const back = await agentOf('kim', r.key, answer)
  await until('a certificate', () => back.renew(csr('kim-3').der))
})

test('I-5 When the registry has all names but those that are kept for revocations, no enrolment token and no drain takes one of these / who has to be revoked still is, and an agent that had a token gets another', async () => {
  await register('first')
  await register('second')
  await tokenFor('first')
  await b.redis(async (r) => {
    const taken = Number(await r.call('HLEN', '{/}:s')), g = Number((await r.call('HGET', '{/}:m', 'g')).toString())
    const made = []
    for (let i = 1; i <= 61440 - taken; i++) { // by whoever filled it: what does not open is a name all the same
      const head = Buffer.alloc(19)
      head.writeUIntBE(1, 0, 6)
      head.writeUIntBE(g + i, 6, 6)
      made.push(['HSET', '{/}:s', `agent/junk/n${i}`, head], ['ZADD', '{/}:z', g + i, `agent/junk/n${i}`])
    }
    await Promise.all(made.map((m) => r.call(...m)))
    await r.call('HSET', '{/}:m', 'g', g + 61440 - taken)
  })
  const tenant = { resources: [{ tenant: { name: 'one-more' } }], dry_run: true, reason: 'x' }
  await until('the node to have heard of all names', () => root.call('Apply', tenant).then(() => false, (e) => /registry is full/.test(e.details) || Promise.reject(e)), 120000)
  assert.match((await denied(tokenFor('second'), 'quota_exceeded')).message, /the registry is full: .* 4,096 are kept for revocations/)
  assert.match((await denied(root.call('Drain', { node: 'test-node', last: true, reason: 'x' }), 'quota_exceeded')).message, /the registry is full/)
  await tokenFor('first')
  assert.equal((await root.revoke({ agent: { kind: 'agent', tenant: 'acme', name: 'second' } })).nodes_missing, 0)
}, 180000)
