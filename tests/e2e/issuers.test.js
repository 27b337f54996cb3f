// Whose tokens count, and has the broker their keys? Issuers of the configuration, as operators see them, of a provider that is up, down, and up again; and those
// that are added, changed and removed while the broker runs.
import fs from 'node:fs'
import { execFile, spawnSync } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { Idp } from './lib/idp.js'
import { denied, read, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { AUDIENCE, STATIC_ISSUER, StaticIssuer } from './lib/tokens.js'

const LIVE = 'https://live.issuer.example'
const b = new Broker({
  admin: true,
  config: (t) => t.replace(/^store:/m, 'registry: {allow_private_fetches: true}\n$&'),
  profiles: { [ROUTE]: profile(ROUTE) },
  idp: async (x) => new Idp({ ca: x.serverCa.cert, agentsCa: x.acme.cert, server: x.server, agents: [x.leaves.planner] }).start()
})
const made = []
let local, root, idp, other, live

before(async () => {
  await b.prepare()
  idp = b.idp
  other = new Idp({ ca: b.serverCa.cert, agentsCa: b.acme.cert, server: b.server, agents: [b.leaves.planner] })
  await other.start()
  const p = profile(ROUTE, {}, [STATIC_ISSUER, LIVE, other.url, 'spiffe://acme.example'])
  b.writeProfiles({ [ROUTE]: p })
  live = await new StaticIssuer(b.path('live.jwks'), LIVE).make({ es: 'ES256' })
  await b.start()
  local = new Operator(b.adminSocket)
  made.push(local)
})
after(async () => { for (const o of made) o.close(); await other?.stop(); await b.remove() })

const env = () => ({ PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' })
const baton = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: env() })
// The same, while the issuers of this process answer.
const asks = (...args) => new Promise((done) => execFile(BATON, args, { encoding: 'utf8', env: env() }, (e, stdout, stderr) => done({ status: e ? e.code : 0, stdout, stderr })))
const says = (...args) => { const r = baton(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }
const get = async (op, name, more) => (await op.call('Get', { kind: 'issuer', name, ...more })).issuer
const list = async (op, more) => (await op.call('List', { kind: 'issuer', ...more })).resources.map((r) => r.issuer.name)

test('I-2 list and show say whose tokens count for whom, and how many keys there are until when', async () => {
  await until('the keys', async () => (await get(local, 'corp')).keys)
  assert.match(says('issuer', 'list'), /^static +https:\S+ +acme,globex +\d+ +static$/m)
  assert.match(says('issuer', 'list', '--utc', '-o', 'wide'), new RegExp(`^corp +${idp.url} +acme +1 +20\\d\\d-\\S+.* +ES256 +certificate +static$`, 'm'))
  assert.doesNotMatch(says('issuer', 'list', '--tenant', 'globex'), /^corp/m)
  const show = says('issuer', 'show', 'corp')
  for (const line of [/^url: +https:/m, /^tenants: +acme$/m, /^max lifetime: +3600 s$/m, /^keys: +1$/m, /^version: +static: /m]) assert.match(show, line)
  const json = JSON.parse(says('issuer', 'show', 'static', '-o', 'json'))
  assert.deepEqual([json.is_static, json.issuer.url, json.issuer.tenants], [true, STATIC_ISSUER, ['acme', 'globex']])
  const none = baton('issuer', 'show', 'nobody')
  assert.equal(none.status, 1)
  assert.match(none.stderr, /no such issuer.*\n.*baton issuer list/s)
})

test('An issuer whose provider is away has no keys / when it is back it has, and the time until which they are good goes on', async () => {
  await b.stop()
  await idp.stop()
  b.process = null
  const up = b.start().catch((e) => e)
  await until('the admin socket', () => get(local, 'static').then(() => true, () => false))
  assert.deepEqual([(await get(local, 'corp')).keys, Number((await get(local, 'corp')).keys_good_until_ms)], [0, 0])
  assert.match(says('issuer', 'show', 'corp'), /^keys: +none yet: its tokens are refused$/m)
  await idp.restart()
  await until('its keys', async () => (await get(local, 'corp')).keys === 1, 30000)
  assert.ok(Number((await get(local, 'corp')).keys_good_until_ms) > Date.now())
  assert.equal(await up, b)
})

test('Page by page, and what is no page of it is refused', async () => {
  const first = await local.call('List', { kind: 'issuer', page_size: 1 })
  assert.equal(first.resources.length, 1)
  const second = await local.call('List', { kind: 'issuer', page_size: 1, page_token: first.next_page_token })
  assert.deepEqual([first.resources[0].issuer.name, second.resources[0].issuer.name, second.next_page_token], ['corp', 'static', ''])
  assert.match((await refused(local.call('List', { kind: 'issuer', page_size: 201 }))).message, /page_size: /)
  assert.deepEqual(await list(local, { labels: { a: 'b' } }), [])
})

test('Those of the configuration file are static: they change there alone, and that is said', async () => {
  const issuer = { name: 'corp', url: 'https://evil.example', tenants: ['acme'] }
  for (const resource of [{ issuer }, { issuer, version: '1' }]) assert.match((await denied(local.call('Apply', { resources: [resource], reason: 'x' }), 'wrong_state')).message, /issuer\.name: it stands in the configuration file/)
  assert.match((await denied(local.call('Delete', { ref: { kind: 'issuer', name: 'corp' }, version: '1', reason: 'x' }), 'wrong_state')).message, /configuration file/)
  assert.match((await refused(local.call('History', { kind: 'issuer', name: 'corp' }))).message, /no history/)
  assert.match((await refused(local.call('List', { kind: 'banana' }))).message, /kind: .*`issuer`/)
  assert.match(baton('issuer', 'remove', 'corp', '--yes', '--reason', 'x').stderr, /static/)
  assert.equal((await get(local, 'corp')).url, idp.url)
})

test('B1 An operator of one tenant sees the issuers that speak for it, and of their tenants that one; the others look as if they were not there', async () => {
  await local.init(b.person('root').spiffe)
  root = new Operator(b.adminAddr, b.person('root'))
  made.push(root)
  await root.grant('theirs', ['auditor'], b.person('guest').spiffe, { tenant: 'globex' })
  const guest = new Operator(b.adminAddr, b.person('guest'))
  made.push(guest)
  assert.deepEqual(await list(root), ['corp', 'static'])
  assert.deepEqual(await list(guest), ['static'])
  assert.deepEqual((await get(guest, 'static')).tenants, ['globex'])
  const seen = (name, more) => get(guest, name, more).then((m) => JSON.stringify(m), (e) => `${e.code} ${e.details}`)
  assert.equal(await seen('corp'), await seen('nobody'))
  assert.equal(await seen('static', { tenant: 'acme' }), await seen('static', { tenant: 'nowhere' }))
  assert.match(await seen('corp'), /^5 not_found: /)
})

// ---- while the broker runs ----

const submit = (agent, token) => agent.submit(read(ROUTE), { token })
const apply = (op, issuer, version = '') => op.call('Apply', { resources: [{ version, issuer }], reason: 'a test' })
const resource = (name) => local.call('Get', { kind: 'issuer', name })
const remove = async (op, name) => op.call('Delete', { ref: { kind: 'issuer', name }, version: (await resource(name)).version, reason: 'a test' })

test('I-2 An issuer that is added counts at once, without a reload, on the connection that is there / before, and once it is removed, its tokens are refused', async () => {
  const planner = await b.agent('planner'), token = await live.mint(planner)
  await denied(submit(planner, token), 'wrong_issuer')
  const said = says('issuer', 'add', 'live', '--url', LIVE, '--tenant', 'acme', '--jwks', live.file, '--reason', 'the new provider')
  assert.match(said, /^live added$/m)
  assert.ok((await submit(planner, token)).handoff_id)
  const { issuer, version, is_static } = await resource('live')
  assert.deepEqual([issuer.url, issuer.tenants, issuer.keys, version, is_static], [LIVE, ['acme'], 1, '1', false])
  assert.match(says('issuer', 'show', 'live'), /^max lifetime: +3600 s$.*^keys: +1$.*^good until: +static$.*^version: +1$.*^reason: +the new provider$/ms)
  await b.audited({ event: 'issuers.changed', rpc: 'Apply', message: `added issuer/live (name: live; url: ${LIVE}; tenants: acme; jwks: sha256:${await print(live.file)}): the new provider` })
  // its honest token says nothing for a tenant that it does not speak for
  const gplanner = await b.agent('gplanner')
  await denied(submit(gplanner, await live.mint(gplanner)), 'tenant_boundary')
  assert.match(says('issuer', 'remove', 'live', '--yes', '--reason', 'it was a test'), /^live removed$/m)
  await denied(submit(planner, await live.mint(planner)), 'wrong_issuer')
  assert.equal((await refused(resource('live'))).code, 'NOT_FOUND')
  assert.match(says('issuer', 'history', 'live'), /^2 .* removed .*it was a test$.*^1 .*the new provider$/ms)
})

async function print (file) {
  const { createHash } = await import('node:crypto')
  return createHash('sha256').update(fs.readFileSync(file)).digest('hex').slice(0, 32)
}

test('I-1 A change holds for the next envelope: a token that lives too long, an algorithm that is no longer taken / what the flags do not name stays', async () => {
  const planner = await b.agent('planner')
  says('issuer', 'add', 'live', '--url', LIVE, '--tenant', 'acme', '--tenant', 'globex', '--jwks', live.file, '--reason', 'x')
  const token = await live.mint(planner)
  assert.ok((await submit(planner, token)).handoff_id)
  assert.match(says('issuer', 'add', 'live', '--max-lifetime', '1m', '--reason', 'shorter'), /^live updated$/m)
  assert.match((await denied(submit(planner, token), 'invalid_token')).message, /at most 60 seconds/)
  assert.ok((await submit(planner, await live.mint(planner, { exp: Math.floor(Date.now() / 1000) + 30 }))).handoff_id)
  assert.deepEqual([(await resource('live')).issuer.tenants, (await resource('live')).version], [['acme', 'globex'], (await resource('live')).version])
  assert.match(says('issuer', 'add', 'live', '--max-lifetime', '1m', '--reason', 'again'), /unchanged/)
  says('issuer', 'add', 'live', '--max-lifetime', '1h', '--reason', 'as before')
  assert.ok((await submit(planner, token)).handoff_id)
})

test('I-2 Of an issuer by discovery the keys are fetched from its own servers alone: with its CA its tokens count / without it they are refused, and the node stays ready', async () => {
  const planner = await b.agent('planner'), token = await other.token(planner)
  await denied(submit(planner, token), 'wrong_issuer')
  says('issuer', 'add', 'other', '--url', other.url, '--tenant', 'acme', '--allow-private', 'yes', '--reason', 'x')
  await denied(submit(planner, token), 'keys_unavailable')
  const ready = await b.http('/readyz')
  assert.equal(ready.status, 200)
  assert.match(ready.body, /no keys of issuer other/)
  assert.equal((await get(local, 'other')).keys, 0)
  says('issuer', 'add', 'other', '--issuer-ca', b.serverCa.cert, '--reason', 'its CA')
  await until('its keys', async () => (await get(local, 'other')).keys === 1)
  assert.ok((await submit(planner, token)).handoff_id)
  assert.match(says('issuer', 'show', 'other'), /^private: +its address may be$/m)
  // and an address that is private is refused unless it is said
  says('issuer', 'add', 'other', '--allow-private', 'no', '--reason', 'x')
  await until('no keys', async () => (await get(local, 'other')).keys === 0)
  await denied(submit(planner, token), 'keys_unavailable')
  await remove(local, 'other')
  assert.doesNotMatch((await b.http('/readyz')).body, /issuer other/)
})

test('I-2 I-3 An issuer of a dialect, with tenants under its own names and an audience of its own, is registered like any other / its tokens count for that alone', async () => {
  const planner = await b.agent('planner'), entra = await new StaticIssuer(b.path('entra.jwks'), LIVE).make({ es: 'ES256' })
  const guid = '7f0c1a2e-0000-4000-8000-1234567890ab'
  await remove(local, 'live')
  says('issuer', 'add', 'entra', '--url', LIVE, '--tenant', 'acme', '--dialect', 'entra', '--tenant-value', `${guid}=acme`, '--binding', 'none', '--audience', AUDIENCE, '--jwks', entra.file, '--reason', 'x')
  const claims = { client_id: undefined, azp: planner.name, tenant: undefined, tid: guid, scope: undefined, scp: 'orders:read refunds:draft', jti: undefined, uti: 'abc', cnf: undefined, sub: 'user-ana', ver: '2.0' }
  const token = (change = {}) => entra.mint(planner, { ...claims, ...change }, { header: { typ: 'JWT' } })
  assert.ok((await submit(planner, await token())).handoff_id)
  await denied(submit(planner, await token({ tid: 'another' })), 'tenant_boundary')
  await denied(submit(planner, await token({ azp: 'worker' })), 'identity_mismatch')
  assert.match(says('issuer', 'show', 'entra'), new RegExp(`^dialect: +entra$.*^typ: +jwt$.*^tenant in: +tid$.*^tenant: +${guid} is acme$`, 'ms'))
  says('issuer', 'add', 'entra', '--audience', 'another-service', '--reason', 'x')
  await denied(submit(planner, await token()), 'wrong_audience')
  // read by another dialect the token that was verified a moment ago says something else
  says('issuer', 'add', 'entra', '--audience', '', '--dialect', 'standard', '--typ', 'jwt', '--reason', 'x')
  await denied(submit(planner, await token()), 'invalid_token')
  await remove(local, 'entra')
  says('issuer', 'add', 'live', '--url', LIVE, '--tenant', 'acme', '--tenant', 'globex', '--jwks', live.file, '--reason', 'x')
})

test('I-2 test says whether the keys of an issuer can be had, and which they are; refresh has every node fetch them: a key that it took away stops working at once', async () => {
  const planner = await b.agent('planner')
  says('issuer', 'add', 'other', '--url', other.url, '--tenant', 'acme', '--issuer-ca', b.serverCa.cert, '--allow-private', 'yes', '--reason', 'x')
  assert.match((await asks('issuer', 'test', 'other')).stdout, /^keys: +1$.*^key: +idp-\d+ ES256$.*^fetched: +\S/ms)
  const token = await other.token(planner)
  assert.ok((await submit(planner, token)).handoff_id)
  await other.rotate() // the old key is gone
  assert.ok((await submit(planner, token)).handoff_id)
  const fetched = other.keyFetches
  assert.match(says('issuer', 'refresh', 'other', '--reason', 'the key was stolen'), /^other refreshed$/m)
  await b.audited({ event: 'issuers.changed', rpc: 'RefreshKeys', message: 'refreshed issuer/other (): the key was stolen' })
  await until('the new key', async () => other.keyFetches > fetched && (await resource('other')).issuer.key_ids[0].startsWith(other.jwks.keys[0].kid))
  await denied(submit(planner, token), 'invalid_token')
  assert.ok((await submit(planner, await other.token(planner))).handoff_id)
  await other.stop()
  says('issuer', 'refresh', 'other', '--reason', 'is it there?')
  await until('a failure', async () => (await resource('other')).issuer.keys_failure)
  const r = await asks('issuer', 'test', 'other')
  assert.equal(r.status, 1)
  assert.match(r.stderr, /the keys cannot be fetched.*discovery: .*\n.*serve until the time above/s)
  await other.restart()
  await remove(local, 'other')
  assert.match((await denied(local.call('RefreshKeys', { issuer: { name: 'live' }, reason: 'x' }), 'wrong_state')).message, /its keys were given/)
  for (const call of [['TestIssuer', { name: 'nobody' }], ['RefreshKeys', { issuer: { name: 'nobody' }, reason: 'x' }], ['RefreshKeys', { reason: 'x' }]]) await denied(local.call(...call), 'not_found')
})

test('attack 24 attack 16 What may not stand in an issuer is refused by its field, and nothing is kept / the same without the fault is taken', async () => {
  const good = { name: 'good', url: 'https://good.example', tenants: ['acme'] }
  const oct = Buffer.from(JSON.stringify({ keys: [{ kty: 'oct', k: 'AAAA', kid: 'a', alg: 'HS256' }] }))
  const bad = [
    ['name', { name: 'Good' }], ['name', { name: 'a/b' }], ['name', { name: '' }], ['name', { name: 'a\nb' }], ['name', { name: 'аcme' }], ['name', { name: 'a'.repeat(64) }],
    ['url', { url: 'http://good.example' }], ['url', { url: 'https://u:p@good.example' }], ['url', { url: 'https://good.example/?a' }], ['url', { url: 'https://good.example/\r\nx' }],
    ['url', { url: `https://${'a'.repeat(600)}` }], ['url', { url: STATIC_ISSUER }], ['tenants', { tenants: [] }], ['tenants', { tenants: ['*'] }], ['tenants', { tenants: ['acme', 'acme'] }],
    ['tenants', { tenants: Array.from({ length: 33 }, (_, i) => `t${i}`) }], ['audiences', { audiences: ['a b'] }], ['audiences', { audiences: Array.from({ length: 17 }, (_, i) => `a${i}`) }], ['kind', { kind: 'saml' }], ['trust_domain', { trust_domain: 'acme.example' }], ['audiences', { kind: 'jwt-svid', trust_domain: 'acme.example' }],
    ['trust_domain', { kind: 'jwt-svid', audiences: ['x'] }], ['dialect', { kind: 'jwt-svid', trust_domain: 'acme.example', audiences: ['x'], dialect: 'okta' }], ['dialect', { dialect: 'Entra' }], ['typ', { typ: 'JWT' }],
    ['client_claim', { client_claim: 'a b c d e' }], ['client_claim', { client_claim: 'a  b' }], ['jti_claim', { jti_claim: '- a a' }], ['service_claim', { service_claim: 'idtyp', user_claim: 'idtyp' }],
    ['tenant_values', { tenant_values: { x: 'globex' } }], ['tenant_values', { tenant_values: { '': 'acme' } }], ['algorithms', { algorithms: ['HS256'] }], ['algorithms', { algorithms: ['none'] }],
    ['algorithms', { algorithms: ['ES256', 'ES256'] }], ['max_lifetime_s', { max_lifetime_s: 604801 }], ['binding', { binding: 'dpop' }], ['tenant_claim', { tenant_claim: 'a b' }],
    ['scope_claim', { scope_claim: 's'.repeat(128) }], ['keys_refresh_s', { keys_refresh_s: 86401 }], ['keys_stale_s', { keys_stale_s: 604801 }], ['jwks', { jwks: Buffer.from('{}') }],
    ['jwks', { jwks: oct }], ['jwks', { jwks: Buffer.from('{"keys":[],"keys":[]}') }], ['ca_der', { ca_der: [Buffer.from('x')] }],
    ['ca_der', { ca_der: [new (await import('node:crypto')).X509Certificate(fs.readFileSync(b.acme.cert)).raw], jwks: fs.readFileSync(live.file) }]
  ]
  for (const [field, change] of bad) {
    const r = await refused(apply(local, { ...good, ...change }))
    assert.match(r.message, new RegExp(`resources(\\[0\\])?\\.issuer\\.${field}: `))
  }
  assert.deepEqual((await list(local)).filter((n) => n.startsWith('g')), [])
  await local.call('Apply', { resources: [{ issuer: good }], reason: 'x', dry_run: true })
  assert.deepEqual((await list(local)).filter((n) => n.startsWith('g')), [])
  await apply(local, good)
  await remove(local, 'good')
})

test('Two admins at once: one url for two names, one version for two changes: one of them is done, the other is told', async () => {
  const two = ['one', 'two'].map((name) => apply(local, { name, url: 'https://same.example', tenants: ['acme'] }))
  const done = await Promise.allSettled(two)
  assert.deepEqual(done.map((d) => d.status).sort(), ['fulfilled', 'rejected'])
  const name = done[0].status === 'fulfilled' ? 'one' : 'two'
  const { issuer, version } = await resource(name)
  const changes = await Promise.allSettled([60, 120].map((max_lifetime_s) => apply(local, { ...issuer, max_lifetime_s }, version)))
  assert.deepEqual(changes.map((d) => d.status).sort(), ['fulfilled', 'rejected'])
  assert.match((await denied(apply(local, issuer, version), 'wrong_state')).message, /it is \d+ by now, not \d+/)
  await remove(local, name)
  await apply(local, { name: 'three', url: 'https://same.example', tenants: ['acme'] }) // the url is free again
  await remove(local, 'three')
})

test('T5 Who has not the roles that a binding gives to an issuer\'s tokens may not say what that issuer is, nor may the admin socket / who has them may', async () => {
  await root.grant('platform-only', ['platform'], b.person('pia').spiffe)
  const pia = new Operator(b.adminAddr, b.person('pia'))
  made.push(pia)
  await apply(pia, { name: 'people', url: 'https://people.example', tenants: ['acme'], jwks: fs.readFileSync(live.file) }) // it names nobody yet
  await root.grant('by-token', ['sre'], { issuer: 'people', claim: 'groups', value: 'sre' })
  const { issuer, version } = await resource('people')
  const evil = { ...issuer, url: 'https://evil.example' }
  for (const op of [pia, local]) {
    assert.match((await denied(apply(op, evil, version), 'role_denied')).message, /has not sre for all tenants \(role binding by-token\)/)
    await denied(remove(op, 'people'), 'role_denied')
  }
  await apply(root, { ...evil, url: 'https://people.example', max_lifetime_s: 60 }, version)
  await remove(root, 'people')
  // nor may he bring it back as another, while the binding stands
  await denied(apply(pia, { ...evil, name: 'people' }), 'role_denied')
  await root.ungrant('by-token')
  await apply(pia, { ...evil, name: 'people' })
  await remove(pia, 'people')
})

// An issuer of JWT-SVIDs of the agents' trust domain, and one of them.
async function svids (file) {
  const spire = await new StaticIssuer(b.path(file), 'https://spire.example').make({ es: 'ES256' })
  for (const k of Object.values(spire.keys)) Object.assign(k.jwk, { use: 'jwt-svid', alg: undefined })
  spire.publish()
  const bare = { iss: undefined, iat: undefined, nbf: undefined, jti: undefined, client_id: undefined, tenant: undefined, cnf: undefined }
  return { spire, of: (agent) => spire.mint(agent, { ...bare, sub: agent.spiffe }, { header: { typ: 'JWT' } }) }
}

test('I-7 attack 12 What was revoked of an issuer of JWT-SVIDs stays so when its url is changed; and an issuer that was removed can still be revoked', async () => {
  const { spire, of } = await svids('spire.jwks')
  const issuer = { name: 'spire', url: 'https://spire.example', kind: 'jwt-svid', trust_domain: 'acme.example', tenants: ['acme'], audiences: [AUDIENCE], jwks: fs.readFileSync(spire.file) }
  await apply(local, issuer)
  const planner = await b.agent('planner'), token = await of(planner)
  assert.ok((await submit(planner, token)).handoff_id)
  const said = await local.revoke({ key_id: 'es', within: 'spire' })
  await denied(submit(planner, token), 'revoked')
  await apply(local, { ...issuer, url: 'https://elsewhere.example' }, (await resource('spire')).version)
  await denied(submit(planner, token), 'revoked')
  await local.lift(said.revocation_id)
  assert.ok((await submit(planner, token)).handoff_id)
  await remove(local, 'spire')
  const gone = await local.revoke({ issuer: { name: 'spiffe://acme.example' } })
  await apply(local, issuer)
  await denied(submit(planner, token), 'revoked')
  await local.lift(gone.revocation_id)
  await remove(local, 'spire')
})

test('attack 17 Two issuers of the JWT-SVIDs of one trust domain, in one call or in two at once: one of them is refused, and the node can be started again', async () => {
  const { spire } = await svids('two.jwks')
  const one = (name) => ({ name, url: `https://${name}.example`, kind: 'jwt-svid', trust_domain: 'td.example', tenants: ['acme'], audiences: ['x'], jwks: fs.readFileSync(spire.file) })
  assert.match((await refused(local.call('Apply', { resources: [{ issuer: one('aa') }, { issuer: one('bb') }], reason: 'x' }))).message, /two of them are for the same/)
  const done = await Promise.allSettled(['aa', 'bb'].map((n) => apply(local, one(n))))
  assert.deepEqual(done.map((d) => d.status).sort(), ['fulfilled', 'rejected'])
  assert.equal(await b.reloaded(), '')
  await remove(local, done[0].status === 'fulfilled' ? 'aa' : 'bb')
  await apply(local, one('cc')) // the trust domain is free again
  await remove(local, 'cc')
})

test('O-4 A change is told however long it is, and so is whatever was changed beside it; an operator of one tenant is not told of the others', async () => {
  const audiences = Array.from({ length: 16 }, (_, i) => `${i}`.padEnd(255, 'a')), other = [...audiences.slice(0, 15), 'z'.repeat(255)]
  const long = (a) => ({ name: 'long', url: 'https://long.example', tenants: ['acme', 'globex'], audiences: a, tenant_values: { 'guid-of-acme': 'acme', 'guid-of-globex': 'globex' } })
  await apply(local, long(audiences))
  const { changes } = await local.call('Apply', { resources: [{ version: (await resource('long')).version, issuer: long(other) }, { issuer: { name: 'quiet', url: 'https://quiet.example', tenants: ['acme'] } }], reason: 'tidy' })
  assert.match(changes[0].diff, /^audiences: \d+ bytes, sha256:\w{32} -> \d+ bytes, sha256:\w{32}$/)
  await b.audited({ event: 'issuers.changed', rpc: 'Apply', message: `updated issuer/long (${changes[0].diff}); added issuer/quiet (name: quiet; url: https://quiet.example; tenants: acme): tidy` })
  const theirs = new Operator(b.adminAddr, b.person('guest'))
  made.push(theirs)
  const seen = await theirs.call('Get', { kind: 'issuer', name: 'long' })
  assert.deepEqual([seen.issuer.tenants, seen.issuer.tenant_values, seen.updated_by, seen.reason], [['globex'], { 'guid-of-globex': 'globex' }, '', ''])
  await remove(local, 'quiet')
  await remove(local, 'long')
})

test('T5 A role that is bound to an issuer\'s tokens while that issuer is changed: one of the two is refused', async () => {
  await apply(local, { name: 'racy', url: 'https://racy.example', tenants: ['acme'] })
  let both = 0 // one after the other, as when this process or the node stood still between the two: then neither is wrong
  for (let i = 0; i < 9; i++) {
    const { issuer, version } = await resource('racy')
    const done = await Promise.allSettled([
      root.grant(`racy-${i}`, ['sre'], { issuer: 'racy', claim: 'groups', value: 'sre' }),
      apply(local, { ...issuer, max_lifetime_s: 100 + i }, version)
    ])
    if (done.every((d) => d.status === 'fulfilled')) both++
    if (done[0].status === 'fulfilled') await root.ungrant(`racy-${i}`)
  }
  assert.ok(both < 4, `${both} of 9`)
  await remove(local, 'racy')
})

test('B1 Who has his roles for one tenant changes no issuer, nor has the auditor the right / the history of one is for all tenants too', async () => {
  await root.grant('of-acme', ['platform'], b.person('aca').spiffe, { tenant: 'acme' })
  await root.grant('looks', ['auditor'], b.person('aud').spiffe)
  const [aca, aud] = ['aca', 'aud'].map((n) => new Operator(b.adminAddr, b.person(n)))
  made.push(aca, aud)
  for (const op of [aca, aud]) await denied(apply(op, { name: 'mine', url: 'https://mine.example', tenants: ['acme'] }), 'role_denied')
  await denied(aca.call('History', { kind: 'issuer', name: 'live' }), 'role_denied')
  assert.ok((await aud.call('History', { kind: 'issuer', name: 'live' })).resources.length > 1)
})

test('attack 17 A configuration that has a registered issuer too is refused, at a reload and at the start, by its name / without it, it is taken', async () => {
  const again = (t) => t.replace('issuers:\n', `issuers:\n  - {name: live, url: "https://x.example", jwks_file: "${live.file}", tenants: [acme]}\n`)
  b.writeConfig(again)
  assert.match(await b.reloaded('deny'), /registered issuer\/live: an issuer of this name stands in the configuration file: take it out of the configuration/)
  b.writeConfig((t) => t.replace('issuers:\n', `issuers:\n  - {name: else, url: "${LIVE}", jwks_file: "${live.file}", tenants: [acme]}\n`))
  assert.match(await b.reloaded('deny'), /another issuer has its url/)
  const planner = await b.agent('planner')
  assert.ok((await submit(planner, await live.mint(planner))).handoff_id)
  await b.stop()
  b.writeConfig(again)
  b.launch()
  await b.exited
  assert.notEqual(b.exit.code, 0)
  assert.match(b.log(), /registered issuer\/live: an issuer of this name stands in the configuration file/)
  b.process = null
  b.writeConfig()
  await b.start()
})

test('I-2 An issuer that is registered and away keeps no node from work, while the configuration has one that needs no provider / where all are registered, the node says that it has no keys, until one has', async () => {
  const keys = async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'keys')
  const again = async (issuers) => {
    b.writeConfig((t) => t.replace(/issuers:\n( {2}- .*\n)+/, issuers).replace(/^store:/m, 'registry: {allow_private_fetches: true}\n$&'))
    await b.stop()
    b.launch()
    return until('the registry', async () => { const c = await keys(); return /issuer gone/.test(c.remedy) && c })
  }
  says('issuer', 'add', 'gone', '--url', 'https://localhost:1', '--tenant', 'acme', '--allow-private', 'yes', '--reason', 'x')
  const [fixed] = b.yaml().match(/^ {2}- \{name: static,.*\n/m)
  assert.equal((await again(`issuers:\n${fixed}`)).ok, true)
  await b.ready()
  const planner = await b.agent('planner')
  await until('work to be taken', async () => submit(planner, await b.issuer.mint(planner)))
  planner.close()
  assert.equal((await again('')).ok, false)
  await remove(local, 'gone')
  await b.ready()
  b.writeConfig()
  await b.stop()
  await b.start()
})

test('After a restart it is as it was; and no issuer at all need stand in the configuration', async () => {
  b.writeConfig((t) => t.replace(/issuers:\n(  - .*\n)+/, ''))
  await b.stop()
  await b.start()
  const planner = await b.agent('planner')
  assert.deepEqual(await list(local), ['live'])
  assert.ok((await submit(planner, await live.mint(planner))).handoff_id)
  await denied(submit(planner, await b.issuer.mint(planner)), 'wrong_issuer')
  await remove(local, 'live')
  assert.equal((await b.http('/readyz')).status, 200)
  await denied(submit(planner, await live.mint(planner)), 'wrong_issuer')
})
