// Are JWT-SVIDs believed, on the connection of the workload that they are of and nowhere else? Keys from a SPIFFE bundle.
import fs from 'node:fs'
import { test, before, after, assert, sleep } from './lib/suite.js'
import { Broker, ROUTE, profile } from './lib/broker.js'
import { denied } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { StaticIssuer } from './lib/tokens.js'

const URL = 'https://spire.acme.example'
const SVIDS = 'spiffe://acme.example' // what profiles and revocations call them
const only = (subject) => ({ ...profile('x', { identity: { ...profile('x', {}, [SVIDS]).identity, subject } }, [SVIDS]), route: `${subject}s` })
const b = new Broker({
  profiles: { [ROUTE]: profile(ROUTE, {}, [SVIDS]), statics: profile('statics'), users: only('user'), services: only('service') },
  config: (t) => t.replace('\nstore:\n', `\n  - {name: spire, url: "${URL}", kind: jwt-svid, trust_domain: acme.example, jwks_file: "${b.path('bundle.json')}", tenants: [acme], audiences: [support-agent-runtime]}\nstore:\n`)
})
const spire = new StaticIssuer(b.path('bundle.json'), URL)
const bare = { iss: undefined, iat: undefined, nbf: undefined, jti: undefined, client_id: undefined, tenant: undefined, cnf: undefined }
let planner, auditor, local

before(async () => {
  await spire.make({ es: 'ES256', ed: 'EdDSA' })
  for (const k of Object.values(spire.keys)) Object.assign(k.jwk, { use: 'jwt-svid', alg: undefined });
  spire.publish();
  [planner, auditor] = await b.startWith('planner', 'auditor')
  local = new Operator(b.adminSocket)
})
after(async () => { local.close(); await b.remove() })

const svid = (agent, change = {}, { typ = 'JWT', ...more } = {}) => spire.mint(agent, { ...bare, sub: agent.spiffe, ...change }, { header: { typ }, ...more })
const now = () => Math.floor(Date.now() / 1000)

test('I-2 I-5 a JWT-SVID without iss, iat, jti and client is its workload\'s own token / it never speaks for a user', async () => {
  const token = await svid(planner)
  const { trace_id } = await planner.submit({}, { token })
  const a = await b.audited({ event: 'decision', trace_id })
  assert.deepEqual([a.issuer, a.subject, a.client_id, a.audience], [SVIDS, planner.spiffe, planner.spiffe, 'support-agent-runtime'])
  await planner.submit({}, { token: await svid(planner, { iss: URL, iat: now(), jti: 'j' }, { typ: undefined }) })
  await planner.submit({ route: 'services' }, { token })
  await denied(planner.submit({ route: 'users' }, { token }), 'route_denied', 'PERMISSION_DENIED')
  await denied(planner.submit({ route: 'statics' }, { token }), 'wrong_issuer', 'UNAUTHENTICATED')
})

test('T5 I-5 another workload\'s JWT-SVID is token_binding, a user\'s name or another trust domain\'s id in sub is refused / its own is taken', async () => {
  await denied(auditor.submit({}, { token: await svid(planner) }), 'token_binding', 'UNAUTHENTICATED')
  await denied(planner.submit({}, { token: await svid(auditor) }), 'token_binding', 'UNAUTHENTICATED')
  await auditor.submit({}, { token: await svid(auditor) })
  await denied(planner.submit({}, { token: await svid(planner, { iss: URL, sub: 'user-ana' }) }), 'invalid_token')
  await denied(planner.submit({}, { token: await svid(planner, { iss: URL, sub: 'spiffe://globex.example/gplanner' }) }), 'invalid_token')
  await denied((await b.agent('gplanner')).submit({}, { token: await svid(b.leaves.gplanner) }), 'invalid_token')
})

test('I-2 I-3 what a JWT-SVID must have is demanded: aud, exp, its typ, an algorithm of the specification, a life within the cap / at the cap it is taken', async () => {
  for (const [change, reason, opts] of [
    [{ aud: undefined }, 'invalid_token'], [{ aud: 'another-service' }, 'wrong_audience'], [{ exp: undefined }, 'invalid_token'], [{ exp: now() - 60 }, 'expired_token'],
    [{}, 'invalid_token', { typ: 'at+jwt' }], [{}, 'invalid_token', { kid: 'ed' }], [{ exp: now() + 3660 }, 'invalid_token'], [{ iss: 'https://evil.example' }, 'wrong_issuer']
  ]) await denied(planner.submit({}, { token: await svid(planner, change, opts) }), reason, 'UNAUTHENTICATED')
  await planner.submit({}, { token: await svid(planner, { exp: now() + 3600 }) })
})

test('I-7 R-3 what is revoked by the time of issue takes a JWT-SVID that does not say when it was issued / one that was issued after it is taken', async () => {
  const [undated, dated] = [await svid(planner), await svid(planner, { iat: now() - 60 })]
  await planner.submit({}, { token: undated })
  const r = await local.revoke({ subject: planner.spiffe })
  await denied(planner.submit({}, { token: undated }), 'revoked')
  await denied(planner.submit({}, { token: dated }), 'revoked')
  await sleep(2500) // past the clock skew that is allowed for, and the second
  await denied(planner.submit({}, { token: await svid(planner) }), 'revoked') // it may be from before
  await planner.submit({}, { token: await svid(planner, { iat: now() }) })
  await local.lift(r.revocation_id)
  await planner.submit({}, { token: undated })
})

test('The bundle\'s keys for X.509 sign no token', async () => {
  for (const k of Object.values(spire.keys)) k.jwk.use = 'x509-svid'
  const text = fs.readFileSync(spire.file, 'utf8')
  spire.publish()
  assert.match(await b.reloaded('deny'), /the JWKS has no usable key .*its use is not sig/)
  fs.writeFileSync(spire.file, text)
  await b.reloaded()
})

test('Operators are shown what binds its tokens, whom they are for and what they are read by', async () => {
  const show = async (name) => (await local.call('Get', { kind: 'issuer', name })).issuer
  const { binding, audiences, algorithms } = await show('spire')
  assert.deepEqual([binding, audiences, algorithms], ['spiffe-id', ['support-agent-runtime'], ['ES256', 'ES384', 'RS256', 'PS256']])
  b.writeConfig((t) => b.change(t).replace('{name: static,', '{name: static, typ: jwt, claims: {client: [azp, cid], scope: /a/b},'))
  await b.reloaded()
  const other = await show('static')
  assert.deepEqual([other.binding, other.audiences, other.client_claim, other.scope_claim], ['certificate', [], 'azp cid', '/a/b'])
  b.writeConfig()
  await b.reloaded()
})
