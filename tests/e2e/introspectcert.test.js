// Can a broker prove itself by a certificate where it asks about opaque tokens (RFC 8705), and can whoever registers an issuer have it shown, or its key sent, where it does not belong?
// A real https server that lets nobody in without a certificate, two nodes, each with a folder of its own.
import fs from 'node:fs'
import https from 'node:https'
import path from 'node:path'
import { execFile } from 'node:child_process'
import { randomBytes, X509Certificate } from 'node:crypto'
import { test, before, after, assert, until } from './lib/suite.js'
import { BATON, profile, ROUTE } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Agent, denied, read } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { Ca } from './lib/pki.js'
import { STATIC_ISSUER } from './lib/tokens.js'
import { shownBy } from './lib/shown.js'

const ISSUER = 'https://live.example', SECRET = 'a-secret-beside-it', DAY = 86400000
const config = (n, t) => `${t}registry: {allow_private_fetches: true, secrets: ${JSON.stringify(n.path('secrets'))}}\n`
const cluster = new Cluster(2, { config })
const nodes = cluster.nodes
for (const n of nodes) fs.mkdirSync(n.path('secrets'), { mode: 0o700 })
let op, here, there, issuer, root, middle, honest, second

// Who asks, and how: an issuer that answers of every token that it is good, to whom a CA vouches for.
class Asked {
  // demands: without a certificate of `ca` nobody comes in; else it asks for none.
  constructor (ca, demands = true) { Object.assign(this, { ca, demands, heard: [], broken: 0, slow: 0 }) }

  async start () {
    const { server } = cluster.first
    this.http = https.createServer({ cert: fs.readFileSync(server.cert), key: fs.readFileSync(server.key), ...(this.demands ? { ca: fs.readFileSync(this.ca), requestCert: true, rejectUnauthorized: true } : {}) }, (rq, rs) => {
      let form = ''
      rq.on('data', (d) => { form += d })
      rq.on('end', () => {
        this.heard.push({ who: this.demands ? rq.socket.getPeerCertificate().subject.CN : '', authorization: rq.headers.authorization || '', form: new URLSearchParams(form), raw: `${JSON.stringify(rq.headers)}${form}` })
        setTimeout(() => rs.end(JSON.stringify({ active: true, token_type: 'Bearer', ...cluster.first.issuer.claims(cluster.first.leaves.planner, { iss: ISSUER, sub: 'planner' }) })), this.slow)
      })
    })
    this.http.on('tlsClientError', () => { this.broken++ })
    await new Promise((done) => this.http.listen(0, '127.0.0.1', done))
    this.url = `https://localhost:${this.http.address().port}/introspect`
    return this
  }

  stop () { this.http.closeAllConnections(); return new Promise((done) => this.http.close(done)) }
}

before(async () => {
  await cluster.start()
  const { leaves } = cluster.first
  fs.mkdirSync(cluster.first.path('asking'))
  root = new Ca(cluster.first.path('asking'), 'root')
  middle = new Ca(cluster.first.path('asking'), 'middle', { by: root })
  honest = middle.leaf('baton-here', { days: 20, above: [middle] })
  second = middle.leaf('baton-anew', { days: 20, above: [middle] })
  issuer = await new Asked(root.cert).start()
  for (const n of nodes) {
    n.profiles[ROUTE] = profile(ROUTE, {}, [STATIC_ISSUER, ISSUER])
    n.writeProfiles()
    await n.reloaded()
    provide(n, 'asker', honest)
  }
  op = new Operator(cluster.first.adminSocket)
  ;[here, there] = nodes.map((n) => new Agent({ ...leaves.planner, trust: cluster.first.serverCa.cert }, n.addr))
}, 90000)
after(async () => { here?.close(); there?.close(); op?.close(); await cluster.remove(); await issuer?.stop() })

const folder = (n, url = issuer.url) => n.path('secrets', new URL(url).host)
const at = (n, file, url) => path.join(folder(n, url), file)
// Certificate and key are there for the host of the url.
function provide (n, name, leaf, url = issuer.url) {
  fs.mkdirSync(folder(n, url), { recursive: true, mode: 0o700 })
  fs.copyFileSync(leaf.cert, at(n, `${name}.crt`, url))
  fs.rmSync(at(n, `${name}.key`, url), { force: true })
  fs.writeFileSync(at(n, `${name}.key`, url), fs.readFileSync(leaf.key), { mode: 0o600 })
  fs.copyFileSync(cluster.first.serverCa.cert, at(n, 'ca.pem', url))
}
const tool = (...args) => new Promise((done) => execFile(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: cluster.first.dir, BATON_ADMIN_ADDR: `unix:${cluster.first.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } },
  (e, stdout, stderr) => done({ status: e ? e.code : 0, stdout, stderr })))
async function says (...args) { const r = await tool(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }
const add = (...more) => says('issuer', 'add', 'live', ...more, '--reason', 'a test')
const first = (...more) => {
  fs.writeFileSync(cluster.first.path('live.jwks'), JSON.stringify(JSON.parse(fs.readFileSync(cluster.first.issuer.file))))
  return add('--url', ISSUER, '--tenant', 'acme', '--jwks', cluster.first.path('live.jwks'), '--allow-private', 'yes', '--introspection-url', issuer.url,
    '--introspection-client', 'baton', '--introspection-cert', 'asker', '--introspection-cache', '1s', ...more)
}
const resource = async (o = op) => o.call('Get', { kind: 'issuer', name: 'live' })
const spec = (more = {}) => ({
  name: 'other', url: 'https://other.example', tenants: ['globex'], introspection_url: 'https://other.example/i', introspection_client_id: 'asker', introspection_cert: 'asker', ...more
})
const apply = (one, version = '') => op.call('Apply', { resources: [{ version, issuer: one }], reason: 'a test' })
const remove = async (name) => op.call('Delete', { ref: { kind: 'issuer', name }, version: (await op.call('Get', { kind: 'issuer', name })).version, reason: 'a test' })
const opaque = () => randomBytes(32).toString('base64url')
const submit = (agent, token = opaque()) => agent.submit(read(ROUTE), { token, timeout: 15000 })
const refusedHere = (agent) => denied(submit(agent), 'keys_unavailable', 'UNAVAILABLE')
async function heard (fn) { const n = issuer.heard.length; await fn(); return issuer.heard.slice(n) }
const check = async (n, name = 'introspection') => JSON.parse((await n.http('/readyz')).body).checks.find((c) => c.check === name)
const metric = async (n, name) => (await n.http('/metrics')).body.split('\n').find((l) => l.startsWith(name))
const certEnd = (leaf) => new X509Certificate(fs.readFileSync(leaf.cert)).validTo
const ends = (n, subject) => metric(n, `baton_certificate_expiry_timestamp_seconds{subject="${subject}"}`)

test('I-2 I-1 RFC 8705 an issuer that demands a certificate is asked with it by both nodes, without a reload / before, such a token is refused', async () => {
  for (const a of [here, there]) await denied(submit(a), 'invalid_token')
  await first()
  const [one, two] = await heard(async () => { for (const a of [here, there]) await submit(a) })
  for (const h of [one, two]) assert.deepEqual([h.who, h.authorization, h.form.get('client_id')], ['baton-here', '', 'baton'])
  const a = await nodes[1].audited({ event: 'decision', issuer: ISSUER, outcome: 'allow', node: nodes[1].name })
  assert.equal(a.subject, 'planner')
  assert.match(await says('issuer', 'show', 'live'), /^asked at: +https:.*\nasked as: +baton\ncertificate: +asker\nanswers for: +1 s$/m)
  assert.equal((await resource()).issuer.introspection_cert, 'asker')
  await submit(here, await cluster.first.issuer.mint(cluster.first.leaves.planner))
})

test('I-2 a secret beside the certificate is sent too, and each may go without the other / neither of them is refused by the field', async () => {
  for (const n of nodes) fs.writeFileSync(at(n, 'asker'), SECRET, { mode: 0o600 })
  await add('--introspection-secret', 'asker')
  const [h] = await heard(() => submit(here))
  assert.deepEqual([h.who, h.authorization, h.form.get('client_id')], ['baton-here', `Basic ${Buffer.from(`baton:${SECRET}`).toString('base64')}`, null])
  assert.match((await tool('issuer', 'add', 'live', '--introspection-secret', '', '--introspection-cert', '', '--reason', 'x')).stderr, /issuer\.introspection_secret: name the secret, or the certificate/)
  await add('--introspection-cert', '')
  assert.equal((await heard(() => refusedHere(here))).length, 0)
  await until('the refused handshake', () => issuer.broken > 0)
  await add('--introspection-secret', '', '--introspection-cert', 'asker')
  await submit(here)
})

test('T5 I-8 an operator who points it at another host has it shown and its key sent to nobody there / put there for that host, the certificate is shown, the key still is not sent', async () => {
  const evil = await new Asked(root.cert).start(), open = await new Asked(root.cert, false).start()
  try {
    await add('--introspection-url', evil.url)
    for (const a of [here, there]) await refusedHere(a)
    assert.match((await resource()).issuer.introspection_failure, /the folder .*localhost:\d+ cannot be opened: No such file/)
    for (const n of nodes) fs.mkdirSync(folder(n, evil.url), { mode: 0o700 })
    await add('--max-lifetime', '50m')
    await refusedHere(here)
    assert.match((await resource()).issuer.introspection_failure, /asker\.crt: No such file/)
    // links to what is another host's are none
    for (const n of nodes) for (const ext of ['crt', 'key']) fs.symlinkSync(at(n, `asker.${ext}`), at(n, `asker.${ext}`, evil.url))
    await add('--max-lifetime', '51m')
    await refusedHere(here)
    assert.match((await resource()).issuer.introspection_failure, /asker\.crt: it is a link, which is not followed/)
    for (const n of nodes) {
      fs.rmSync(at(n, 'asker.crt', evil.url))
      fs.copyFileSync(honest.cert, at(n, 'asker.crt', evil.url))
    }
    await add('--max-lifetime', '52m')
    await refusedHere(here)
    assert.match((await resource()).issuer.introspection_failure, /asker\.key: it is a link, which is not followed/)
    assert.deepEqual([evil.heard.length, evil.broken], [0, 0])
    for (const n of nodes) provide(n, 'asker', honest, evil.url)
    await add('--max-lifetime', '53m')
    await submit(here)
    assert.deepEqual(evil.heard.map((h) => h.who), ['baton-here'])
    for (const n of nodes) provide(n, 'asker', honest, open.url)
    await add('--introspection-url', open.url)
    await submit(here)
    const key = fs.readFileSync(honest.key, 'utf8').split('\n')[1]
    for (const h of [...evil.heard, ...open.heard]) assert.ok(!h.raw.includes(key) && !h.raw.includes('PRIVATE') && h.authorization === '')
  } finally { await evil.stop(); await open.stop() }
  await add('--introspection-url', issuer.url)
  await submit(here)
})

test('T5 I-8 attack 13: a key is no secret that could be named, and a certificate is named by its plain name alone / called ca it is not ca.pem', async () => {
  for (const n of nodes) fs.copyFileSync(at(n, 'asker.key'), at(n, 'plain.key'))
  for (const name of ['asker.key', 'asker.crt', '.key', 'ca.pem']) {
    assert.match((await denied(apply(spec({ introspection_cert: '', introspection_secret: name })), 'malformed_envelope')).message, /issuer\.introspection_secret: /, name)
  }
  // nor is a copy of one under another name
  for (const n of nodes) fs.copyFileSync(at(n, 'asker.key'), at(n, 'asker.key.old'))
  const before = issuer.heard.length
  await add('--introspection-secret', 'asker.key.old')
  await refusedHere(here)
  assert.match((await resource()).issuer.introspection_failure, /asker\.key\.old holds PEM, a key or a certificate: it is no secret that is handed out/)
  assert.equal(issuer.heard.length, before)
  await add('--introspection-secret', '')
  const host = new URL(issuer.url).host
  for (const name of ['../asker', `../${host}/asker`, `${host}/asker`, '/etc/passwd', '..', '.', '.hidden', 'a/b', 'a\\b', 'ca.pem', 'asker.crt', 'asker.key', 'x'.repeat(65), 'a b', 'a\u00e9']) {
    const r = await denied(apply(spec({ introspection_cert: name })), 'malformed_envelope')
    assert.match(r.message, /issuer\.introspection_cert: /, name)
  }
  assert.match((await denied(apply(spec({ introspection_cert: '' })), 'malformed_envelope')).message, /issuer\.introspection_secret: name the secret, or the certificate/)
  assert.match((await denied(apply(spec({ introspection_url: '', introspection_client_id: '' })), 'malformed_envelope')).message, /issuer\.introspection_url: /)
  await apply(spec({ introspection_cert: 'x'.repeat(64) }))
  await remove('other')
  for (const n of nodes) provide(n, 'ca', second)
  await add('--introspection-cert', 'ca')
  const [h] = await heard(() => submit(here))
  assert.equal(h.who, 'baton-anew')
  await add('--introspection-cert', 'asker')
})

test('I-8 a key that others can read, is a link, missing, of another certificate or none, and a certificate that others can change, ended or is none, are not used, each with its words / as they were they are', async () => {
  const n = nodes[0], crt = at(n, 'asker.crt'), key = at(n, 'asker.key')
  const stranger = root.leaf('stranger', { days: 20 }), ended = root.leaf('ended', { days: -1 })
  for (const [what, say] of [
    [() => fs.chmodSync(key, 0o644), /asker\.key has mode 0644, others can reach it: chmod 0600/],
    [() => { fs.rmSync(key); fs.symlinkSync(honest.key, key) }, /asker\.key: it is a link, which is not followed/],
    [() => fs.rmSync(key), /asker\.key: No such file/],
    [() => { fs.rmSync(key); fs.mkdirSync(key) }, /asker\.key is not a regular file/],
    [() => fs.writeFileSync(key, fs.readFileSync(stranger.key)), /asker\.key: .*mismatch|asker\.key is not the key of the certificate in .*asker\.crt/],
    [() => fs.writeFileSync(key, 'no key'), /asker\.key: not a PEM private key/],
    [() => fs.writeFileSync(key, ''), /asker\.key is empty/],
    [() => fs.writeFileSync(key, 'x'.repeat(70000)), /asker\.key/],
    [() => fs.rmSync(crt), /asker\.crt: No such file/],
    [() => fs.chmodSync(crt, 0o666), /asker\.crt has mode 0666, others can write to it/],
    [() => { fs.rmSync(crt); fs.symlinkSync(honest.cert, crt) }, /asker\.crt: it is a link, which is not followed/],
    [() => fs.writeFileSync(crt, ''), /asker\.crt is empty/],
    [() => fs.writeFileSync(crt, 'none'), /asker\.crt: not a PEM certificate/],
    [() => provide(n, 'asker', ended), /asker\.crt: the certificate has expired/],
    [() => fs.chmodSync(folder(n), 0o770), /others can write/]
  ]) {
    what()
    await n.reloaded()
    assert.equal((await heard(() => refusedHere(here))).length, 0)
    assert.match((await resource()).issuer.introspection_failure, say)
    fs.chmodSync(folder(n), 0o700)
    for (const f of [crt, key]) fs.rmSync(f, { recursive: true, force: true })
    provide(n, 'asker', honest)
    await n.reloaded()
    await submit(here)
  }
})

test('I-2 a certificate that is replaced on disk counts at SIGHUP / until then the one that was read', async () => {
  provide(nodes[0], 'asker', second)
  assert.equal((await heard(() => submit(here)))[0].who, 'baton-here')
  await nodes[0].reloaded()
  assert.equal((await heard(() => submit(here)))[0].who, 'baton-anew')
  assert.equal((await heard(() => submit(there)))[0].who, 'baton-here')
  provide(nodes[0], 'asker', honest)
  await nodes[0].reloaded()
})

test('I-2 a node that lacks the certificate says so, asks nobody and refuses opaque tokens, but is ready and takes all others / the other node goes on; once it is there it is as the other', async () => {
  for (const ext of ['crt', 'key']) fs.rmSync(at(nodes[1], `asker.${ext}`))
  await add('--max-lifetime', '54m')
  assert.equal((await heard(() => refusedHere(there))).length, 0)
  await submit(there, await cluster.first.issuer.mint(cluster.first.leaves.planner))
  await submit(here)
  assert.equal((await nodes[1].http('/readyz')).status, 200)
  const said = await check(nodes[1])
  assert.deepEqual([said.ok, /issuer live cannot be asked.*asker\.crt: No such file/.test(said.remedy)], [true, true], said.remedy)
  assert.equal((await check(nodes[0])).remedy || '', '')
  assert.match(nodes[1].log(), /introspection\.no_secret.*live/)
  assert.ok(await metric(nodes[1], 'baton_introspections_total{issuer="live",result="no_secret"}'))
  assert.equal(await ends(nodes[1], 'introspection/live'), undefined)
  assert.ok(await ends(nodes[0], 'introspection/live'))
  const theirs = new Operator(nodes[1].adminSocket)
  assert.match((await resource(theirs)).issuer.introspection_failure, /asker\.crt: No such file/)
  theirs.close()
  provide(nodes[1], 'asker', honest)
  await nodes[1].reloaded()
  await submit(there)
  assert.equal((await check(nodes[1])).remedy || '', '')
})

test('O-4 the certificate is in history and audit, compared, applied and exported by its name / a certificate, a key or a path to one in its place is refused by its name', async () => {
  for (const n of nodes) provide(n, 'anew', second)
  await add('--introspection-cert', 'anew')
  for (const a of [here, there]) assert.equal((await heard(() => submit(a)))[0].who, 'baton-anew')
  await nodes[0].audited({ event: 'issuers.changed', message: 'updated issuer/live (introspection_cert: asker -> anew): a test' })
  assert.equal((await op.call('History', { kind: 'issuer', name: 'live' })).resources[1].issuer.introspection_cert, 'asker')
  const out = await says('export')
  const doc = out.slice(out.search(/^---/m)), file = cluster.first.path('live.yaml')
  assert.ok(doc.includes('introspection_cert: "anew"'), doc)
  const run = async (status, verb, text, ...more) => { fs.writeFileSync(file, text); const r = await tool(verb, '-f', file, ...more); assert.equal(r.status, status, r.stdout + r.stderr); return r.stdout + r.stderr }
  await run(0, 'diff', doc)
  const changed = doc.replace('introspection_cert: "anew"', 'introspection_cert: asker')
  assert.match(await run(1, 'diff', changed), /introspection_cert/)
  await run(0, 'apply', changed, '--reason', 'x', '--yes')
  assert.equal((await resource()).issuer.introspection_cert, 'asker')
  for (const line of ['introspection_client_cert: /x', 'introspection_client_key: /x', 'introspection_cert_file: /x', 'introspection_key: x']) {
    assert.match(await run(65, 'diff', doc.replace(/^( *)introspection_cert: .*$/m, (x, s) => `${x}\n${s}${line}`)), /introspection_cert\b/)
  }
  for (const name of ['../anew', 'anew.key']) assert.match(await run(65, 'diff', doc.replace('introspection_cert: "anew"', `introspection_cert: ${name}`)), /introspection_cert/)
})

test('I-2 R-3 a certificate that nears its end is said in time, and that it has ended: the node is ready, and the issuer of its opaque tokens alone / renewed, nothing is said; removed, it is watched no more', async () => {
  const soon = middle.leaf('soon', { until: new Date(Date.now() + 2 * DAY), above: [middle] })
  const n = nodes[0], lines = () => n.log().split('\n').filter((l) => /certificate\.expiry/.test(l) && /introspection\/live/.test(l)).length
  assert.deepEqual([(await check(n)).remedy || '', lines()], ['', 0])
  assert.equal(Number((await ends(n, 'introspection/live')).split(' ')[1]), Math.floor(Date.parse(certEnd(honest)) / 1000))
  provide(n, 'asker', soon)
  await n.reloaded()
  assert.match((await check(n)).remedy, /issuer live: the certificate that it is asked with ends soon/)
  assert.equal(lines(), 1)
  await add('--max-lifetime', '55m') // a change of issuers says it no second time
  assert.equal(lines(), 1)
  await submit(here)
  const brief = middle.leaf('brief', { until: new Date(Date.now() + 12000), above: [middle] })
  provide(n, 'asker', brief)
  await n.reloaded()
  await submit(here)
  await until('its end', async () => /issuer live: the certificate that it is asked with has ended/.test((await check(n)).remedy), 20000)
  assert.equal(lines(), 2)
  await refusedHere(here)
  assert.equal((await n.http('/readyz')).status, 200)
  await submit(here, await cluster.first.issuer.mint(cluster.first.leaves.planner))
  await submit(there)
  provide(n, 'asker', honest)
  await n.reloaded()
  await submit(here)
  assert.equal((await check(n)).remedy || '', '')
  await remove('live')
  for (const k of nodes) assert.equal(await ends(k, 'introspection/live'), undefined)
  await first()
  for (const k of nodes) assert.ok(await ends(k, 'introspection/live'))
})

test('I-2 R-3 that of an issuer of the configuration is watched as the file is now, without a reload', async () => {
  const n = nodes[1], change = cluster.change, mine = n.path('mine')
  const put = (leaf) => { fs.copyFileSync(leaf.cert, `${mine}.crt`); fs.writeFileSync(`${mine}.key`, fs.readFileSync(leaf.key), { mode: 0o600 }) }
  const soon = middle.leaf('soon-too', { until: new Date(Date.now() + 2 * DAY), above: [middle] })
  await remove('live')
  put(honest)
  cluster.change = (k, t) => change(k, t).replace(/- \{name: static,/, (x) => (k === n ? `- {name: static, allow_private: true, ca_file: "${cluster.first.serverCa.cert}", introspection: {url: "${issuer.url}", client_id: baton, client_cert: "${mine}.crt", client_key: "${mine}.key"},` : x))
  n.writeConfig()
  await n.reloaded()
  assert.equal((await check(n)).remedy || '', '')
  assert.equal(Number((await ends(n, 'introspection/static')).split(' ')[1]), Math.floor(Date.parse(certEnd(honest)) / 1000))
  put(soon)
  await until('it to be said', async () => /issuer static: the certificate that it is asked with ends soon/.test((await check(n)).remedy))
  assert.equal((await n.http('/readyz')).status, 200)
  assert.match(n.log(), /certificate\.expiry.*introspection\/static/)
  fs.rmSync(`${mine}.crt`)
  await until('it to be missed', async () => /issuer static: the certificate that it is asked with cannot be read/.test((await check(n)).remedy))
  put(honest)
  await until('it to be good', async () => !(await check(n)).remedy)
  cluster.change = change
  n.writeConfig()
  await n.reloaded()
  assert.equal(await ends(n, 'introspection/static'), undefined)
  await first()
})

test('I-2 Whoever changes an issuer or an agent of another tenant, again and again, ends no question that is under way: the issuer is asked once, and the token taken / changed itself, it is asked anew, as what it is then', async () => {
  const was = await resource()
  await apply(spec())
  const other = (more) => op.call('Get', { kind: 'issuer', name: 'other' }).then((r) => apply(spec(more), r.version))
  const agent = async (i) => op.call('Apply', { resources: [{ agent: { tenant: 'globex', name: `more-${i}`, spiffe_id: `spiffe://globex.example/more-${i}`, owner: 'team' } }], reason: 'a test' })
  issuer.slow = 1000
  const one = await heard(async () => {
    const { length } = issuer.heard, token = submit(here)
    await until('the question', () => issuer.heard.length > length)
    for (let i = 0; i < 3; i++) { await other({ introspection_cache_s: 10 + i }); await agent(i) }
    await token
  })
  assert.equal(one.length, 1)
  const two = await heard(async () => {
    issuer.slow = 20000 // nobody waits for that: it is asked anew
    const { length } = issuer.heard, token = submit(here)
    await until('the question', () => issuer.heard.length > length)
    issuer.slow = 0
    await apply({ ...was.issuer, introspection_client_id: 'anew' }, was.version)
    await token
  })
  assert.deepEqual(two.map((h) => h.form.get('client_id')), [was.issuer.introspection_client_id, 'anew'])
  await apply(was.issuer, (await resource()).version)
  await remove('other')
}, 60000)

test('I-8 after a restart it is as it was; no key is in log, audit, metrics, show, export, history, state folder or Redis', async () => {
  await nodes[1].stop()
  await nodes[1].start()
  assert.equal((await heard(() => submit(there)))[0].who, 'baton-here')
  const sources = { ...await shownBy(cluster, nodes), ...{ show: await says('issuer', 'show', 'live', '-o', 'json'), export: await says('export'), history: await says('issuer', 'history', 'live', '-o', 'json') } }
  const keys = [honest, second].map((l) => fs.readFileSync(l.key, 'utf8').split('\n')[1])
  for (const [where, bytes] of Object.entries(sources)) for (const k of [...keys, SECRET]) assert.ok(!bytes.includes(k), `a key or a secret is in ${where}`)
})
