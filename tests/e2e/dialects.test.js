// Are the tokens of each provider read as it writes them? One issuer a dialect, its tokens in that provider's shape on real submits; each refusal
// beside the honest twin.
import fs from 'node:fs'
import { spawnSync } from 'node:child_process'
import { test, before, after, assert } from './lib/suite.js'
import { BATON, Broker, ROUTE, profile } from './lib/broker.js'
import { denied } from './lib/agent.js'
import { StaticIssuer } from './lib/tokens.js'

const GUID = '72f988bf-86f1-41af-91ab-2d7cd011db47'
const AUD = 'support-agent-runtime'
const SCOPES = ['orders:read', 'refunds:draft']
// What the kit's token has and the provider's has not.
const BARE = { client_id: undefined, scope: undefined, tenant: undefined, nbf: undefined, jti: undefined }

// url; more of its rule; header; claims by agent name; how a client's own token differs.
const providers = {
  entra: {
    url: `https://login.microsoftonline.example/${GUID}/v2.0`, rule: `claims: {tenant_values: {${GUID}: acme}}`, typ: 'JWT',
    claims: (a) => ({ ...BARE, ver: '2.0', azp: a, azpacr: '2', uti: `u-${a}`, oid: 'o', tid: GUID, scp: SCOPES.join(' ') }),
    own: () => ({ scp: undefined, roles: SCOPES, idtyp: 'app' })
  },
  okta: {
    url: 'https://acme.okta.example/oauth2/default', rule: 'binding: none', typ: undefined, // it binds to no certificate
    claims: (a) => ({ ...BARE, ver: 1, jti: 'AT.x', cid: a, uid: '00u1', scp: SCOPES, cnf: undefined }),
    own: (a) => ({ uid: undefined, sub: a })
  },
  keycloak: {
    url: 'https://sso.acme.example/realms/acme', rule: 'typ: jwt, claims: {scope: /realm_access/roles}', typ: 'JWT',
    claims: (a) => ({ ...BARE, jti: 'j', typ: 'Bearer', aud: ['account', AUD], azp: a, sid: 's', scope: 'profile email', realm_access: { roles: [...SCOPES, 'uma'] } }),
    own: (a) => ({ sid: undefined, client_id: a, preferred_username: `service-account-${a}` })
  },
  auth0: {
    url: 'https://acme.eu.auth0.example/', rule: 'typ: jwt, claims: {tenant: "https://acme.example/tenant"}', typ: 'JWT',
    claims: (a) => ({ ...BARE, sub: 'auth0|1', aud: [AUD, 'https://acme.eu.auth0.example/userinfo'], azp: a, scope: `openid ${SCOPES.join(' ')}`, 'https://acme.example/tenant': 'acme' }),
    own: (a) => ({ sub: `${a}@clients`, gty: 'client-credentials' })
  }
}
const all = Object.values(providers).map((p) => p.url)
const kind = (subject) => profile('x', { identity: { ...profile('x', {}, all).identity, subject } }, all)
const b = new Broker({
  profiles: { [ROUTE]: profile(ROUTE, {}, all), users: { ...kind('user'), route: 'users' }, services: { ...kind('service'), route: 'services' } },
  config: (t) => t.replace('\nstore:\n', '\n' + Object.entries(providers).map(([name, p]) =>
    `  - {name: ${name}, url: "${p.url}", jwks_file: "${b.path(name + '.jwks')}", tenants: [acme], dialect: ${name}, ${p.rule}}\n`).join('') + 'store:\n')
})
let planner

before(async () => {
  for (const [name, p] of Object.entries(providers)) p.issuer = await new StaticIssuer(b.path(`${name}.jwks`), p.url).make({ es: 'ES256' });
  [planner] = await b.startWith('planner')
})
after(() => b.remove())

const mint = (p, change = {}, header = {}) => p.issuer.mint(planner, { ...p.claims('planner'), ...change }, { header: { typ: p.typ, ...header } })

// It is refused for this reason, and audited; the honest twin passes.
async function refusedToken (p, token, reason, field) {
  const r = await denied(planner.submit({}, { token }), reason)
  if (field) assert.equal(r.status.decision.field, field)
  await b.audited({ event: 'decision', outcome: 'deny', reason, trace_id: r.trace_id })
  await planner.submit({}, { token: await mint(p) })
  return r
}

for (const [name, p] of Object.entries(providers)) {
  test(`I-2 A-1 ${name}: its token is taken as it comes, a user's on routes for users and a client's own on those for services / not the other way round`, async () => {
    const [user, own] = [await mint(p), await mint(p, p.own('planner'))]
    const { trace_id } = await planner.submit({}, { token: user })
    const a = await b.audited({ event: 'decision', trace_id })
    assert.deepEqual([a.issuer, a.client_id, a.audience], [p.url, 'planner', AUD])
    await planner.submit({ route: 'users' }, { token: user })
    await planner.submit({ route: 'services' }, { token: own })
    await denied(planner.submit({ route: 'services' }, { token: user }), 'route_denied', 'PERMISSION_DENIED')
    await denied(planner.submit({ route: 'users' }, { token: own }), 'route_denied', 'PERMISSION_DENIED')
  })

  test(`I-2 ${name}: an ID token under the same key is refused: with nonce, for its own client, with another typ / its access token is taken`, async () => {
    await refusedToken(p, await mint(p, { nonce: 'n' }), 'invalid_token', 'nonce')
    await refusedToken(p, await mint(p, { at_hash: 'h' }), 'invalid_token', 'at_hash')
    await refusedToken(p, await mint(p, { aud: [AUD, 'planner'] }), 'invalid_token', 'aud')
    await refusedToken(p, await mint(p, {}, { typ: 'logout+jwt' }), 'invalid_token', 'typ')
    await refusedToken(p, await mint(p, { typ: 'ID' }), 'invalid_token', 'typ')
  })

  test(`T5 I-4 ${name}: another client, another audience, scopes of another type or too few are refused, each with its reason / as it should be it is taken`, async () => {
    const [client] = ['azp', 'cid'].filter((c) => p.claims('x')[c])
    await refusedToken(p, await mint(p, { [client]: 'auditor' }), 'identity_mismatch', 'client_id')
    await refusedToken(p, await mint(p, { [client]: ['planner'] }), 'invalid_token', client)
    await refusedToken(p, await mint(p, { aud: 'another-service' }), 'wrong_audience', 'aud')
    const [scope] = ['scp', 'realm_access', 'scope'].filter((c) => p.claims('x')[c])
    const as = (v) => ({ [scope]: scope === 'realm_access' ? { roles: v } : v })
    await refusedToken(p, await mint(p, as({ 'orders:read': true })), 'invalid_token', 'scope')
    await refusedToken(p, await mint(p, as(['orders:read', 7])), 'invalid_token', 'scope')
    await refusedToken(p, await mint(p, as(['orders:read'])), 'missing_scope')
  })
}

test('B1 T5 a tenant is what its value is listed as: another directory\'s GUID, or a Baton name in its place, is tenant_boundary / the listed one is taken', async () => {
  const { entra, auth0 } = providers
  for (const tid of ['9188040d-6c67-4c5b-b112-36a304b66dad', 'acme', GUID.toUpperCase(), undefined]) {
    await refusedToken(entra, await mint(entra, { tid }), 'tenant_boundary', 'tenant')
  }
  await refusedToken(auth0, await mint(auth0, { 'https://acme.example/tenant': 'globex' }), 'tenant_boundary', 'tenant')
  await planner.submit({}, { token: await mint(auth0, { tenant: 'globex', acme: { tenant: 'globex' } }) }) // what is not named is not read
})

test('I-2 A-5 a reload that reads claims elsewhere, or wants a typ again, holds for tokens that were verified before it / as before it they are taken', async () => {
  const { keycloak, entra } = providers
  const [k, e] = [await mint(keycloak), await mint(entra)]
  const both = () => Promise.all([k, e].map((token) => planner.submit({}, { token })))
  const reload = async (change) => { b.writeConfig((t) => change(b.change(t))); await b.reloaded() }
  await both()
  await reload((t) => t.replace('scope: /realm_access/roles', 'scope: scope'))
  await denied(planner.submit({}, { token: k }), 'missing_scope')
  await reload((t) => t.replace('dialect: keycloak, typ: jwt', 'dialect: keycloak'))
  const r = await denied(planner.submit({}, { token: k }), 'invalid_token')
  assert.match(r.message, /have the issuer write at\+jwt/)
  await reload((t) => t.replace(`{${GUID}: acme}`, '{another: acme}'))
  await denied(planner.submit({}, { token: e }), 'tenant_boundary')
  await reload((t) => t)
  await both()
})

test('I-3 an issuer with a list of audiences speaks to no other service, whatever its token says / one without, or with ours in it, does', async () => {
  const { entra } = providers
  const token = await mint(entra, { aud: ['ledger', AUD] })
  const reload = async (list) => { b.writeConfig((t) => b.change(t).replace('dialect: entra,', `dialect: entra, audiences: ${JSON.stringify(list)},`)); await b.reloaded() }
  await planner.submit({}, { token })
  await reload(['ledger'])
  const r = await denied(planner.submit({}, { token }), 'wrong_audience', 'UNAUTHENTICATED')
  assert.match(r.message, /the token's issuer may not speak to support-agent-runtime: .*audiences/)
  await reload(['ledger', AUD])
  await planner.submit({}, { token })
  b.writeConfig()
  await b.reloaded()
})

test('baton token verify --dialect reads a token as its issuer\'s rule would', async () => {
  const verify = (p, name, token, ...args) => {
    fs.writeFileSync(b.path('t'), token)
    const r = spawnSync(BATON, ['token', 'verify', b.path('t'), '--jwks', p.issuer.file, '--issuer', p.url, '--audience', AUD, '--cert', planner.cert, ...args],
      { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, ASAN_OPTIONS: 'exitcode=99' } })
    return `${r.status} ${r.stdout.trim()}`
  }
  const { entra, keycloak } = providers
  assert.equal(verify(entra, 'entra', await mint(entra), '--dialect', 'entra'), '0 ')
  assert.equal(verify(entra, 'entra', await mint(entra)), '77 invalid_token')
  assert.equal(verify(keycloak, 'keycloak', await mint(keycloak), '--dialect', 'keycloak', '--typ', 'jwt'), '0 ')
  assert.equal(verify(keycloak, 'keycloak', await mint(keycloak), '--dialect', 'keycloak'), '77 invalid_token')
  assert.equal(verify(keycloak, 'keycloak', await mint(keycloak, { typ: 'ID' }), '--dialect', 'keycloak', '--typ', 'jwt'), '77 invalid_token')
})
