// Is a certificate of a registered trust bundle still good? Its OCSP responder is named while nodes run: it is asked at once, by all of them, and by nobody when it is taken out.
import fs from 'node:fs'
import { execFile } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, LEFT_BEHIND } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Agent, read, refused as fails, shutOut } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { Operator } from './lib/operator.js'
import { Before, Responder, withoutNonce } from './lib/responder.js'

const q = JSON.stringify
const DOMAIN = 'umbrella.example'
const once = { 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 }
let allowed = false, configured = ''
const b = new Broker({
  admin: true,
  config: (t) => t.replace(/(domain: acme\.example, bundle: [^}]*)}/, (_, head) => `${head}${configured}}`) + (allowed ? 'registry: {allow_private_fetches: true}\n' : '') + LEFT_BEHIND
})
let responder, umbrella, op

// Not spawnSync: what stands before a responder is served by this process.
const tool = (socket) => (...args) => new Promise((done) => execFile(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${socket}`, ASAN_OPTIONS: 'exitcode=99' } },
  (e, stdout, stderr) => done({ status: e ? e.code : 0, stdout, stderr })))
const asks = (...args) => tool(b.adminSocket)(...args)
const says = async (...args) => { const r = await asks(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }
const add = (...flags) => says('trust', 'add', DOMAIN, ...flags, '--reason', 'a test')
const show = () => says('trust', 'show', DOMAIN)
async function reload () { b.writeConfig(); await b.reloaded() }
// As if the responder had not been named before: nothing is known.
async function ask (...flags) { await add('--ocsp-url', ''); await add('--ocsp-url', responder.url, ...flags) }

before(async () => {
  await b.prepare()
  umbrella = new Ca(b.path('pki'), 'umbrella', { uri: `spiffe://${DOMAIN}` })
  responder = new Responder(b.path('pki'), umbrella)
  await responder.start()
  b.writeConfig()
  await b.start()
  op = new Operator(b.adminSocket)
  await op.init(b.person('root').spiffe)
  await add('--bundle', umbrella.cert)
  await says('agent', 'register', 'ula', '--tenant', 'acme', '--id', `spiffe://${DOMAIN}/ula`, '--owner', 'x', '--call', ROUTE, '--reason', 'x')
})
after(async () => { op.close(); await b.remove(); await responder.stop() })

let n = 0
function leaf (status, r = responder, id = `spiffe://${DOMAIN}/ula`) {
  const l = r.ca.leaf(`live-${++n}`, { sans: [`URI:${id}`] })
  r.says(l, status)
  return l
}
async function as (l, name = 'ula', addr = b.addr, node = b) {
  const full = { ...l, name, tenant: 'acme', trust: node.serverCa.cert }
  const a = new Agent(full, addr, { token: await node.issuer.mint(full), options: once })
  b.made ||= []
  b.made.push(a)
  return a
}
const submit = (a) => a.submit(read(ROUTE), { timeout: 15000 })
const works = async (a) => assert.ok((await submit(a)).handoff_id)
const serves = async (l, name) => { const a = await as(l, name); await works(a); return a }
const refused = (l, reason, name) => shutOut(async () => { const a = await as(l, name); try { return await submit(a) } finally { a.close() } }, reason)
const gone = (a) => until('the connection to close', () => a.client.getChannel().getConnectivityState(false) !== 2, 20000)
const stays = (a) => assert.equal(a.client.getChannel().getConnectivityState(false), 2)
const let_in = (l) => until('it to be let in', async () => { const a = await as(l); try { await works(a); return true } catch { return false } finally { a.close() } }, 70000)

test('SSRF: a responder that is registered makes no node connect to a private address, unless its configuration allows it, and to a metadata address never: nobody of the domain is let in meanwhile', async () => {
  const trap = await new Before(responder).start()
  const l = leaf('good')
  const mine = await serves(l)
  await add('--ocsp-url', trap.url)
  await gone(mine)
  await refused(l, 'status_unavailable')
  await until('the reason', async () => /^no answer: +http:\/\/127\.0\.0\.1:\d+: the address is not allowed/m.test(await show()))
  assert.equal(trap.seen, 0)
  allowed = true
  await reload()
  await let_in(l)
  assert.ok(trap.seen > 0)
  assert.doesNotMatch(await show(), /no answer/)
  await add('--ocsp-url', 'http://169.254.169.254/latest')
  await refused(l, 'status_unavailable')
  await until('the reason', async () => /^no answer: +http:\/\/169\.254\.169\.254\/latest: the address is not allowed/m.test(await show()))
  allowed = false // what was allowed is so no more
  await add('--ocsp-url', trap.url)
  await reload()
  const seen = trap.seen
  await refused(leaf('good'), 'status_unavailable')
  assert.equal(trap.seen, seen)
  allowed = true
  await reload()
  await trap.stop()
}, 120000)

test('I-7 R-3 The responder of a registered bundle is asked, without a restart: who is good works, who is revoked, then or later, is refused and cut off, with the reason / the neighbour stays', async () => {
  await ask('--ocsp-max-age', '4s')
  const theirs = leaf('good'), mine = leaf('good')
  const [other, neighbour] = [await serves(theirs), await serves(mine)]
  assert.match((await refused(leaf('revoked'), 'revoked')).message, /OCSP responder/)
  await refused(leaf(undefined), 'unknown_peer')
  responder.says(theirs, 'revoked')
  await gone(other)
  await refused(theirs, 'revoked')
  stays(neighbour)
  await works(neighbour)
  await b.audited({ event: 'ocsp.revoked', outcome: 'deny', reason: 'revoked', certificate_sha256: theirs.thumbprint })
})

test('I-7 A registered responder is gone: nobody new is let in, and who is there goes on until the answer runs out, by its stale rule so long after / when it is back all are let in', async () => {
  await ask('--ocsp-max-age', '3s')
  const known = leaf('good'), mine = await serves(known)
  const [late, later] = [leaf('good'), leaf('good')]
  await responder.stop()
  await refused(late, 'status_unavailable')
  await gone(mine)
  await refused(known, 'status_unavailable')
  await responder.start()
  await let_in(known)
  await ask('--ocsp-max-age', '3s', '--ocsp-stale', '6s')
  const again = await serves(known)
  const begun = Date.now()
  await responder.stop()
  await refused(later, 'status_unavailable')
  while (Date.now() - begun < 5000) { await works(again); await sleep(500) }
  await gone(again)
  await refused(known, 'status_unavailable')
  await responder.start()
  await let_in(later)
}, 120000)

test('I-7 The configuration has a responder for one domain, the registry for another: each is asked about the certificates of its own domain alone', async () => {
  const own = new Responder(b.path('pki'), b.acme)
  await own.start()
  try {
    configured = `, ocsp: {url: ${q(own.url)}, allow_private: true}`
    await reload()
    await ask()
    const planner = (status) => leaf(status, own, 'spiffe://acme.example/planner')
    const [mine, bad, theirs, worse] = [planner('good'), planner('revoked'), leaf('good'), leaf('revoked')]
    const all = [await serves(mine, 'planner'), await serves(theirs)]
    await refused(bad, 'revoked', 'planner')
    await refused(worse, 'revoked')
    assert.deepEqual([own.asked(mine), own.asked(theirs), responder.asked(theirs), responder.asked(mine)], [1, 0, 1, 0])
    await own.stop() // the other domain has nothing to do with it
    await refused(planner('good'), 'status_unavailable', 'planner')
    await serves(leaf('good'))
    await add('--ocsp-url', '') // nor has this one with a change of the other
    await works(all[0])
    stays(all[0])
    await serves(worse)
  } finally {
    configured = ''
    await reload()
    await own.stop()
  }
})

test('I-7 A registered responder over https is asked when its server has a certificate of the CAs that the bundle names: without them, or with others, nobody is let in', async () => {
  const web = await new Before(responder, { server: b.server }).start()
  try {
    const l = leaf('good')
    const failed = async () => { await refused(l, 'status_unavailable'); await until('the failure', async () => /^no answer: +https:.*(certificate|SSL)/im.test(await show())) }
    await add('--ocsp-url', '')
    await add('--ocsp-url', web.url)
    await failed()
    await add('--ocsp-ca', umbrella.cert) // a CA, but not of that server
    await failed()
    assert.equal(web.seen, 0)
    await add('--ocsp-ca', b.serverCa.cert)
    await let_in(l)
    assert.match(await show(), /^ocsp ca: +\S.*servers/m)
  } finally { await web.stop() }
})

test('I-7 A registered bundle that demands the nonce: an answer without it is none, whatever it says / one with it counts; where it is optional both do', async () => {
  const forgetful = await new Before(responder, { change: withoutNonce }).start()
  try {
    const l = leaf('good')
    await add('--ocsp-url', '')
    await add('--ocsp-url', forgetful.url)
    const mine = await serves(l)
    await add('--ocsp-nonce', 'required')
    await gone(mine)
    await refused(l, 'status_unavailable')
    await until('the reason', async () => /^no answer: .*has not the question's nonce/m.test(await show()))
    await add('--ocsp-url', responder.url)
    await serves(leaf('good'))
    await refused(leaf('revoked'), 'revoked')
  } finally { await forgetful.stop() }
})

test('attack 24 What may not be said of a responder is refused by its field, and nothing is kept / a file of resources carries all of it, and so do show, list, diff, export and history', async () => {
  await ask('--ocsp-cert-id', 'sha1', '--ocsp-nonce', 'required', '--ocsp-max-age', '5m', '--ocsp-stale', '10m')
  const got = await op.call('Get', { kind: 'trust', name: DOMAIN }), { bundle, version } = got
  const apply = (more) => fails(op.call('Apply', { resources: [{ version, bundle: { ...bundle, ...more } }], reason: 'x' }))
  const ca = [fs.readFileSync(b.serverCa.cert)]
  const none = { ocsp_url: '', ocsp_cert_id: '', ocsp_nonce: '', ocsp_max_age_s: 0, ocsp_stale_s: 0 }
  const bad = [
    [{ ocsp_url: 'ldap://h/x' }, 'ocsp_url'], [{ ocsp_url: 'https://u:s3cret@h/x' }, 'ocsp_url'], [{ ocsp_url: 'https://h/x y' }, 'ocsp_url'], [{ ocsp_url: `http://h/${'x'.repeat(1024)}` }, 'ocsp_url'],
    [{ ocsp_ca_der: [Buffer.from('x')] }, 'ocsp_ca_der'], [{ ocsp_cert_id: 'md5' }, 'ocsp_cert_id'], [{ ocsp_nonce: 'never' }, 'ocsp_nonce'],
    [{ ocsp_max_age_s: 1 }, 'ocsp_max_age_s'], [{ ocsp_max_age_s: 86401 }, 'ocsp_max_age_s'], [{ ocsp_max_age_s: 4294967295 }, 'ocsp_max_age_s'], [{ ocsp_stale_s: 2592001 }, 'ocsp_stale_s'],
    [{ ...none, ocsp_ca_der: ca }, 'ocsp_ca_der'], [{ ...none, ocsp_cert_id: 'sha1' }, 'ocsp_cert_id'], [{ ...none, ocsp_nonce: 'required' }, 'ocsp_nonce'],
    [{ ...none, ocsp_max_age_s: 300 }, 'ocsp_max_age_s'], [{ ...none, ocsp_stale_s: 60 }, 'ocsp_stale_s']
  ]
  for (const [more, field] of bad) {
    const r = await apply(more)
    assert.match(r.message, new RegExp(`resources(\\[0\\])?\\.bundle\\.${field}: `))
    assert.doesNotMatch(r.message, /s3cret/)
  }
  assert.deepEqual((await op.call('Get', { kind: 'trust', name: DOMAIN })).version, version)
  const told = new RegExp(`^ocsp url: +${responder.url}\nocsp cert id: +sha1\nocsp nonce: +required\nocsp max age: +300 s\nocsp stale: +600 s$`, 'm')
  assert.match(await show(), told)
  assert.match(await says('trust', 'list', '-o', 'wide'), new RegExp(`^umbrella\\.example .*${responder.url}$`, 'm'))
  const file = b.path('umbrella.yaml'), text = await says('export')
  fs.writeFileSync(file, text)
  assert.match(text, new RegExp(`^ocsp_url: "${responder.url}"\nocsp_cert_id: "sha1"\nocsp_nonce: "required"\nocsp_max_age_s: 300\nocsp_stale_s: 600$`, 'm'))
  assert.equal((await asks('diff', '-f', file)).status, 0)
  await add('--ocsp-url', '') // the rest goes with it
  assert.doesNotMatch(await show(), /ocsp/)
  const diff = await asks('diff', '-f', file)
  assert.equal(diff.status, 1)
  assert.match(diff.stdout, /ocsp_url/)
  assert.match(await says('apply', '-f', file, '--reason', 'x'), /^trust\/umbrella\.example updated/m)
  assert.match(await show(), told)
  for (const [line, say] of [['ocsp_allow_private: true', /registry\.allow_private_fetches/], ['ocsp_stale: 10m', /ocsp_stale_s/], ['ocsp: {url: x}', /ocsp_url/], ['ocsp_failure: x', /broker says it/]]) {
    fs.writeFileSync(file, text.replace('ocsp_cert_id: "sha1"', line))
    const r = await asks('apply', '-f', file, '--reason', 'x')
    assert.notEqual(r.status, 0)
    assert.match(r.stderr + r.stdout, say)
  }
  const versions = JSON.parse(await says('trust', 'history', DOMAIN, '-o', 'json'))
  assert.ok(JSON.stringify(versions).includes(responder.url))
})

test('I-7 attack 12 Two nodes: a responder that is put into a bundle on one is asked by both, another in its place makes both forget what the first had said, and who is revoked is cut off on each / the neighbour stays; taken out, nobody is asked, and with the bundle all is gone', async () => {
  const cluster = new Cluster(2, { config: (n, t) => t + 'registry: {allow_private_fetches: true}\n' + LEFT_BEHIND })
  const one = new Responder(b.path('pki'), umbrella), other = new Responder(b.path('pki'), umbrella)
  other.index += '-other'
  other.said += '-other'
  const mine = []
  try {
    await cluster.start()
    for (const r of [one, other]) { r.write(); await r.start() }
    const run = tool(cluster.first.adminSocket)
    const true2 = async (...args) => { const r = await run(...args, '--reason', 'x'); assert.equal(r.status, 0, r.stdout + r.stderr); assert.match(r.stdout + r.stderr, /true on 2\/2 nodes/) }
    const on = async (node, l) => { const a = await as(l, 'ula', node.addr, cluster.first); mine.push(a); return a }
    await true2('trust', 'add', DOMAIN, '--bundle', umbrella.cert, '--ocsp-url', one.url)
    await true2('agent', 'register', 'ula', '--tenant', 'acme', '--id', `spiffe://${DOMAIN}/ula`, '--owner', 'x', '--call', ROUTE)
    const [bad, good] = [leaf('good', one), leaf('good', one)]
    other.says(bad, 'revoked')
    other.says(good, 'good')
    const pairs = []
    for (const node of cluster.nodes) pairs.push([await on(node, bad), await on(node, good)])
    for (const [x, y] of pairs) { await works(x); await works(y) }
    assert.deepEqual([one.asked(bad), other.asked(bad)], [2, 0]) // each node for itself
    await true2('trust', 'add', DOMAIN, '--ocsp-url', other.url)
    for (const [x, y] of pairs) { await gone(x); await works(y); stays(y) }
    for (const node of cluster.nodes) await shutOut(async () => submit(await on(node, bad)))
    assert.deepEqual([other.asked(bad), other.asked(good), one.asked(good)], [2, 2, 2])
    await true2('trust', 'add', DOMAIN, '--ocsp-url', '')
    for (const node of cluster.nodes) await works(await on(node, bad)) // nobody is asked
    await true2('trust', 'remove', DOMAIN, '--yes')
    for (const [, y] of pairs) await gone(y)
    await true2('trust', 'add', DOMAIN, '--bundle', umbrella.cert, '--ocsp-url', one.url)
    for (const node of cluster.nodes) await works(await on(node, good))
    assert.deepEqual([other.asked(bad), one.asked(good)], [2, 4])
  } finally {
    for (const a of mine) a.close()
    await cluster.remove()
    for (const r of [one, other]) await r.stop()
  }
}, 120000)
