// Does Baton work with a real identity provider? oidc-provider over https: discovery, keys, certificate-bound JWT access tokens.
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { Idp } from './lib/idp.js'
import { denied, refused } from './lib/agent.js'
import { jose } from './lib/tokens.js'

let planner, auditor, idp
// The provider's clients are the agents of acme; its certificate comes from the same CA as batond's.
const b = new Broker({
  idp: async (x) => new Idp({ ca: x.serverCa.cert, agentsCa: x.acme.cert, server: x.server, agents: ['planner', 'auditor', 'worker'].map((n) => x.leaves[n]) }).start()
})

before(async () => {
  await b.prepare()
  idp = b.idp
  b.profiles[ROUTE] = profile(ROUTE, {}, [idp.url])
  b.profiles.statics = profile('statics')
  b.writeProfiles()
  b.writeConfig()
  await b.start()
  planner = await b.agent('planner', { token: await idp.token(b.leaves.planner) })
  auditor = await b.agent('auditor', { token: await idp.token(b.leaves.auditor) })
})
after(() => b.remove())

test('I-1 I-2 I-5 B4 a token of oidc-provider, bound to the agent\'s certificate, hands work over and is audited', async () => {
  const claims = jose.decodeJwt(planner.token)
  assert.equal(claims.cnf['x5t#S256'], planner.thumbprint)
  const receipt = await planner.submit()
  assert.equal(receipt.state, 'HANDOFF_STATE_QUEUED')
  const a = await b.audited({ event: 'decision', trace_id: receipt.trace_id })
  assert.deepEqual([a.issuer, a.client_id, a.jti, a.audience], [idp.url, 'planner', claims.jti, 'support-agent-runtime'])
  const worker = await b.agent('worker')
  const s = await worker.subscribe()
  const d = await s.delivery()
  assert.deepEqual([d.claims.issuer, d.claims.client_id], [idp.url, 'planner'])
  assert.equal((await s.complete(d)).ok, true)
  await s.leave()
})

test('T5 its token on another agent\'s connection is token_binding', async () => {
  await denied(auditor.submit({}, { token: planner.token }), 'token_binding', 'UNAUTHENTICATED')
  await auditor.submit()
})

test('E1 I-4 a token asked for with fewer scopes is missing_scope', async () => {
  await denied(planner.submit({}, { token: await idp.token(planner, 'orders:read') }), 'missing_scope')
  await planner.submit({}, { token: await idp.token(planner, 'orders:read refunds:draft') })
})

test('I-2 the route takes this issuer and not the static one; the other route the other way round', async () => {
  await denied(planner.submit({}, { token: await b.issuer.mint(planner) }), 'wrong_issuer')
  await denied(planner.submit({ route: 'statics' }), 'wrong_issuer')
  await planner.submit({ route: 'statics' }, { token: await b.issuer.mint(planner) })
})

test('I-2 A-5 a reload that reads claims elsewhere holds at once for a token whose signature is known, under the same keys / read as before it is taken', async () => {
  const token = await idp.token(b.leaves.planner)
  const reload = async (more) => { b.writeConfig((t) => t.replace('{name: corp,', `{name: corp, ${more}`)); await b.reloaded() }
  await planner.submit({}, { token })
  await reload('claims: {scope: elsewhere},')
  await denied(planner.submit({}, { token }), 'missing_scope')
  await reload('claims: {client: azp},')
  await denied(planner.submit({}, { token }), 'invalid_token')
  await reload('audiences: [ledger],')
  await denied(planner.submit({}, { token }), 'wrong_audience')
  await reload('')
  await planner.submit({}, { token })
})

test('I-2 OIDC Core §10.1.1 a rotated key is fetched when its kid is first seen; a stranger\'s kid does not fetch without end', async () => {
  await sleep(1100)
  await idp.rotate()
  const fresh = await idp.token(planner)
  assert.equal(jose.decodeProtectedHeader(fresh).kid, 'idp-2')
  await planner.submit({}, { token: fresh })
  const before = idp.keyFetches
  for (let i = 0; i < 30; i++) {
    await denied(planner.submit({}, { token: await b.issuer.mint(planner, { iss: idp.url }, { header: { kid: `ghost-${i}` } }) }), 'invalid_token')
  }
  assert.ok(idp.keyFetches - before <= 5, `${idp.keyFetches - before} fetches for 30 unknown kids`)
})

test('attack 13: the kid of a token asks its issuer for keys, and reaches no URL of it', async () => {
  for (const kid of ['../kidmark', '/jwks/kidmark', '?kidmark', `${idp.url}/kidmark`, 'kidmark\r\nx: y', 'kidmark%2f..']) {
    const token = await b.issuer.mint(planner, { iss: idp.url }, { header: { kid, jku: `${idp.url}/kidmark`, x5u: `${idp.url}/kidmark` } })
    const { reason } = await refused(planner.submit({}, { token }))
    assert.ok(['invalid_token', 'keys_unavailable'].includes(reason), reason)
  }
  assert.deepEqual([...idp.urls].sort(), ['/.well-known/openid-configuration', '/jwks', '/token'])
  await until('an honest token to be taken', async () => planner.submit({}, { token: await idp.token(planner) }))
})

test('reloads while tokens of unknown keys ask for fetches harm nobody', async () => {
  const ghosts = await Promise.all(Array.from({ length: 20 }, (_, i) => b.issuer.mint(planner, { iss: idp.url }, { header: { kid: `reload-${i}` } })))
  const asking = ghosts.map(async (token) => { for (let i = 0; i < 5; i++) await planner.submit({}, { token }).then(() => assert.fail('accepted'), () => {}) })
  for (let i = 0; i < 10; i++) { b.signal('SIGHUP'); await sleep(30) }
  await Promise.all(asking)
  await until('an honest token to be taken', async () => planner.submit({}, { token: await idp.token(planner) }))
})

test('the provider down: its last good keys go on serving', async () => {
  const token = await idp.token(planner)
  await planner.submit({}, { token })
  const other = await idp.token(planner)
  await idp.stop()
  await planner.submit({}, { token: other })
  await idp.restart()
})

test('the provider down at the start: keys_unavailable, never allowed; it recovers alone', async () => {
  const token = await idp.token(planner)
  await b.stop()
  await idp.stop()
  b.process = null
  const up = b.start().catch((e) => e)
  await until('the listener', async () => (await b.http('/readyz')).status)
  planner = await b.agent('planner', { token })
  await until('a refusal', () => denied(planner.submit(), 'keys_unavailable', 'UNAVAILABLE'), 10000)
  await idp.restart()
  await until('the keys to be there', () => planner.submit(), 30000)
  assert.equal(await up, b)
})
