// Can an issuer that is registered while nodes run be asked about opaque tokens, and can whoever registers one have a node's secret sent where it does not belong? A real
// oidc-provider, two nodes, each with a folder of secrets of its own.
import fs from 'node:fs'
import https from 'node:https'
import path from 'node:path'
import { execFile } from 'node:child_process'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { BATON, Broker, profile, ROUTE } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { Idp } from './lib/idp.js'
import { Agent, denied, read, refusalOf, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { Ca } from './lib/pki.js'
import { STATIC_ISSUER } from './lib/tokens.js'
import { shownBy } from './lib/shown.js'

const SECRET = 'the-first-secret', OTHER = 'the-second-secret'
const CACHE_MS = 2000
let idp, op, here, there
const cluster = new Cluster(2, { config: (n, t) => `${t}registry: {allow_private_fetches: true, secrets: ${JSON.stringify(n.path('secrets'))}}\n` })
const nodes = cluster.nodes
for (const n of nodes) fs.mkdirSync(n.path('secrets'), { mode: 0o700 })

before(async () => {
  await cluster.start()
  const { acme, serverCa, server, leaves } = cluster.first
  idp = await new Idp({
    ca: serverCa.cert, agentsCa: acme.cert, server, agents: ['planner', 'auditor'].map((n) => leaves[n]),
    asking: [{ name: 'asker', secret: SECRET }, { name: 'another', secret: OTHER }]
  }).start()
  for (const n of nodes) {
    n.profiles[ROUTE] = profile(ROUTE, {}, [STATIC_ISSUER, idp.url])
    n.writeProfiles()
    await n.reloaded()
    provide(n, 'asker', SECRET)
  }
  op = new Operator(cluster.first.adminSocket)
  ;[here, there] = nodes.map((n) => new Agent({ ...leaves.planner, trust: serverCa.cert }, n.addr))
}, 90000)
after(async () => { here?.close(); there?.close(); op?.close(); await cluster.remove(); await idp?.stop() })

const folder = (n, url = idp.url) => n.path('secrets', new URL(url).host)
// The file is there for the host of the url.
function provide (n, name, secret, url = idp.url) {
  fs.mkdirSync(folder(n, url), { recursive: true, mode: 0o700 })
  fs.writeFileSync(path.join(folder(n, url), name), `${secret}\n`, { mode: 0o600 })
  fs.copyFileSync(cluster.first.serverCa.cert, path.join(folder(n, url), 'ca.pem'))
}
const tool = (...args) => new Promise((done) => execFile(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: cluster.first.dir, BATON_ADMIN_ADDR: `unix:${cluster.first.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } },
  (e, stdout, stderr) => done({ status: e ? e.code : 0, stdout, stderr })))
async function says (...args) { const r = await tool(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }
const add = (...more) => says('issuer', 'add', 'live', ...more, '--reason', 'a test')
const first = () => add('--url', idp.url, '--tenant', 'acme', '--issuer-ca', cluster.first.serverCa.cert, '--allow-private', 'yes', '--introspection-url', `${idp.url}/token/introspection`,
  '--introspection-client', 'asker', '--introspection-secret', 'asker', '--introspection-cache', '2s')
const resource = async (name = 'live', o = op) => o.call('Get', { kind: 'issuer', name })
const spec = (more = {}) => ({
  name: 'other', url: 'https://other.example', tenants: ['acme'], introspection_url: 'https://other.example/i', introspection_client_id: 'asker', introspection_secret: 'asker', ...more
})
const apply = (issuer, version = '', o = op) => o.call('Apply', { resources: [].concat(issuer).map((i) => ({ version, issuer: i })), reason: 'a test' })
const remove = async (name) => op.call('Delete', { ref: { kind: 'issuer', name }, version: (await resource(name)).version, reason: 'a test' })
const submit = (agent, token) => agent.submit(read(ROUTE), { token, timeout: 15000 })
const opaque = () => idp.opaque(cluster.first.leaves.planner)
async function asked (fn) { const n = idp.questions.length; await fn(); return idp.questions.length - n }
const basic = () => Buffer.from((idp.questions.at(-1) || '').split(' ')[1] || '', 'base64').toString()
async function counted (n, result) {
  const row = (await n.http('/metrics')).body.split('\n').find((l) => l.startsWith(`baton_introspections_total{issuer="live",result="${result}"}`))
  return row ? Number(row.split(' ')[1]) : 0
}
const check = async (n) => JSON.parse((await n.http('/readyz')).body).checks.find((c) => c.check === 'introspection')

test('I-2 I-1 RFC 7662 an issuer that is registered is asked about opaque tokens by both nodes, without a reload / before, such a token is refused, and its JWTs are taken all along', async () => {
  const token = await opaque()
  for (const a of [here, there]) await denied(submit(a, token), 'invalid_token')
  await first()
  assert.equal(await asked(async () => { for (const a of [here, there]) { await submit(a, token); await submit(a, token) } }), 2)
  assert.equal(basic(), `asker:${SECRET}`)
  for (const a of [here, there]) await submit(a, await idp.token(cluster.first.leaves.planner))
  const a = await nodes[1].audited({ event: 'decision', issuer: idp.url, outcome: 'allow', node: nodes[1].name })
  assert.deepEqual([a.subject, a.client_id, a.token_tenant, a.audience], ['planner', 'planner', 'acme', 'support-agent-runtime'])
  const { issuer } = await resource()
  assert.deepEqual([issuer.introspection_url, issuer.introspection_client_id, issuer.introspection_secret, issuer.introspection_cache_s, issuer.introspection_failure], [`${idp.url}/token/introspection`, 'asker', 'asker', 2, ''])
  assert.match(await says('issuer', 'show', 'live'), /^asked at: +https:.*\nasked as: +asker\nasked with: +asker\nanswers for: +2 s$/m)
})

test('I-1 a token that is revoked at the provider is refused on both nodes once the answer is as old as introspection_cache_s / until then it may be taken', async () => {
  const token = await opaque()
  for (const a of [here, there]) await submit(a, token)
  await idp.revoke(cluster.first.leaves.planner, token)
  await sleep(CACHE_MS + 100)
  for (const a of [here, there]) await denied(submit(a, token), 'invalid_token', 'UNAUTHENTICATED')
  for (const n of nodes) assert.ok(await counted(n, 'inactive') >= 1)
})

test('I-2 another client with another secret, changed while nodes run, is the one that asks from the next question on, on both / the change is in the history and in the audit, by the name', async () => {
  for (const n of nodes) provide(n, 'another', OTHER)
  await add('--introspection-client', 'another', '--introspection-secret', 'another')
  for (const a of [here, there]) {
    assert.equal(await asked(async () => submit(a, await opaque())), 1)
    assert.equal(basic(), `another:${OTHER}`)
  }
  await nodes[0].audited({ event: 'issuers.changed', message: 'updated issuer/live (introspection_client_id: asker -> another; introspection_secret: asker -> another): a test' })
  assert.equal((await op.call('History', { kind: 'issuer', name: 'live' })).resources.at(-1).issuer.introspection_secret, 'asker')
  await add('--introspection-client', 'asker', '--introspection-secret', 'asker')
})

test('I-2 a secret that is replaced on disk counts at SIGHUP, and at a change of issuers / until then the one that was read', async () => {
  for (const n of nodes) provide(n, 'asker', 'not-the-secret')
  await submit(here, await opaque())
  await nodes[0].reloaded()
  await denied(submit(here, await opaque()), 'keys_unavailable', 'UNAVAILABLE')
  assert.match((await resource()).issuer.introspection_failure, /the status is not 200/)
  await submit(there, await opaque())
  for (const n of nodes) provide(n, 'asker', SECRET)
  await denied(submit(here, await opaque()), 'keys_unavailable', 'UNAVAILABLE')
  await add('--max-lifetime', '50m')
  for (const a of [here, there]) await submit(a, await opaque())
  assert.equal((await resource()).issuer.introspection_failure, '')
})

test('I-2 a node that lacks the secret says so, asks nobody and refuses opaque tokens, but is ready and takes all others / the other node goes on; once the file is there it is as the other', async () => {
  fs.rmSync(path.join(folder(nodes[1]), 'asker'))
  await add('--max-lifetime', '51m')
  const token = await opaque()
  assert.equal(await asked(async () => {
    const r = await denied(submit(there, token), 'keys_unavailable', 'UNAVAILABLE')
    assert.ok(Number(r.retry_after_ms) > 0)
  }), 0)
  await submit(there, await idp.token(cluster.first.leaves.planner))
  await submit(here, token)
  assert.equal((await nodes[1].http('/readyz')).status, 200)
  const said = await check(nodes[1])
  assert.deepEqual([said.ok, /issuer live cannot be asked.*cannot open the secret .*asker: No such file/.test(said.remedy)], [true, true], said.remedy)
  assert.equal((await check(nodes[0])).remedy || '', '')
  assert.match(nodes[1].log(), /introspection\.no_secret.*live/)
  assert.ok(await counted(nodes[1], 'no_secret') >= 1)
  const theirs = new Operator(nodes[1].adminSocket)
  assert.match((await resource('live', theirs)).issuer.introspection_failure, /cannot open the secret/)
  assert.equal((await resource()).issuer.introspection_failure, '')
  theirs.close()
  provide(nodes[1], 'asker', SECRET)
  await nodes[1].reloaded()
  await submit(there, token)
  assert.equal((await check(nodes[1])).remedy || '', '')
})

test('attack 13: T5 a secret is named, never its file: a path, a hidden file, the certificates, a text that is too long are refused by the field / a plain name is taken', async () => {
  const host = new URL(idp.url).host
  for (const name of ['../asker', `../${host}/asker`, `${host}/asker`, '/etc/passwd', '..', '.', '.hidden', 'a/b', 'a\\b', 'ca.pem', 'x'.repeat(65), 'a b', 'a\u00e9', '']) {
    const r = await denied(apply(spec({ tenants: ['globex'], introspection_secret: name })), 'malformed_envelope')
    assert.match(r.message, /issuer\.introspection_secret: /, name)
  }
  await apply(spec({ tenants: ['globex'], introspection_secret: 'A-plain_name.2' }))
  await remove('other')
})

test('attack 13: T5 a url whose host could be read otherwise, or is none that a folder is named by, is refused / a name and an IPv4 address, with a port, are taken', async () => {
  for (const url of ['https://../x', 'https://..', 'https://.a/x', 'https://a..b/x', 'https://a:0/x', 'https://a:65536/x', 'https://a:0443/', 'https://a:/x', 'https://[::1]/x', 'https://a%2fb/x',
    'https://a\\@b/x', 'https://b@a/x', 'https://a?b', 'https://a#b', 'http://a/x', 'https:///x', 'file:///etc/passwd', 'https://\u00e4.example/x']) {
    assert.match((await denied(apply(spec({ tenants: ['globex'], introspection_url: url })), 'malformed_envelope')).message, /issuer\.introspection_url: /, url)
  }
  for (const url of ['https://127.0.0.1:8443/x', 'https://Other.example/x', 'https://other.example']) {
    await apply(spec({ tenants: ['globex'], introspection_url: url }))
    await remove('other')
  }
})

test('T5 I-8 an operator who points a secret of a node at a server of his own gets neither it nor a token: it is there for one host alone / put there for that host, it is sent', async () => {
  const { server } = cluster.first
  const heard = []
  const evil = https.createServer({ cert: fs.readFileSync(server.cert), key: fs.readFileSync(server.key) }, (rq, rs) => { heard.push(rq.headers.authorization); rs.end('{"active":false}') })
  await new Promise((done) => evil.listen(0, '127.0.0.1', done))
  try {
    const url = `https://localhost:${evil.address().port}/introspect`
    const tokens = await Promise.all(Array.from({ length: 4 }, () => opaque()))
    await add('--introspection-url', url)
    for (const a of [here, there]) await denied(submit(a, tokens[0]), 'keys_unavailable', 'UNAVAILABLE')
    assert.match((await resource()).issuer.introspection_failure, /the folder .*localhost:\d+ cannot be opened: No such file/)
    // a link to the folder or to the secret is none
    for (const n of nodes) fs.symlinkSync(folder(n), folder(n, url))
    await add('--max-lifetime', '52m')
    await denied(submit(here, tokens[1]), 'keys_unavailable')
    assert.match((await resource()).issuer.introspection_failure, /cannot be opened: (Not a directory|Too many levels)/)
    for (const n of nodes) {
      fs.rmSync(folder(n, url))
      fs.mkdirSync(folder(n, url), { mode: 0o700 })
      fs.symlinkSync(path.join(folder(n), 'asker'), path.join(folder(n, url), 'asker'))
    }
    await add('--max-lifetime', '53m')
    await denied(submit(here, tokens[2]), 'keys_unavailable')
    assert.match((await resource()).issuer.introspection_failure, /it is a link, which is not followed/)
    assert.deepEqual(heard, [])
    for (const n of nodes) {
      fs.rmSync(path.join(folder(n, url), 'asker'))
      provide(n, 'asker', 'a-secret-for-that-host', url)
    }
    await add('--max-lifetime', '54m')
    await denied(submit(here, tokens[3]), 'invalid_token')
    assert.deepEqual(heard, [`Basic ${Buffer.from('asker:a-secret-for-that-host').toString('base64')}`])
    for (const n of nodes) fs.rmSync(folder(n, url), { recursive: true })
  } finally {
    evil.closeAllConnections()
    evil.close()
  }
  await add('--introspection-url', `${idp.url}/token/introspection`)
  await submit(here, await opaque())
})

test('T5 I-8 nor does an operator say whose certificates count where a secret is sent: not those of his own CA, though the host is the right one / the ca.pem of the node counts', async () => {
  const mallory = new Ca(cluster.first.path('pki'), 'mallory'), leaf = mallory.leaf('mallory-server', { sans: ['DNS:localhost'], eku: 'serverAuth' })
  await add('--issuer-ca', mallory.cert)
  const token = await opaque()
  const honest = idp.server
  await idp.stop()
  idp.server = leaf
  await idp.restart()
  assert.equal(await asked(async () => { for (const a of [here, there]) await denied(submit(a, token), 'keys_unavailable') }), 0)
  assert.match((await resource()).issuer.introspection_failure, /certificate|SSL|TLS/i)
  await idp.stop()
  idp.server = honest
  await idp.restart()
  await submit(here, await opaque()) // whatever the issuer says of its CA
  await add('--issuer-ca', cluster.first.serverCa.cert)
})

test('I-8 a secret that others can read, of whose folder others can change what is in it, or that is empty or too large is not sent / as it was it is', async () => {
  const file = path.join(folder(nodes[0]), 'asker')
  for (const [what, say, back] of [
    [() => fs.chmodSync(file, 0o644), /0600/, () => fs.chmodSync(file, 0o600)],
    [() => fs.chmodSync(folder(nodes[0]), 0o770), /others can write/, () => fs.chmodSync(folder(nodes[0]), 0o700)],
    [() => fs.chmodSync(nodes[0].path('secrets'), 0o777), /others can write/, () => fs.chmodSync(nodes[0].path('secrets'), 0o700)],
    [() => fs.chmodSync(path.join(folder(nodes[0]), 'ca.pem'), 0o666), /others can write/, () => fs.chmodSync(path.join(folder(nodes[0]), 'ca.pem'), 0o644)],
    [() => fs.writeFileSync(file, ''), /empty/, () => provide(nodes[0], 'asker', SECRET)],
    [() => fs.writeFileSync(file, 'x'.repeat(1025)), /1024|large|over/, () => provide(nodes[0], 'asker', SECRET)],
    [() => { fs.rmSync(file); fs.mkdirSync(file) }, /regular file/, () => { fs.rmdirSync(file); provide(nodes[0], 'asker', SECRET) }]
  ]) {
    what()
    await nodes[0].reloaded()
    assert.equal(await asked(async () => denied(submit(here, await opaque()), 'keys_unavailable')), 0)
    assert.match((await resource()).issuer.introspection_failure, say)
    back()
    await nodes[0].reloaded()
    await submit(here, await opaque())
  }
})

test('I-2 of the issuers of one tenant one alone is asked, in one call, in two at once, and beside that of the configuration: the other is refused by name / for another tenant it is taken', async () => {
  assert.match((await denied(apply(spec()), 'wrong_state')).message, /issuer\.introspection_url: issuer live is asked about tokens of one of its tenants/)
  const aa = spec({ name: 'aa', url: 'https://aa.example', tenants: ['globex'] }), bb = spec({ name: 'bb', url: 'https://bb.example', tenants: ['globex'] })
  assert.match((await denied(apply([aa, bb]), 'wrong_state')).message, /issuer aa is asked/)
  const done = await Promise.allSettled([apply(aa), apply(bb, '', op)])
  assert.ok(done.filter((d) => d.status === 'fulfilled').length <= 1)
  for (const name of ['aa', 'bb']) await remove(name).catch(() => {})
  await apply(aa)
  const tell = (t) => t.replace(/- \{name: static,/, (x) => `- {name: static, introspection: {url: "https://s.example/i", client_id: x, client_cert: "${cluster.first.server.cert}", client_key: "${cluster.first.server.key}"},`)
  const before = cluster.change
  cluster.change = (n, t) => before(n, tell(t))
  nodes[0].writeConfig()
  assert.match(await nodes[0].reloaded('deny'), /registered issuer\/(aa|live): another issuer is asked about tokens of one of its tenants/)
  cluster.change = before
  nodes[0].writeConfig()
  await nodes[0].reloaded()
  await remove('aa')
})

test('O-4 what a file of resources says of it is compared, applied and exported: the secret by its name / a secret, a path to one, or a certificate in its place is refused by its name', async () => {
  const out = await says('export', '--kind', 'issuer').catch(() => says('export'))
  for (const line of ['introspection_url:', 'introspection_client_id: "asker"', 'introspection_secret: "asker"', 'introspection_cache_s: 2']) assert.ok(out.includes(line), `${line}\n${out}`)
  const file = cluster.first.path('live.yaml')
  const doc = out.slice(out.search(/^---/m))
  const run = async (status, verb, text, ...more) => { fs.writeFileSync(file, text); const r = await tool(verb, '-f', file, ...more); assert.equal(r.status, status, r.stdout + r.stderr); return r.stdout + r.stderr }
  await run(0, 'diff', doc)
  const changed = doc.replace('introspection_cache_s: 2', 'introspection_cache_s: 3')
  assert.match(await run(1, 'diff', changed), /introspection_cache_s/)
  await run(0, 'apply', changed, '--reason', 'x', '--yes')
  assert.equal((await resource()).issuer.introspection_cache_s, 3)
  await run(0, 'apply', doc, '--reason', 'x', '--yes')
  for (const [line, instead] of [
    ['introspection_secret_file: /etc/baton/x', /introspection_secret/], ['introspection_client_secret: x', /introspection_secret/], ['introspection_client_cert: /x', /introspection_cert/],
    ['introspection_client_key: /x', /introspection_cert/], ['introspection: x', /introspection_url/], ['introspection_failure: x', /the broker says it/]
  ]) assert.match(await run(65, 'diff', doc.replace(/^( *)introspection_cache_s: 2/m, (x, s) => `${x}\n${s}${line}`)), instead)
  assert.match(await run(65, 'diff', doc.replace('introspection_secret: "asker"', 'introspection_secret: "../asker"')), /introspection_secret/)
  const half = await tool('issuer', 'add', 'half', '--url', 'https://half.example', '--tenant', 'globex', '--introspection-secret', 'x', '--reason', 'x')
  assert.match(half.stderr, /issuer\.introspection_url: name the url/)
  for (const [more, field] of [[{ introspection_client_id: '' }, 'client_id'], [{ introspection_secret: '' }, 'secret'], [{ introspection_cache_s: 601 }, 'cache_s'], [{ kind: 'jwt-svid', trust_domain: 'x.example', audiences: ['x'] }, 'url']]) {
    assert.match((await refused(apply(spec({ tenants: ['globex'], ...more })))).message, new RegExp(`issuer\\.introspection_${field}: `))
  }
})

test('I-2 where it is no longer asked, or is removed, its opaque tokens are refused at once, and nobody is asked / registered again it is asked', async () => {
  const token = await opaque()
  await submit(here, token)
  await add('--introspection-url', '')
  const { issuer } = await resource()
  assert.deepEqual([issuer.introspection_url, issuer.introspection_client_id, issuer.introspection_secret, issuer.introspection_cache_s], ['', '', '', 0])
  assert.equal(await asked(async () => { for (const a of [here, there]) await denied(submit(a, token), 'invalid_token') }), 0)
  await first()
  for (const a of [here, there]) await submit(a, token)
  await remove('live')
  assert.equal(await asked(async () => { for (const a of [here, there]) await denied(submit(a, token), 'invalid_token') }), 0)
  await first()
  await submit(there, token)
})

test('I-2 questions that are under way while an issuer changes are asked anew, and end well', async () => {
  const token = await opaque()
  const before = idp.questions.length, begun = Date.now()
  idp.instead = () => {}
  const waiting = submit(here, token).then(() => '', (e) => refusalOf(e).reason)
  await until('the question', () => idp.questions.length > before)
  idp.instead = undefined
  await add('--max-lifetime', '55m')
  const took = Date.now() - begun, end = await waiting
  assert.ok(!end || (end === 'keys_unavailable' && took > 2500), end) // a question waits for 3 s
  await submit(here, token)
})

test('I-2 nodes without registry.secrets refuse to register it by that key, and take an issuer without it / a node that loses the folder asks nobody any more, and says why', async () => {
  const b = new Broker()
  try {
    await b.prepare()
    await b.start()
    const mine = new Operator(b.adminSocket)
    const r = await denied(apply(spec(), '', mine), 'egress_denied')
    assert.match(r.message, /issuer\.introspection_secret: .*registry\.secrets in their configuration names no folder/)
    await apply({ name: 'other', url: 'https://other.example', tenants: ['acme'] }, '', mine)
    mine.close()
  } finally { await b.remove() }
  const change = cluster.change
  cluster.change = (n, t) => change(n, t).replace(/, secrets: [^}]*/, '')
  nodes[1].writeConfig()
  await nodes[1].reloaded()
  assert.equal(await asked(async () => denied(submit(there, await opaque()), 'keys_unavailable')), 0)
  assert.match((await check(nodes[1])).remedy, /registry\.secrets in this node's configuration names no folder/)
  await submit(here, await opaque())
  cluster.change = change
  nodes[1].writeConfig()
  await nodes[1].reloaded()
  await submit(there, await opaque())
  const elsewhere = fs.mkdtempSync(path.join(path.dirname(nodes[1].dir), 'elsewhere-'))
  cluster.change = (n, t) => change(n, t).replace(/secrets: [^}]*/, `secrets: ${JSON.stringify(elsewhere)}`)
  nodes[1].writeConfig()
  assert.match(await nodes[1].reloaded('deny'), /registry\.secrets: .* outside the folders in which the keeper .* restart/)
  fs.rmdirSync(elsewhere)
  assert.match(await nodes[1].reloaded('deny'), /registry\.secrets/)
  cluster.change = change
  nodes[1].writeConfig()
  await nodes[1].reloaded()
})

test('I-8 after a restart it is as it was; no secret and no opaque token is in log, audit, metrics, show, export, history, state folder or Redis', async () => {
  const tokens = [await opaque(), await opaque()]
  await submit(here, tokens[0])
  await nodes[1].stop()
  await nodes[1].start()
  await submit(there, tokens[1])
  assert.equal(basic(), `asker:${SECRET}`)
  const sources = { ...await shownBy(cluster, nodes), ...{ show: await says('issuer', 'show', 'live', '-o', 'json'), export: await says('export'), history: await says('issuer', 'history', 'live', '-o', 'json') } }
  for (const [where, bytes] of Object.entries(sources)) for (const t of [...tokens, SECRET, OTHER, Buffer.from(`asker:${SECRET}`).toString('base64')]) assert.ok(!bytes.includes(t), `a secret or a token is in ${where}`)
})
