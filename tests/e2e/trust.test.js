// Whose signatures vouch for which certificates? Trust bundles that are added, changed and removed while the broker runs, as files and by calls.
import fs from 'node:fs'
import net from 'node:net'
import { spawn, spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, BUILD, ROOT, ROUTE, profile } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Agent, denied, read, refused } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { Operator } from './lib/operator.js'
import { F, PREFACE, Raw, T, frame, headers, identity, message, settings } from './lib/rawh2.js'
import { STATIC_ISSUER, StaticIssuer } from './lib/tokens.js'

const DOMAIN = 'umbrella.example'
const b = new Broker({ admin: true })
const made = []
let local, root, old, young

before(async () => {
  await b.start()
  local = new Operator(b.adminSocket)
  made.push(local)
  await local.init(b.person('root').spiffe)
  root = new Operator(b.adminAddr, b.person('root'))
  made.push(root)
  old = new Ca(b.path('pki'), 'umbrella-old', { uri: `spiffe://${DOMAIN}` })
  young = new Ca(b.path('pki'), 'umbrella-young', { uri: `spiffe://${DOMAIN}` })
})
after(async () => { for (const o of made) o.close(); await b.remove() })

const baton = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
const says = (...args) => { const r = baton(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }
const der = (...cas) => cas.map((c) => new X509Certificate(fs.readFileSync(c.cert)).raw)
const apply = (op, bundle, version = '') => op.call('Apply', { resources: [{ version, bundle }], reason: 'a test' })
const resource = (name = DOMAIN) => local.call('Get', { kind: 'trust', name })
const remove = async (op, name = DOMAIN) => op.call('Delete', { ref: { kind: 'trust', name }, version: (await resource(name)).version, reason: 'a test' })
const register = (name, more = {}) => local.call('Apply', { resources: [{ agent: { tenant: 'acme', name, spiffe_id: `spiffe://${DOMAIN}/${name}`, owner: 'team-u', may_call: [ROUTE], may_originate: true, ...more } }], reason: 'a test' })

// An agent with a certificate of this CA. Its connection is its own.
async function agentOf (ca, name, file = `${ca.name}-${name}`) {
  const leaf = { ...ca.leaf(file, { sans: [`URI:spiffe://${DOMAIN}/${name}`] }), name, tenant: 'acme', trust: b.serverCa.cert }
  const a = new Agent(leaf, b.addr, { token: await b.issuer.mint(leaf) })
  made.push(a)
  return a
}
const works = async (a) => assert.ok((await a.submit(read(ROUTE))).handoff_id)
const shut = async (a) => assert.match(`${(await refused(a.submit(read(ROUTE), { timeout: 1500 }))).code}`, /UNAVAILABLE|DEADLINE_EXCEEDED/)
const closed = async (a, label) => { await until('the connection to close', () => a.client.getChannel().getConnectivityState(false) !== 2); await until(`the metric ${label}`, async () => (await b.http('/metrics')).body.includes(label)) }

test('I-5 A trust domain that is added counts at once: its agents come in and work / before, and once it is removed, they are refused, and their connections close', async () => {
  const before = await agentOf(old, 'ula', 'too-early')
  await shut(before)
  assert.match((await denied(register('ula'), 'not_found')).message, /agent\.spiffe_id: nobody vouches for trust domain umbrella\.example: add its bundle by baton trust add/)
  assert.match(says('trust', 'add', DOMAIN, '--bundle', old.cert, '--reason', 'they joined'), /^umbrella\.example added$/m)
  await b.audited({ event: 'trust.changed', rpc: 'Apply' })
  await register('ula')
  const ula = await agentOf(old, 'ula')
  await works(ula)
  assert.match(says('trust', 'list'), /^acme\.example +1 +no CRL +static$.*^umbrella\.example +1 +no CRL +1$/ms)
  assert.match(says('trust', 'show', DOMAIN), new RegExp(`^anchors: +1$.*^anchor: +CN = umbrella-old, until .*, x5t#S256 ${'[\\w-]{43}'}$.*^reason: +they joined$`, 'ms'))
  assert.match(says('trust', 'show', 'acme.example'), /^version: +static/m)
  const planner = await b.agent('planner')
  await works(planner)
  assert.match(says('trust', 'remove', DOMAIN, '--yes', '--reason', 'they left'), /^umbrella\.example removed$/m)
  await closed(ula, 'certificate:unknown_trust_domain')
  await shut(ula)
  await works(planner) // nobody else is cut
  assert.match(says('trust', 'history', DOMAIN), /^2 .* removed .*they left$.*^1 .*they joined$/ms)
})

// Between a TLS 1.3 client and the broker: passes on what the client sends up to its CertificateVerify, and all else once it is let go.
async function behindItsCertificate () {
  const held = { rest: Buffer.alloc(0), passed: 0 }
  const server = net.createServer((s) => {
    held.up = net.connect({ host: '127.0.0.1', port: b.port })
    held.up.on('data', (d) => s.write(d)).on('error', () => {}).on('close', () => s.destroy())
    s.on('error', () => {}).on('close', () => held.up.destroy())
    s.on('data', (d) => {
      held.rest = Buffer.concat([held.rest, d])
      while (held.passed < 2 && held.rest.length >= 5 && held.rest.length >= 5 + held.rest.readUInt16BE(3)) { // a record; those of type 23 are encrypted (RFC 8446 §5.2)
        const n = 5 + held.rest.readUInt16BE(3)
        held.passed += held.rest[0] === 23
        held.up.write(held.rest.subarray(0, n))
        held.rest = held.rest.subarray(n)
      }
    })
  })
  await new Promise((yes) => server.listen(0, '127.0.0.1', yes))
  return Object.assign(held, { port: server.address().port, letGo: () => held.up.write(held.rest), close: () => server.close() })
}

test('I-5 attack 12 Who holds back the end of his handshake until nobody vouches for him any more gets no answer to what he sends right behind it / another, as slow, does', async () => {
  says('trust', 'add', DOMAIN, '--bundle', old.cert, '--reason', 'x')
  const ula = await agentOf(old, 'ula', 'slow'), planner = await b.agent('planner'), slow = []
  for (const a of [ula, planner]) {
    const held = await behindItsCertificate(), raw = new Raw(identity(b, a, undefined, held.port))
    assert.ok(await raw.open)
    const before = held.rest.length
    raw.write(PREFACE, settings(), frame(T.HEADERS, F.END_HEADERS, 1, headers({ authorization: `Bearer ${a.token}` })), frame(T.DATA, F.END_STREAM, 1, message(Buffer.alloc(0))))
    await until('all of it to be held', () => held.passed === 2 && held.rest.length > before)
    slow.push({ held, raw })
  }
  await sleep(300) // each certificate is judged, and found good
  await remove(local)
  for (const { held } of slow) held.letGo()
  const [{ raw: shutOut }, { raw: served }] = slow
  assert.equal((await served.answer(1))['grpc-status'], '0')
  await shutOut.ended()
  assert.ok(!shutOut.frames.some((f) => f.type === T.HEADERS))
  for (const { held, raw } of slow) { raw.close(); held.close() }
})

test('I-5 A CA is replaced without a gap: while both are in the bundle both count / once the old one is out its connections close, the new one\'s stay', async () => {
  says('trust', 'add', DOMAIN, '--bundle', old.cert, '--reason', 'x')
  const first = await agentOf(old, 'ula', 'first')
  await works(first)
  const both = b.path('both.pem')
  fs.writeFileSync(both, `# both\n${fs.readFileSync(old.cert)}\n${fs.readFileSync(young.cert)}`)
  assert.match(says('trust', 'add', DOMAIN, '--bundle', both, '--reason', 'rotation'), /^ {2}anchors_der: sha256:\w{32} -> sha256:\w{32}, sha256:\w{32}$/m)
  const second = await agentOf(young, 'ula', 'second')
  await works(first)
  await works(second)
  says('trust', 'add', DOMAIN, '--bundle', young.cert, '--reason', 'rotation is over')
  await closed(first, 'certificate:untrusted_chain')
  await shut(first)
  await works(second)
  assert.equal(second.client.getChannel().getConnectivityState(false), 2)
})

test('I-5 I-7 attack 12 A CRL in the bundle: who is on it is cut and refused, others stay / one that is out of date refuses the domain, and /readyz says so', async () => {
  const file = b.path('umbrella.crl')
  const bad = await agentOf(young, 'ula', 'bad'), good = await agentOf(young, 'ula', 'good')
  await works(bad)
  await works(good)
  young.crl(file, [bad])
  says('trust', 'add', DOMAIN, '--crl', file, '--reason', 'one was stolen')
  await closed(bad, 'certificate:revoked')
  await shut(bad)
  await works(good)
  assert.match(says('trust', 'list', '--utc'), /^umbrella\.example +1 +20\d\d-\S+ +\d+$/m)
  young.crl(file, [], { stale: true })
  says('trust', 'add', DOMAIN, '--crl', file, '--reason', 'an old one')
  await closed(good, 'certificate:crl_stale')
  await until('/readyz', async () => (await b.http('/readyz')).body.includes(`the CRL of ${DOMAIN} is out of date`))
  young.crl(file, [])
  says('trust', 'add', DOMAIN, '--crl', file, '--reason', 'a new one')
  await works(good)
})

test('I-5 The CA of one domain does not vouch for another, whichever came first', async () => {
  const leaf = { ...young.leaf('thief', { sans: ['URI:spiffe://acme.example/planner'] }), name: 'planner', tenant: 'acme', trust: b.serverCa.cert }
  const thief = new Agent(leaf, b.addr, { token: await b.issuer.mint(leaf) })
  made.push(thief)
  await shut(thief)
  await works(await agentOf(young, 'ula', 'honest'))
})

test('attack 24 What may not stand in a bundle is refused by its field, and nothing is kept / the same without the fault is taken', async () => {
  const good = { trust_domain: 'good.example', anchors_der: der(young) }
  const leaf = b.acme.leaf('no-ca', { sans: ['URI:spiffe://good.example/x'] })
  const bad = [
    ['trust_domain', { trust_domain: '' }], ['trust_domain', { trust_domain: 'Good.example' }], ['trust_domain', { trust_domain: 'good.example/x' }], ['trust_domain', { trust_domain: '*' }],
    ['trust_domain', { trust_domain: 'gооd.example' }], ['trust_domain', { trust_domain: `${'a'.repeat(256)}` }], ['trust_domain', { trust_domain: 'a\r\nb' }],
    ['trust_domain', { trust_domain: 'acme.example' }], ['anchors_der', { anchors_der: [] }], ['anchors_der', { anchors_der: [Buffer.from('x')] }], ['anchors_der', { anchors_der: [Buffer.concat([der(young)[0], Buffer.from('x')])] }],
    ['anchors_der', { anchors_der: der(leaf) }], ['anchors_der', { anchors_der: Array.from({ length: 257 }, () => der(young)[0]) }], ['anchors_der', { crls_der: [Buffer.from('x')] }],
    ['anchors_der', { crls_der: [Buffer.alloc(300000)] }]
  ]
  for (const [field, change] of bad) {
    const { message } = await refused(apply(local, { ...good, ...change }))
    assert.match(message, new RegExp(`resources(\\[0\\])?\\.bundle\\.${field}: `))
  }
  assert.equal((await refused(resource('good.example'))).code, 'NOT_FOUND')
  await apply(local, good)
  await remove(local, 'good.example')
  const file = b.path('with-key.pem')
  fs.writeFileSync(file, `${fs.readFileSync(young.cert)}${fs.readFileSync(young.key)}`)
  const r = baton('trust', 'add', 'good.example', '--bundle', file, '--reason', 'x')
  assert.deepEqual([r.status, /block 2 is no CERTIFICATE/.test(r.stderr)], [65, true])
  assert.equal(baton('trust', 'add', 'good.example', '--bundle', b.path('nothing'), '--reason', 'x').status, 66)
  assert.equal(baton('trust', 'add', 'good.example', '--reason', 'x').status, 64)
})

test('T5 Who has not the roles of a binding may not say who vouches for its certificate, nor may the admin socket / who has them may', async () => {
  await root.grant('platform-only', ['platform'], b.person('pia').spiffe)
  const pia = new Operator(b.adminAddr, b.person('pia'))
  made.push(pia)
  await apply(pia, { trust_domain: 'ops.example', anchors_der: der(young) })
  await root.grant('by-cert', ['sre'], 'spiffe://ops.example/ana')
  const { bundle, version } = await resource('ops.example')
  const evil = { ...bundle, anchors_der: der(old) }
  for (const op of [pia, local]) {
    assert.match((await denied(apply(op, evil, version), 'role_denied')).message, /has not sre for all tenants \(role binding by-cert\)/)
    await denied(remove(op, 'ops.example'), 'role_denied')
  }
  await apply(root, evil, version)
  await remove(root, 'ops.example')
  await denied(apply(pia, { trust_domain: 'ops.example', anchors_der: der(old) }), 'role_denied')
  await root.ungrant('by-cert')
})

test('attack 17 More bundles than there may be are not made, at once or one after the other; no node stops, all others count, and they can be removed', async () => {
  const many = (n) => Array.from({ length: 16 }, (_, i) => ({ bundle: { trust_domain: `many-${n}-${i}.example`, anchors_der: der(young) } }))
  const make = () => Promise.allSettled(Array.from({ length: 12 }, (_, n) => local.call('Apply', { resources: many(n), reason: 'too many' }, { timeout: 20000 })))
  const there = async () => (await local.call('List', { kind: 'trust', page_size: 200 })).resources.length
  const done = await make()
  const won = done.filter((d) => d.status === 'fulfilled').length
  assert.ok(won >= 1 && won < 8, `${won}: of those that are judged at once, one`)
  for (const d of done) if (d.status === 'rejected') assert.match(d.reason.details, /somebody else changed|as many trust bundles/)
  for (let n = 0; n < 12; n++) await local.call('Apply', { resources: many(n), reason: 'one after the other' }).catch(() => {})
  assert.ok(await there() > 100 && await there() <= 128, `${await there()}`)
  await works(await agentOf(young, 'ula', 'beside-many'))
  assert.equal((await b.http('/readyz')).status, 200)
  assert.match((await refused(local.call('Apply', { resources: many('x'), reason: 'too many' }))).message, /as many trust bundles as there may be: 128/)
  await b.stop()
  await b.start()
  await works(await agentOf(young, 'ula', 'after-many'))
  let next = ''
  do {
    const page = await local.call('List', { kind: 'trust', page_size: 200, page_token: next })
    for (const r of page.resources) if (r.bundle.trust_domain.startsWith('many-')) await remove(local, r.bundle.trust_domain)
    next = page.next_page_token
  } while (next)
}, 120000)

test('B1 Bundles are for all tenants: who has his roles for one sees none, and changes none', async () => {
  await root.grant('of-acme', ['platform', 'auditor'], b.person('aca').spiffe, { tenant: 'acme' })
  const aca = new Operator(b.adminAddr, b.person('aca'))
  made.push(aca)
  for (const call of [['List', { kind: 'trust' }], ['Get', { kind: 'trust', name: DOMAIN }], ['History', { kind: 'trust', name: DOMAIN }]]) await denied(aca.call(...call), 'role_denied')
  await denied(apply(aca, { trust_domain: 'mine.example', anchors_der: der(young) }), 'role_denied')
})

test('The commands of the README do what it says', () => {
  const block = fs.readFileSync(`${ROOT}/README.md`, 'utf8').match(/```sh\n(baton trust add[^`]*)```/)[1]
  fs.copyFileSync(young.cert, b.path('umbrella-ca.pem'))
  says('trust', 'remove', DOMAIN, '--yes', '--reason', 'for the README')
  const r = spawnSync('sh', ['-ec', block], { encoding: 'utf8', cwd: b.dir, env: { PATH: `${BUILD}:${process.env.PATH}`, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
  assert.equal(r.status, 0, r.stderr)
  for (const line of [/^umbrella\.example added$/m, /^umbrella added$/m, /^umbrella +https:\/\/login\.umbrella\.example +acme +0/m]) assert.match(r.stdout, line)
  says('issuer', 'remove', 'umbrella', '--yes', '--reason', 'x')
})

test('Several nodes: what is added and removed on one holds on each when the command says so / one that was stopped meanwhile lets in nobody whom it should not', async () => {
  const LIVE = 'https://live.issuer.example'
  const cluster = new Cluster(2, { profiles: { [ROUTE]: profile(ROUTE, {}, [STATIC_ISSUER, LIVE]) } })
  const tool = (...args) => new Promise((done) => { // the proxies to Redis live in this process: it must not wait
    const p = spawn(BATON, args, { env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${cluster.first.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
    const r = { out: '' }
    for (const k of ['stdout', 'stderr']) p[k].on('data', (d) => { r.out += d })
    p.on('close', (status) => done({ ...r, status }))
  })
  const true2 = async (...args) => { const r = await tool(...args); assert.equal(r.status, 0, r.out); assert.match(r.out, /true on 2\/2 nodes/) }
  const mine = []
  try {
    await cluster.start()
    const two = cluster.nodes[1], live = await new StaticIssuer(b.path('cluster.jwks'), LIVE).make({ es: 'ES256' })
    const agent = async (file) => {
      const leaf = { ...old.leaf(file, { sans: [`URI:spiffe://${DOMAIN}/ula`] }), name: 'ula', tenant: 'acme', trust: two.serverCa.cert }
      const a = new Agent(leaf, two.addr, { token: await live.mint(leaf) })
      mine.push(a)
      return a
    }
    await true2('trust', 'add', DOMAIN, '--bundle', old.cert, '--reason', 'x')
    await true2('agent', 'register', 'ula', '--tenant', 'acme', '--id', `spiffe://${DOMAIN}/ula`, '--owner', 'x', '--call', ROUTE, '--reason', 'x')
    const ula = await agent('on-two')
    await denied(ula.submit(read(ROUTE)), 'wrong_issuer')
    await true2('issuer', 'add', 'live', '--url', LIVE, '--tenant', 'acme', '--jwks', live.file, '--reason', 'x')
    await works(ula)
    await true2('issuer', 'remove', 'live', '--yes', '--reason', 'x')
    await denied(ula.submit(read(ROUTE)), 'wrong_issuer')
    await true2('issuer', 'add', 'live', '--url', LIVE, '--tenant', 'acme', '--jwks', live.file, '--reason', 'x')
    two.signal('SIGSTOP')
    const r = await tool('trust', 'remove', DOMAIN, '--yes', '--reason', 'they left')
    assert.deepEqual([r.status, /Node-1 has not confirmed it/.test(r.out)], [75, true], r.out)
    await sleep(6000) // its lease of 10 s runs out meanwhile
    two.signal('SIGCONT')
    const after = await refused(ula.submit(read(ROUTE), { timeout: 3000 }))
    assert.ok(after.reason === 'store_unavailable' || ['UNAVAILABLE', 'DEADLINE_EXCEEDED'].includes(after.code), `${after.code} ${after.message}`)
    await until('the other node to refuse the handshake', async () => (await two.http('/metrics')).body.includes('unknown_trust_domain'), 15000)
    await shut(await agent('on-two-again'))
  } finally {
    for (const a of mine) a.close()
    await cluster.remove()
  }
}, 120000)

// ---- as files ----

test('One file brings a trust domain, an issuer and an agent, in whatever order they stand; diff says what it would change / what export gives, apply takes back unchanged', async () => {
  const { jwks } = await pair()
  const file = b.path('all.yaml')
  const pem = fs.readFileSync(old.cert, 'utf8').trim().replaceAll('\n', '\n    ')
  fs.writeFileSync(file, `kind: agent
tenant: acme
name: fay
spiffe_id: spiffe://file.example/fay
owner: team-f
may_call: [${ROUTE}]
---
kind: issuer
name: filed
url: https://filed.example
tenants: [acme]
max_lifetime_s: 600
jwks: '${JSON.stringify(jwks)}'
---
kind: trust
trust_domain: file.example
anchors:
  - >-
    ${pem}
`)
  const differs = baton('diff', '-f', file)
  assert.equal(differs.status, 1, differs.stderr)
  assert.match(differs.stdout, /^\+jwks: sha256:\w{16}$/m)
  assert.match(says('apply', '-f', file, '--reason', 'x', '--dry-run'), /added \(dry run\)/)
  assert.equal(says('apply', '-f', file, '--reason', 'from a file'), 'agent/acme/fay registered\nissuer/filed added\ntrust/file.example added\n')
  assert.equal(baton('diff', '-f', file).status, 0)
  const back = b.path('back.yaml')
  fs.writeFileSync(back, says('export'))
  for (const line of [/^kind: issuer$/m, /^kind: trust$/m, /^trust_domain: "file\.example"$/m]) assert.match(fs.readFileSync(back, 'utf8'), line)
  assert.equal(baton('diff', '-f', back).status, 0)
  assert.match(says('apply', '-f', back, '--reason', 'x'), /^trust\/file\.example unchanged$/m)
  assert.doesNotMatch(says('export', '--tenant', 'acme'), /kind: trust/)
  fs.writeFileSync(file, 'kind: trust\ntrust_domain: acme.example\nanchors: []\n')
  assert.match(baton('apply', '-f', file, '--reason', 'x').stderr, /all\.yaml:1:1: trust\/acme\.example: it is static/)
  fs.writeFileSync(file, 'kind: trust\ntrust_domain: bad.example\nanchors: [AAEC]\n')
  assert.match(baton('apply', '-f', file, '--reason', 'x').stderr, /all\.yaml:3:1: trust\/bad\.example: anchors_der: .*certificate 1 cannot be read/)
})

async function pair () {
  const jose = await import('jose')
  const { publicKey } = await jose.generateKeyPair('ES256', { extractable: true })
  return { jwks: { keys: [{ ...(await jose.exportJWK(publicKey)), kid: 'f', alg: 'ES256', use: 'sig' }] } }
}

test('attack 17 A configuration that has a registered trust domain too is refused by its name / after a restart without it, all is as it was', async () => {
  const again = (t) => t.replace('  trust:\n', `  trust:\n    - {domain: ${DOMAIN}, bundle: "${old.cert}"}\n`)
  b.writeConfig(again)
  assert.match(await b.reloaded('deny'), /registered trust\/umbrella\.example: its trust domain stands in the configuration file/)
  b.writeConfig()
  await b.stop()
  await b.start()
  await works(await agentOf(young, 'ula', 'after'))
  await shut(await agentOf(old, 'ula', 'after-old'))
})
