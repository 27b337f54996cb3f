// What becomes of tokens when their issuer is down, or answers nonsense? One issuer for each fault, all on one broker that soon forgets keys:
// first every one is broken, then every one is mended, then all break again while their keys are still good.
import fs from 'node:fs'
import net from 'node:net'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { refusalOf, denied, read } from './lib/agent.js'
import { Ca } from './lib/pki.js'
import { Provider, send } from './lib/provider.js'

const trap = { hits: 0 } // where a fetch that lets itself be led astray would arrive
const twice = (o) => JSON.stringify(o).replace('{', '{"issuer":"https://evil.example",')
const status = (code, headers) => (rq, rs) => rs.writeHead(code, headers).end()
const document = (change) => (p) => { p.discovery = (rq, rs, body) => send(rq, rs, change(body, p)) }
const keys = (change) => (p) => { p.jwks = (rq, rs, body) => send(rq, rs, change(body, p)) }
const jwksUri = (uri) => document((d, p) => ({ ...d, jwks_uri: typeof uri === 'function' ? uri(p) : uri }))
const oct = { kty: 'oct', kid: 'es', k: 'c2VjcmV0', alg: 'HS256' }

// name → [how the provider breaks, what the log says of it]
const FAULTS = {
  down: [(p) => p.stop(), /connect/i],
  stranger: [(p) => p.http.setSecureContext({ cert: fs.readFileSync(p.other.cert), key: fs.readFileSync(p.other.key) }), /certificate/i],
  silent: [(p) => { p.discovery = () => {} }, /^timed out/],
  drip: [(p) => { p.jwks = (rq, rs, body) => drip(rs, JSON.stringify(body)) }, /^timed out/],
  cut: [(p) => { p.jwks = (rq, rs) => { rs.writeHead(200, { 'content-length': 100 }).write('{"keys":['); rq.socket.end() } }, /./],
  e500: [(p) => { p.discovery = status(500) }, /^the status is not 200/],
  e404: [(p) => { p.jwks = status(404) }, /^the status is not 200/],
  noise: [document(() => '<html>down for repairs</html>'), /^not a discovery document/],
  twice: [document(twice), /^not a discovery document/],
  list: [document(() => []), /another issuer|not a discovery document/],
  other: [document((d) => ({ ...d, issuer: 'https://evil.example' })), /another issuer/],
  slash: [document((d) => ({ ...d, issuer: `${d.issuer}/` })), /another issuer/],
  nouri: [document(({ issuer }) => ({ issuer })), /has no jwks_uri/],
  plain: [jwksUri((p) => `http://localhost:${p.port}/jwks`), /no https address of the same host and port/],
  abroad: [jwksUri(() => `https://127.0.0.77:${trap.port}/jwks`), /no https address of the same host and port/],
  metadata: [jwksUri('https://169.254.169.254/latest/meta-data'), /no https address of the same host and port/],
  badjson: [keys((k) => JSON.stringify(k).slice(1)), /^not a JWKS/],
  empty: [keys(() => ({ keys: [] })), /no usable key/],
  useless: [keys(() => ({ keys: [oct, { kty: 'EC', crv: 'P-256', kid: 'es', x: 'AA', y: 'AA' }] })), /no usable key/],
  many: [keys((k) => ({ keys: Array(65).fill(k.keys[0]) })), /at most 64 keys/],
  huge: [keys((k) => ({ ...k, more: 'x'.repeat(300 << 10) })), /^the answer is too large/],
  endless: [(p) => { p.discovery = (rq, rs) => endless(rs) }, /^the answer is too large/],
  inside: [(p) => { p.jwks = status(302, { location: '/jwks2' }) }, /^redirected/],
  outside: [(p) => { p.discovery = status(307, { location: `https://127.0.0.77:${trap.port}/` }) }, /^redirected/]
}
const SLOW = ['silent', 'drip']
const providers = []

function drip (rs, text) {
  rs.writeHead(200, { 'content-length': text.length })
  const timer = setInterval(() => { rs.write(text[0]); text = text.slice(1) || 'x' }, 100)
  rs.on('close', () => clearInterval(timer))
}

function endless (rs) {
  rs.writeHead(200, { 'content-type': 'application/json' })
  const more = () => { while (!rs.destroyed && rs.write(' '.repeat(16384))); }
  rs.on('drain', more)
  more()
}

let planner
// Before the broker's own ports are chosen, so that they are others.
const b = new Broker({ idp: startProviders })

async function startProviders (x) {
  const foreign = new Ca(x.path('pki'), 'strangers').leaf('stranger', { sans: ['DNS:localhost'], eku: 'serverAuth' })
  const listener = net.createServer((s) => { trap.hits++; s.destroy() })
  await new Promise((done) => listener.listen(0, '127.0.0.77', done)) // where no other test's client strays
  trap.port = listener.address().port
  for (const name of Object.keys(FAULTS)) {
    const p = new Provider({ name, server: x.server, file: x.path(`${name}.jwks`), options: ', keys_refresh: 2s, keys_stale: 6s' })
    p.other = foreign
    providers.push(await p.start())
  }
}

const each = (fn) => Promise.all(providers.map(fn))
const breakAll = () => each((p) => FAULTS[p.name][0](p))
const mendAll = () => each(async (p) => {
  p.mend()
  if (!p.http) await p.listen()
  p.http.setSecureContext({ cert: fs.readFileSync(p.server.cert), key: fs.readFileSync(p.server.key) })
})
const submit = async (p, token) => planner.submit(read(ROUTE), { token: token || await p.issuer.mint(planner), timeout: 30000 })
const ready = async () => { const r = await b.http('/readyz'); return { ...JSON.parse(r.body).checks.find((c) => c.check === 'keys'), status: r.status } }
const logged = (event, p) => b.log().split('\n').filter((l) => l.includes(`"${event}"`)).map((l) => JSON.parse(l)).filter((l) => l.issuer === p.name)
async function metric (name, labels) {
  const row = (await b.http('/metrics')).body.split('\n').find((l) => l.startsWith(`${name}{${labels}}`))
  return row && Number(row.split(' ')[1])
}

before(async () => {
  await b.prepare()
  b.profiles[ROUTE] = profile(ROUTE, {}, providers.map((p) => p.url))
  b.writeProfiles()
  b.writeConfig((t) => t.replace('issuers:\n', `issuers:\n${providers.map((p) => p.row(b.serverCa.cert)).join('')}`))
  await breakAll()
})
after(async () => { await b.remove(); await each((p) => p.stop()) })

test('I-2 OIDC Discovery §4.3: an issuer that is broken from the start: keys_unavailable, never allowed, and everybody is told / mended, it is served', async () => {
  const up = b.start().catch((e) => e)
  await until('the listener', async () => (await b.http('/readyz')).status)
  planner = await b.agent('planner')
  // it listens before it has heard of the registry, and says so
  await until('the registry', () => submit(providers[0]).catch((e) => refusalOf(e).reason !== 'store_unavailable'))
  await each(async (p) => {
    await denied(submit(p), 'keys_unavailable', 'UNAVAILABLE')
    const said = await until(`the log's word about ${p.name}`, () => logged('keys.fetch_failed', p)[0])
    assert.match(said.why, FAULTS[p.name][1], p.name)
    assert.ok(await metric('baton_keys_fetches_total', `issuer="${p.name}",result="failed"`) > 0)
    assert.equal(await metric('baton_keys_usable_seconds', `issuer="${p.name}"`), 0)
  })
  const r = await ready()
  assert.deepEqual([r.status, r.ok], [503, false])
  assert.match(r.remedy, /^there are no keys of issuer down, its tokens are refused \(discovery: .*connect.*\): see whether https:/)
  await mendAll()
  await each((p) => until(`${p.name} to be served`, () => submit(p), 30000))
  assert.equal(await up, b)
}, 90000)

test('I-2 bounded staleness: the last good keys serve for keys_stale and no longer, cached tokens included / mended, it is served again', async () => {
  const failures = (p) => logged('keys.fetch_failed', p).length
  const earlier = {}
  const tokens = {}
  await each(async (p) => {
    tokens[p.name] = await p.issuer.mint(planner)
    await submit(p, tokens[p.name])
    earlier[p.name] = failures(p)
  })
  await breakAll()
  const warned = until('the warning', async () => { const r = await ready(); return r.ok && /cannot be fetched/.test(r.remedy) && r })
  await each(async (p) => {
    if (!SLOW.includes(p.name)) await until(`a failed fetch from ${p.name}`, () => failures(p) > earlier[p.name])
    await submit(p)
  })
  assert.match((await warned).remedy, /^the keys of issuer \w+ cannot be fetched \(.*\): the last ones serve \d+ s more/)
  await each(async (p) => {
    await until(`${p.name} to be forgotten`, () => denied(submit(p, tokens[p.name]), 'keys_unavailable', 'UNAVAILABLE'), 30000)
    await until(`the log's word about ${p.name}`, () => logged('keys.lapsed', p).length === 1)
    await until(`the metric of ${p.name}`, async () => await metric('baton_keys_usable_seconds', `issuer="${p.name}"`) === 0)
  })
  assert.equal((await ready()).status, 503)
  await mendAll()
  await each((p) => until(`${p.name} to be served`, () => submit(p, tokens[p.name]), 30000))
  await until('the node to be ready', async () => (await ready()).status === 200)
}, 90000)

test('nobody was led astray: no fetch left its issuer\'s two documents', async () => {
  assert.equal(trap.hits, 0)
  for (const p of providers) assert.deepEqual([...new Set(p.seen)].filter((u) => !['/.well-known/openid-configuration', '/jwks'].includes(u)), [], p.name)
})
