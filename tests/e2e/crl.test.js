// Who is on a list of revoked certificates that is fetched? Lists that come by URLs, of the configuration and of registered bundles: new ones, none, old ones, bad ones.
import fs from 'node:fs'
import { execFile, execFileSync } from 'node:child_process'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, LEFT_BEHIND } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Agent, read, refused } from './lib/agent.js'
import { Ca, thumbprint } from './lib/pki.js'
import { Lists } from './lib/lists.js'
import { Operator } from './lib/operator.js'
import { Provider } from './lib/provider.js'
import { freePort } from './lib/ports.js'

const FILE = '/acme.crl'
const DAY = 86400000
const lists = new Lists()
let stale = 'deny', more = '', urls = () => [lists.url(FILE)]
const q = JSON.stringify
const b = new Broker({
  admin: true,
  config: (t) => t.replace(/(domain: acme\.example, bundle: [^}]*)}/, (_, head) => `${head}, crl_urls: ${q(urls())}, crl_ca: ${q(b.serverCa.cert)}, crl_allow_private: true}`)
    .replace('tls:\n', `tls:\n  crl_refresh: 1s\n  crl_stale: ${stale}\n`) + more + LEFT_BEHIND
})
const made = []

before(async () => {
  await b.prepare()
  lists.server = b.server
  lists.port = await freePort()
  b.writeConfig()
})
after(async () => { for (const o of made) o.close(); await b.remove(); await lists.stop() })

const PLANNER = 'spiffe://acme.example/planner'
const once = { 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 }
async function as (leaf) {
  const full = { ...leaf, name: 'planner', tenant: 'acme', trust: b.serverCa.cert }
  const a = new Agent(full, b.addr, { token: await b.issuer.mint(full), options: once })
  b.made.push(a)
  return a
}
const leaf = (name, ca = b.acme) => ca.leaf(name, { sans: [`URI:${PLANNER}`] })
const works = async (a) => assert.ok((await a.submit(read(ROUTE))).handoff_id)
const shut = async (l) => { const a = await as(l); assert.match((await refused(a.submit(read(ROUTE), { timeout: 3000 }))).code, /UNAVAILABLE|DEADLINE_EXCEEDED/); a.close() }
const serves = async (l) => { const a = await as(l); await works(a); return a }
const let_in = (l) => until('the certificate to be let in', async () => { const a = await as(l); try { await works(a); return true } finally { a.close() } })
const gone = (a) => until('the connection to close', () => a.client.getChannel().getConnectivityState(false) !== 2, 30000)
const stays = (a) => assert.equal(a.client.getChannel().getConnectivityState(false), 2)
const metric = async (name) => Number((await b.http('/metrics')).body.match(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm'))?.[1] ?? NaN)
const fetches = (result) => metric(`baton_crl_fetches_total{domain="acme.example",result="${result}"}`).then((n) => n || 0)
const left = () => metric('baton_crl_left_seconds{domain="acme.example"}')
const trust = async () => { const { status, body } = await b.http('/readyz'); return { status, ...JSON.parse(body).checks.find((c) => c.check === 'trust') } }
const refusals = async (why) => (await metric(`baton_handshakes_total{listener="agents",result="certificate:${why}"}`)) || 0
const reload = async (change = {}) => { if ('stale' in change) stale = change.stale; if ('more' in change) more = change.more; b.writeConfig(); await b.reloaded() }

let number = 100
// A new list with these leaves, at the URL; der: as most CAs publish it.
function list (ca, leaves, options = {}) {
  const file = b.path('made.crl')
  ca.crl(file, leaves, { number: ++number, ...options })
  return options.der ? execFileSync('openssl', ['crl', '-in', file, '-outform', 'DER']) : fs.readFileSync(file)
}
const publish = (leaves, options) => { lists.files[FILE] = list(b.acme, leaves, options) }
const taken = async (fn) => { const n = await fetches('ok'); await fn(); await until('the list to be taken', async () => await fetches('ok') > n) }

test('I-7 attack 12 No list has come yet: the domain is refused, and /readyz and the log say why, its neighbour is let in / as soon as the server answers, it is let in', async () => {
  b.launch()
  const check = await until('/readyz', async () => { const t = await trust(); return /onnect/.test(t.remedy) ? t : null }, 20000)
  assert.match(check.remedy, /^no CRL of acme\.example has come from one of its URLs, its agents are refused \(https:\/\/localhost:\d+\/acme\.crl: .*\): see whether that answers$/)
  assert.equal(check.ok, true) // of globex everybody is let in
  await until('the node', async () => (await trust()).status === 200, 20000)
  await sleep(1500)
  b.made = []
  const good = leaf('good')
  await shut(good)
  await until('the refusal to be counted', async () => await refusals('crl_missing') > 0)
  await (await b.agent('gplanner')).submit()
  assert.match(b.log(), /"event":"crl\.fetch_failed".*"domain":"acme\.example"/)
  await until('none left', async () => await left() === 0)
  publish([], { der: true })
  await lists.listen()
  await let_in(good)
  await until('the time that is left', async () => await left() > 100000)
  assert.match((await trust()).remedy, /^$|ends soon/)
  await b.audited({ event: 'crl.taken', outcome: 'allow' })
})

test('I-7 R-3 attack 12 Who is on a new list at the URL is cut and refused, without a restart / the neighbours stay, of his CA and of others', async () => {
  const [bad, good] = [leaf('bad'), leaf('neighbour')]
  const [theirs, mine, other] = [await serves(bad), await serves(good), await b.agent('gplanner')]
  await other.submit()
  publish([bad])
  await gone(theirs)
  await shut(bad)
  await until('the refusal to be counted', async () => await refusals('revoked') > 0)
  for (const a of [mine, other]) { stays(a); await a.submit() }
  publish([])
  await let_in(bad)
})

test('I-7 What is no list of the domain, or an older one, is refused, counted and audited, and the last one holds: who is on it stays out', async () => {
  const bad = leaf('on-the-last'), good = leaf('not-on-it')
  await taken(() => publish([bad]))
  await shut(bad)
  const mine = await serves(good)
  const last = lists.files[FILE]
  const foreign = new Ca(b.path('pki'), 'acme-twin', { uri: 'spiffe://acme.example' })
  const elsewhere = await new Lists(b.server).listen()
  elsewhere.files[FILE] = list(b.acme, [])
  const wrong = {
    foreign: [() => list(foreign, []), /signed by no CA of the bundle/],
    globex: [() => list(b.globex, []), /signed by no CA of the bundle/],
    older: [() => { const n = number; const l = list(b.acme, [], { number: 7 }); number = n; return l }, /older than the one that is there/],
    undated: [() => list(b.acme, [], { from: new Date(Date.now() - 9 * DAY) }), /older than the one that is there/],
    ended: [() => list(b.acme, [], { stale: true }), /out of date/],
    ahead: [() => list(b.acme, [], { from: new Date(Date.now() + DAY), to: new Date(Date.now() + 2 * DAY) }), /dated ahead/],
    rubbish: [() => Buffer.from('<html>please sign in</html>'), /holds no list/],
    torn: [() => list(b.acme, []).subarray(0, 200), /PEM cannot be read/],
    huge: [() => Buffer.alloc(5 << 20, 'x'), /too large/],
    endless: [() => (rq, rs) => { rs.writeHead(200); const more = () => { while (!rs.destroyed && rs.write(Buffer.alloc(65536, 0x30))); if (!rs.destroyed) rs.once('drain', more) }; more() }, /too large/],
    redirect: [() => (rq, rs) => rs.writeHead(302, { location: elsewhere.url(FILE) }).end(), /redirected/],
    nothing: [() => (rq, rs) => rs.writeHead(500).end(), /status is not 200/]
  }
  for (const [name, [make, why]] of Object.entries(wrong)) {
    const result = /too large|redirected|status/.test(why.source) ? 'failed' : 'refused'
    const n = await fetches(result)
    lists.files[FILE] = make()
    await until(`${name} to be counted`, async () => await fetches(result) > n && why.test(b.log().slice(-6000)), 15000)
    if (result === 'refused') await until('the audit', () => b.audit().find((r) => r.event === 'crl.refused' && r.outcome === 'deny' && why.test(r.message)))
    await shut(bad)
    stays(mine)
    await works(mine)
    lists.files[FILE] = last
    const same = await fetches('unchanged')
    await until('the good one again', async () => await fetches('unchanged') > same, 15000)
  }
  assert.equal(elsewhere.seen.length, 0)
  await elsewhere.stop()
}, 180000)

test('I-7 What came last is kept: after a restart without the server its revoked stay out and others come in / a copy that was tampered with does not count', async () => {
  const bad = leaf('kept-out'), good = leaf('kept-in')
  await taken(() => publish([bad]))
  const kept = () => fs.readdirSync(b.path('state')).filter((f) => f.startsWith('crl-')).map((f) => b.path('state', f))
  assert.equal(kept().length, 1)
  assert.equal(fs.statSync(kept()[0]).mode & 0o777, 0o600)
  await lists.stop()
  await b.stop()
  await b.start()
  await let_in(good)
  await shut(bad)
  await b.stop()
  const text = fs.readFileSync(kept()[0], 'utf8'), at = text.indexOf('\n', 200) - 9
  fs.writeFileSync(kept()[0], text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1))
  await b.start()
  assert.match(b.log(), /"event":"crl\.kept_unusable"/)
  await shut(good)
  await lists.listen()
  await let_in(good)
  await shut(bad)
}, 90000)

test('I-7 A list that ends refuses its domain, live connections too / with allow-for it counts on for so long: who is on it stays out, others are let in, and then nobody is', async () => {
  const bad = leaf('ended-bad'), good = leaf('ended-good')
  const soon = (s) => publish([bad], { to: new Date(Date.now() + s * 1000) })
  await taken(() => soon(16))
  const mine = await serves(good)
  await until('the time that is left', async () => await left() <= 16)
  await until('the warning', async () => /the CRL of acme\.example ends soon/.test((await trust()).remedy), 20000)
  await gone(mine)
  await shut(good)
  await until('none left', async () => await left() === 0)
  await until('/readyz', async () => /the CRL of acme\.example is out of date, its agents are refused/.test((await trust()).remedy))
  await reload({ stale: '{allow-for: 15s}' })
  await taken(() => soon(6))
  const again = await serves(good)
  await until('the end of the list', async () => /out of date, its agents are let in for a while/.test((await trust()).remedy), 15000)
  await works(again)
  await shut(bad)
  await serves(good)
  await gone(again)
  await shut(good)
  await reload({ stale: 'deny' })
  publish([])
  await let_in(good)
}, 150000)

test('I-7 allow-for lets a domain in for so long before any list came, counted from the first look, also over a restart / a list that comes ends that', async () => {
  const good = leaf('early')
  urls = () => [lists.url(FILE), lists.url('/second.crl')]
  await reload({ stale: '{allow-for: 20s}' })
  const begun = Date.now()
  await serves(good)
  await b.stop()
  await b.start()
  if (Date.now() - begun < 15000) await serves(good).catch((e) => { if (Date.now() - begun < 19000) throw e })
  await until('the time to be over', () => Date.now() - begun > 21000, 30000)
  await shut(good)
  lists.files['/second.crl'] = lists.files[FILE]
  await let_in(good)
  urls = () => [lists.url(FILE)]
  await reload({ stale: 'deny' })
  assert.equal(fs.readdirSync(b.path('state')).filter((f) => f.startsWith('crl-')).length, 1)
}, 90000)

test('I-7 The lists of an intermediate come with its certificate, in one file: its revoked leaf is refused / its other leaf is served', async () => {
  const middle = new Ca(b.path('pki'), 'acme-issuing', { by: b.acme })
  const of = (name) => middle.leaf(name, { sans: [`URI:${PLANNER}`], above: [middle] })
  const [bad, good] = [of('low-bad'), of('low-good')]
  await shut(good) // no list of its issuer has come
  const root = list(b.acme, [])
  lists.files[FILE] = Buffer.concat([root, list(middle, [bad])])
  const n = await fetches('refused')
  await until('the refusal', async () => await fetches('refused') > n && /list 2 is signed by no CA of the bundle/.test(b.log()))
  await taken(() => { lists.files[FILE] = Buffer.concat([root, list(middle, [bad]), fs.readFileSync(middle.cert)]) })
  await let_in(good)
  await shut(bad)
})

test('SSRF: a URL of lists at a private address without crl_allow_private, or at a metadata address with it, is never connected to', async () => {
  const trap = await new Lists().listen()
  const row = (domain, url, allow) => `    - {domain: ${domain}, bundle: ${q(b.globex.cert)}, crl_urls: [${q(url)}], crl_allow_private: ${allow}}\n`
  const change = b.change
  b.change = (t) => change(t).replace(/^issuers:/m, row('private.example', trap.url('/x'), false) + row('metadata.example', 'http://169.254.169.254/x', true) + '$&')
  await reload()
  for (const d of ['private', 'metadata']) await until(`${d} to be refused`, () => new RegExp(`"domain":"${d}\\.example".*the address is not allowed`).test(b.log()))
  assert.equal(trap.seen.length, 0)
  b.change = change
  await reload()
  await trap.stop()
})

// ---- registered ----

const DOMAIN = 'umbrella.example'
// Not spawnSync: the lists are served by this process.
const tool = (socket) => (...args) => new Promise((done) => execFile(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${socket}`, ASAN_OPTIONS: 'exitcode=99' } },
  (e, stdout, stderr) => done({ status: e ? e.code : 0, stdout, stderr })))
const asks = (...args) => tool(b.adminSocket)(...args)
const says = async (...args) => { const r = await asks(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }

test('SSRF: what is registered makes no node connect to a private address, unless its configuration allows it: lists are not fetched, and allow_private of an issuer is refused by name', async () => {
  const trap = await new Lists().listen()
  const umbrella = new Ca(b.path('pki'), 'umbrella', { uri: `spiffe://${DOMAIN}` })
  const op = new Operator(b.adminSocket)
  made.push(op)
  await op.init(b.person('root').spiffe)
  const add = () => asks('issuer', 'add', 'inner', '--url', 'https://localhost:1', '--tenant', 'acme', '--allow-private', 'yes', '--reason', 'x')
  const no = await add()
  assert.deepEqual([no.status, /issuer\.allow_private: .*registry\.allow_private_fetches/.test(no.stderr)], [77, true], no.stderr)
  await says('issuer', 'add', 'inner', '--url', 'https://localhost:1', '--tenant', 'acme', '--reason', 'x')
  assert.match(await says('trust', 'add', DOMAIN, '--bundle', umbrella.cert, '--crl-url', trap.url('/u.crl'), '--reason', 'x'), /added/)
  await until('the refusal', async () => /not fetched: +http:\/\/localhost:\d+\/u\.crl: the address is not allowed/.test(await says('trust', 'show', DOMAIN)))
  assert.match(await says('trust', 'list'), /^umbrella\.example +1 +none yet +1$/m)
  assert.equal(trap.seen.length, 0)
  trap.files['/u.crl'] = list(umbrella, [])
  await reload({ more: 'registry: {allow_private_fetches: true}\n' })
  await until('the list', async () => /crl until: +20.*crl url: +http.*fetched: +20/s.test(await says('trust', 'show', DOMAIN)))
  assert.equal((await add()).status, 0)
  await says('issuer', 'remove', 'inner', '--yes', '--reason', 'x')
  await says('trust', 'remove', DOMAIN, '--yes', '--reason', 'x')
  await until('its copy to be gone', () => fs.readdirSync(b.path('state')).filter((f) => f.startsWith('crl-')).length === 1)
  const n = trap.seen.length
  await sleep(2500)
  assert.equal(trap.seen.length, n) // nobody asks any more
  await trap.stop()
})

test('I-7 Lists of a registered bundle come over https from servers of the CAs that it names alone: without them, or with others, nothing is fetched and its domain stays shut / with them it opens', async () => {
  const web = await new Lists(b.server).listen(), umbrella = new Ca(b.path('pki'), 'umbrella', { uri: `spiffe://${DOMAIN}` })
  const fetched = async () => /fetched: +20/.test((await says('trust', 'show', DOMAIN)).replace(/not fetched/g, ''))
  const failed = () => until('the failure', async () => /not fetched: +https:.*(certificate|SSL)/i.test(await says('trust', 'show', DOMAIN)))
  web.files['/u.crl'] = list(umbrella, [])
  await says('trust', 'add', DOMAIN, '--bundle', umbrella.cert, '--crl-url', web.url('/u.crl'), '--reason', 'x')
  await failed()
  await says('trust', 'add', DOMAIN, '--crl-ca', umbrella.cert, '--reason', 'x') // a CA, but not of that server
  await failed()
  assert.equal(web.seen.length, 0)
  await says('trust', 'add', DOMAIN, '--crl-ca', b.serverCa.cert, '--reason', 'x')
  await until('the list', fetched)
  assert.match(await says('trust', 'show', DOMAIN), /^crl ca: +\S.*servers/m)
  const file = b.path('umbrella.yaml')
  fs.writeFileSync(file, await says('export'))
  assert.match(fs.readFileSync(file, 'utf8'), /crl_ca:\n *- "[A-Za-z0-9+/=]+"/)
  assert.equal((await asks('diff', '-f', file)).status, 0)
  const op = made[0], get = async () => op.call('Get', { kind: 'trust', name: DOMAIN })
  const apply = async (more) => { const { bundle, version } = await get(); return refused(op.call('Apply', { resources: [{ version, bundle: { ...bundle, ...more } }], reason: 'x' })) }
  for (const [more, say] of [[{ crl_ca_der: [Buffer.from('x')] }, /no certificate/], [{ crl_urls: [] }, /crl_urls only/], [{ crl_ca_der: Array(80).fill((await get()).bundle.crl_ca_der[0]).map((d) => Buffer.concat([d, Buffer.alloc(900)])) }, /64 KiB/]]) {
    const r = await apply(more)
    assert.match(r.message, /bundle\.crl_ca_der: /)
    assert.match(r.message, say)
  }
  await says('trust', 'add', DOMAIN, '--crl-url', '', '--reason', 'x') // the CA goes with the last of them
  assert.deepEqual((await get()).bundle.crl_ca_der, [])
  await says('trust', 'remove', DOMAIN, '--yes', '--reason', 'x')
  await web.stop()
})

test('I-7 R-3 The file of baton ca crl behind a web server is all that it takes: who is revoked there is cut off, the neighbour stays', async () => {
  const web = await new Lists().listen(), ca = b.path('own-ca')
  const own = (...args) => execFileSync(BATON, ['ca', ...args], { env: { PATH: process.env.PATH, HOME: b.dir, ASAN_OPTIONS: 'exitcode=99' }, stdio: ['ignore', 'pipe', 'pipe'] })
  const show = () => { web.files['/crl.pem'] = fs.readFileSync(`${ca}/crl.pem`) }
  own('init', ca, '--trust-domain', 'own.example', '--dns', 'localhost')
  const issue = (name, file) => {
    own('issue', ca, '--spiffe-id', `spiffe://own.example/${name}`, '--out', b.path(`${file}.pem`))
    return { name, tenant: 'acme', cert: b.path(`${file}.pem`), key: b.path(`${file}.key`), thumbprint: thumbprint(b.path(`${file}.pem`)), trust: b.serverCa.cert }
  }
  const on = async (l) => { const a = new Agent(l, b.addr, { token: await b.issuer.mint(l), options: once }); b.made.push(a); return a }
  show()
  await says('trust', 'add', 'own.example', '--bundle', `${ca}/bundle.pem`, '--crl', `${ca}/crl.pem`, '--crl-url', web.url('/crl.pem'), '--reason', 'x')
  await says('agent', 'register', 'olga', '--tenant', 'acme', '--id', 'spiffe://own.example/olga', '--owner', 'x', '--call', ROUTE, '--reason', 'x')
  await until('its lists', async () => await metric('baton_crl_left_seconds{domain="own.example"}') > 0)
  const [bad, good] = [await on(issue('olga', 'olga-bad')), await on(issue('olga', 'olga-good'))]
  await works(bad)
  await works(good)
  own('crl', ca, '--revoke', b.path('olga-bad.pem'))
  show()
  await gone(bad)
  stays(good)
  await works(good)
  await says('agent', 'retire', 'olga', '--tenant', 'acme', '--yes', '--reason', 'x')
  await says('trust', 'remove', 'own.example', '--yes', '--reason', 'x')
  await web.stop()
})

test('attack 24 What may not be a URL of lists is refused by its field, and nothing is kept / a file of resources carries them, diff and export too', async () => {
  const op = made[0]
  const der = execFileSync('openssl', ['x509', '-in', b.path('pki', 'umbrella.pem'), '-outform', 'DER'])
  const bundle = (more) => ({ resources: [{ bundle: { trust_domain: DOMAIN, anchors_der: [der], ...more } }], reason: 'a test' })
  const bad = [['ldap://h/x'], ['https://u:p@h/x'], ['https://h/x y'], ['http://h/a', 'http://h/a'], Array.from({ length: 9 }, (_, i) => `http://h/${i}`), [`http://h/${'x'.repeat(1024)}`], ['']]
  for (const urls of bad) assert.match((await refused(op.call('Apply', bundle({ crl_urls: urls })))).message, /resources(\[0\])?\.bundle\.crl_urls: /)
  const file = b.path('umbrella.yaml')
  const pem = fs.readFileSync(b.path('pki', 'umbrella.pem'), 'utf8').trim().replaceAll('\n', '\n    ')
  fs.writeFileSync(file, `kind: trust\ntrust_domain: ${DOMAIN}\nanchors:\n  - >-\n    ${pem}\ncrl_urls: ["http://crl.invalid/a", "http://crl.invalid/b"]\n`)
  assert.match(await says('apply', '-f', file, '--reason', 'x'), /^trust\/umbrella\.example added$/m)
  assert.equal((await asks('diff', '-f', file)).status, 0)
  assert.match(await says('export'), /^crl_urls:\n- "http:\/\/crl\.invalid\/a"\n- "http:\/\/crl\.invalid\/b"$/m)
  await says('trust', 'add', DOMAIN, '--crl-url', '', '--reason', 'none')
  assert.equal((await asks('diff', '-f', file)).status, 1)
  await says('trust', 'remove', DOMAIN, '--yes', '--reason', 'x')
})

test('I-5 Another issuer changes nothing for others: no live peer is judged anew, and no other provider is asked again, nor one that is down before its time', async () => {
  const providers = []
  for (const name of ['p-up', 'p-down']) {
    const p = new Provider({ name, server: b.server, file: b.path(`${name}.jwks`), options: ', keys_refresh: 1h' })
    await p.start()
    providers.push(p)
  }
  const [up, down] = providers
  down.discovery = (rq, rs) => rs.writeHead(500).end()
  const change = b.change
  b.change = (t) => change(t).replace(/^issuers:\n/m, (head) => head + up.row(b.serverCa.cert) + down.row(b.serverCa.cert))
  await reload()
  await until('the keys', async () => await metric('baton_keys_usable_seconds{issuer="p-up"}') > 0)
  await until('a back-off of 8 s', () => down.begun.length === 4, 20000)
  const installed = () => b.log().match(/"event":"trust\.installed"/g).length
  const [asked, trusts] = [up.fetches()[0], installed()]
  for (let i = 0; i < 4; i++) await says('issuer', 'add', 'beside', '--url', 'https://beside.example', '--tenant', 'acme', '--max-lifetime', `${i + 1}m`, '--reason', 'x')
  await sleep(1500)
  assert.deepEqual([up.fetches()[0], installed()], [asked, trusts])
  assert.ok(down.begun.length === 4 || down.begun[4] - down.begun[3] > 7000, `${down.begun}`) // not before its time
  assert.match((await b.http('/readyz')).body, /there are no keys of issuer p-down, its tokens are refused \(discovery: the status is not 200\)/)
  await until('the fifth', () => down.begun.length >= 5, 15000)
  await says('issuer', 'remove', 'beside', '--yes', '--reason', 'x')
  b.change = change
  await reload()
  for (const p of providers) await p.stop()
}, 90000)

test('I-7 attack 12 Two nodes: a URL that is added to a bundle on one holds on both; who is on its list is cut off on each, the neighbour stays', async () => {
  const web = await new Lists().listen()
  const cluster = new Cluster(2, { config: (n, t) => t.replace('tls:\n', 'tls:\n  crl_refresh: 1s\n') + 'registry: {allow_private_fetches: true}\n' + LEFT_BEHIND })
  const mine = []
  try {
    await cluster.start()
    const run = tool(cluster.first.adminSocket)
    const true2 = async (...args) => { const r = await run(...args); assert.equal(r.status, 0, r.stdout + r.stderr); assert.match(r.stdout + r.stderr, /true on 2\/2 nodes/) }
    const umbrella = new Ca(cluster.first.path('pki'), 'umbrella', { uri: `spiffe://${DOMAIN}` })
    const of = (file) => ({ ...umbrella.leaf(file, { sans: [`URI:spiffe://${DOMAIN}/ula`] }), name: 'ula', tenant: 'acme', trust: cluster.first.serverCa.cert })
    const on = async (n, l) => { const a = new Agent(l, n.addr, { token: await cluster.first.issuer.mint(l), options: once }); mine.push(a); return a }
    await true2('trust', 'add', DOMAIN, '--bundle', umbrella.cert, '--reason', 'x')
    await true2('agent', 'register', 'ula', '--tenant', 'acme', '--id', `spiffe://${DOMAIN}/ula`, '--owner', 'x', '--call', ROUTE, '--reason', 'x')
    const [bad, good] = [of('bad'), of('good')]
    web.files['/u.crl'] = list(umbrella, [])
    await true2('trust', 'add', DOMAIN, '--crl-url', web.url('/u.crl'), '--reason', 'x')
    const pairs = []
    for (const n of cluster.nodes) {
      await until('the list', async () => /baton_crl_left_seconds\{.*domain="umbrella\.example".*\} [1-9]/.test((await n.http('/metrics')).body))
      pairs.push([await on(n, bad), await on(n, good)])
    }
    for (const [x, y] of pairs) { await works(x); await works(y) }
    web.files['/u.crl'] = list(umbrella, [bad])
    for (const [x, y] of pairs) { await gone(x); stays(y); await works(y) }
    for (const n of cluster.nodes) assert.match((await refused((await on(n, bad)).submit(read(ROUTE), { timeout: 3000 }))).code, /UNAVAILABLE|DEADLINE/)
  } finally {
    for (const a of mine) a.close()
    await cluster.remove()
    await web.stop()
  }
}, 120000)
