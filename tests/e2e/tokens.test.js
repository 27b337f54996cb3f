// Which access tokens are believed? Hostile ones beside an honest twin: RFC 7515, 7519, 8725, 9068, 8705.
import crypto from 'node:crypto'
import path from 'node:path'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { test, before, after, assert } from './lib/suite.js'
import { BUILD, Broker, ROOT, profile, ROUTE } from './lib/broker.js'
import { denied } from './lib/agent.js'
import { bytesField, encode } from './lib/wire.js'

const strict = profile('users_only', { identity: { ...profile('x').identity, subject: 'user', tenants: ['acme'] } })
const elsewhere = profile('elsewhere', {}, ['https://another.issuer.example'])
const b = new Broker({ profiles: { [ROUTE]: profile(ROUTE), users_only: strict, elsewhere } })
let planner, auditor
const now = () => Math.floor(Date.now() / 1000)

before(async () => { [planner, auditor] = await b.startWith('planner', 'auditor') })
after(() => b.remove())

// The token is refused for this reason, audited with the trace, and nothing was stored; the honest twin passes.
async function refusedToken (token, reason, code = 'UNAUTHENTICATED') {
  const envelope = planner.envelope()
  const r = await denied(planner.unary('Submit', { envelope }, { token }), reason, code)
  await b.audited({ event: 'decision', outcome: 'deny', reason, trace_id: r.trace_id })
  const twin = await planner.unary('Submit', { envelope })
  assert.equal(twin.duplicate, false)
  return r
}

const mint = (...args) => b.issuer.mint(planner, ...args)

for (const [kid, alg] of Object.entries({ es: 'ES256', es3: 'ES384', rs: 'RS256', ps: 'PS256', ed: 'EdDSA' })) {
  test(`RFC 7518 a token signed with ${alg} is accepted / with one bit of its signature changed it is not`, async () => {
    const good = await mint({}, { kid })
    await planner.submit({}, { token: good })
    const [h, p, s] = good.split('.')
    const sig = Buffer.from(s, 'base64url')
    sig[9] ^= 1
    await refusedToken(`${h}.${p}.${sig.toString('base64url')}`, 'invalid_token')
  })
}

test('I-2 no token at all is missing_token', () => refusedToken('', 'missing_token'))

test('RFC 8725 §3.1 alg none is refused, signed or not', async () => {
  await refusedToken(await b.issuer.forge(planner, { alg: 'none', typ: 'at+jwt', kid: 'es' }, {}, () => ''), 'invalid_token')
  await refusedToken(await b.issuer.forge(planner, { alg: 'None', typ: 'at+jwt' }, {}, () => 'x'), 'invalid_token')
})

test('RFC 8725 §2.1 HS256 keyed with the issuer\'s public key is refused', async () => {
  const pem = b.issuer.keys.rs.publicKey.export({ type: 'spki', format: 'pem' })
  const der = b.issuer.keys.rs.publicKey.export({ type: 'spki', format: 'der' })
  for (const secret of [pem, der, '', JSON.stringify(b.issuer.keys.rs.jwk)]) {
    for (const kid of ['rs', 'es', undefined]) {
      const hs = (input) => crypto.createHmac('sha256', secret).update(input).digest()
      await refusedToken(await b.issuer.forge(planner, { alg: 'HS256', typ: 'at+jwt', ...(kid && { kid }) }, {}, hs), 'invalid_token')
    }
  }
})

test('RFC 8725 §3.1 the key pins the algorithm: RS256 named over a PS256 key is refused', async () => {
  const rs = (input) => crypto.sign('sha256', Buffer.from(input), b.issuer.keys.ps.privateKey)
  await refusedToken(await b.issuer.forge(planner, { alg: 'RS256', typ: 'at+jwt', kid: 'ps' }, {}, rs), 'invalid_token')
})

test('RFC 7518 §3.4 an ES256 signature in DER, or of 22,000 characters, is refused', async () => {
  const der = (input) => crypto.sign('sha256', Buffer.from(input), b.issuer.keys.es.privateKey)
  await refusedToken(await b.issuer.forge(planner, { alg: 'ES256', typ: 'at+jwt', kid: 'es' }, {}, der), 'invalid_token')
  const long = () => Buffer.alloc(3000, 7)
  await refusedToken(await b.issuer.forge(planner, { alg: 'ES256', typ: 'at+jwt', kid: 'es' }, {}, long), 'invalid_token')
})

test('I-2 a token signed by a stranger\'s key under a known kid is refused', async () => {
  const { privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await refusedToken(await mint({}, { key: privateKey }), 'invalid_token')
})

test('RFC 9068 §4 an ID token (typ JWT) or one without typ is refused', async () => {
  await refusedToken(await mint({}, { header: { typ: 'JWT' } }), 'invalid_token')
  await refusedToken(await mint({}, { header: { typ: undefined } }), 'invalid_token')
  await planner.submit({}, { token: await mint({}, { header: { typ: 'application/at+jwt' } }) })
})

test('RFC 7515 §4.1.11 an unknown crit is refused', async () =>
  refusedToken(await mint({}, { header: { crit: ['x-unknown'], 'x-unknown': 1 } }), 'invalid_token'))

test('RFC 7515 §4 a header or claim that comes twice is refused, escaped too', async () => {
  const sign = (input) => crypto.sign('sha256', Buffer.from(input), { key: b.issuer.keys.es.privateKey, dsaEncoding: 'ieee-p1363' })
  await refusedToken(await b.issuer.forge(planner, '{"alg":"ES256","typ":"at+jwt","kid":"es","alg":"ES256"}', {}, sign), 'invalid_token')
  const body = JSON.stringify(b.issuer.claims(planner))
  await refusedToken(await b.issuer.forge(planner, { alg: 'ES256', typ: 'at+jwt', kid: 'es' }, body.replace(/}$/, ',"sub":"root"}'), sign), 'invalid_token')
  await refusedToken(await b.issuer.forge(planner, { alg: 'ES256', typ: 'at+jwt', kid: 'es' }, body.replace(/}$/, ',"s\\u0075b":"root"}'), sign), 'invalid_token')
  await planner.submit({}, { token: await b.issuer.forge(planner, { alg: 'ES256', typ: 'at+jwt', kid: 'es' }, body, sign) })
})

for (const claim of ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti']) {
  test(`RFC 9068 §2.2 a token without ${claim} is refused`, async () => {
    const token = await mint({ [claim]: undefined })
    const r = await refusedToken(token, 'invalid_token')
    assert.match(r.message, / is missing \(RFC 9068, 2\.2\)$/)
    assert.equal(r.status.decision.field, claim)
  })
}

test('RFC 7519 §4.1 times that are no numbers are refused', async () => {
  for (const change of [{ exp: String(now() + 600) }, { exp: -1 }, { exp: 2 ** 60 }, { nbf: '0' }, { iat: [now()] }]) await refusedToken(await mint(change), 'invalid_token')
  await planner.submit({}, { token: await mint({ exp: now() + 600.5 }) })
})

test('A-3 I-1 an expired token is expired_token, before anything else is looked at', async () => {
  await refusedToken(await mint({ iat: now() - 900, nbf: now() - 900, exp: now() - 120 }), 'expired_token')
  await refusedToken(await mint({ iat: now() - 900, nbf: now() - 900, exp: now() - 120, aud: 'other', tenant: 'globex', scope: '' }), 'expired_token')
})

test('RFC 7519 §4.1.5 a token that is not valid yet is refused', async () => refusedToken(await mint({ nbf: now() + 300 }), 'invalid_token'))

test('I-1 a token that lives longer than the issuer\'s cap is refused / at the cap it is taken', async () => {
  await refusedToken(await mint({ iat: now(), exp: now() + 7200 }), 'invalid_token')
  await planner.submit({}, { token: await mint({ iat: now(), exp: now() + 3600 }) })
})

test('E2 I-3 a token for another audience is refused before the payload is read / in a list with ours it is taken', async () => {
  await refusedToken(await mint({ aud: 'another-service' }), 'wrong_audience')
  await refusedToken(await mint({ aud: ['another-service', 'support-agent-runtime2', 'Support-Agent-Runtime'] }), 'wrong_audience')
  await planner.submit({}, { token: await mint({ aud: ['another-service', 'support-agent-runtime'] }) })
})

test('I-2 a token of an issuer that is not configured is wrong_issuer', async () => {
  await refusedToken(await mint({ iss: 'https://evil.example' }), 'wrong_issuer')
  await refusedToken(await mint({ iss: 'https://static.issuer.example/' }), 'wrong_issuer')
})

test('I-2 a token of an issuer that the route does not take is wrong_issuer', async () => {
  await denied(planner.submit({ route: 'elsewhere' }), 'wrong_issuer', 'UNAUTHENTICATED')
  await planner.submit()
})

test('T5 B1 A-3 a token of another tenant is tenant_boundary', async () => {
  const r = await refusedToken(await mint({ tenant: 'globex' }), 'tenant_boundary', 'PERMISSION_DENIED')
  assert.match(r.message, /^tenant_boundary/)
})

test('T5 I-5 agent A\'s token on agent B\'s connection is token_binding', async () => {
  await refusedToken(auditor.token, 'token_binding')
  await auditor.submit()
  await refusedToken(await mint({ cnf: { 'x5t#S256': auditor.thumbprint } }), 'token_binding')
})

test('RFC 8705 §3 a token that is bound to no certificate is refused while the issuer demands binding', async () => {
  await refusedToken(await mint({ cnf: undefined }), 'token_binding')
  await refusedToken(await mint({ cnf: {} }), 'token_binding')
})

test('RFC 9449 a DPoP-bound token sent as Bearer is refused', async () => {
  await refusedToken(await mint({ cnf: { jkt: 'x'.repeat(43) } }), 'token_binding')
})

test('T5 a token whose client is another agent is identity_mismatch', async () => refusedToken(await mint({ client_id: 'auditor' }), 'identity_mismatch'))

test('I-2 A-1 a route for users refuses a service\'s own token / takes a user\'s', async () => {
  await denied(planner.submit({ route: 'users_only' }, { token: await mint({ sub: 'planner' }) }), 'route_denied', 'PERMISSION_DENIED')
  await planner.submit({ route: 'users_only' })
})

test('RFC 8725 §3.12 Not a token: five parts, other characters, padding, white space, 9 KiB', async () => {
  const good = planner.token
  const bad = [`${good}.a.b`, good.replace('.', '..'), `${good}=`, good.slice(0, -1) + '+', 'x', '...', `${good.slice(0, 50)} ${good.slice(50)}`, 'e'.repeat(9000)]
  for (const token of bad) await denied(planner.submit({}, { token }), 'invalid_token', 'UNAUTHENTICATED')
  await planner.submit()
})

test('RFC 8725 §3.10 A hostile kid is only a name: it reaches no path, no URL and no store key', async () => {
  for (const kid of ['../../etc/passwd', 'http://127.0.0.1/', '{acme/x}:m', "' or 1=1", 'k'.repeat(3000)]) {
    await refusedToken(await mint({}, { header: { kid } }), 'invalid_token')
    await refusedToken(await mint({}, { header: { kid, jku: 'http://127.0.0.1:1/', x5u: 'http://127.0.0.1:1/' } }), 'invalid_token')
  }
  await planner.submit()
})

test('B4 a token sent twice is refused / once is taken (grpcio: grpc-js cannot send it twice)', async () => {
  const twice = (n) => promisify(execFile)('/usr/bin/python3', [path.join(ROOT, 'tests/e2e/lib/twice.py'), n], {
    env: {
      BATON_ADDR: b.addr, BATON_CA: b.serverCa.cert, BATON_CERT: planner.cert, BATON_KEY: planner.key, BATON_TOKEN: planner.token,
      PYTHONPATH: path.join(BUILD, 'python'), PYTHONDONTWRITEBYTECODE: '1'
    }
  }).then((r) => r.stdout.trim())
  assert.equal(await twice(2), 'invalid_token UNAUTHENTICATED')
  assert.equal((await twice(1)).length, 27)
})

test('I-8 T3 a token inside the envelope is refused, wherever it stands', async () => {
  for (const change of [{ payload: Buffer.from(JSON.stringify({ authorization: planner.token })) }, { labels: { t: planner.token.slice(0, 120) } },
    { idempotency_key: planner.token.slice(0, 120) }]) {
    await denied(planner.submit(change), 'malformed_envelope', 'INVALID_ARGUMENT')
  }
  const envelope = planner.envelope()
  await planner.unary('Submit', { envelope })
})

test('The request\'s own access_token replaces the call\'s / the two never mix', async () => {
  await planner.unary('Submit', { envelope: planner.envelope(), access_token: planner.token }, { token: '' })
  await denied(planner.unary('Submit', { envelope: planner.envelope(), access_token: await mint({ aud: 'x' }) }), 'wrong_audience')
  await denied(planner.raw('Submit', Buffer.concat([bytesField(1, encode('baton.v1.TaskEnvelope', planner.envelope())), bytesField(2, Buffer.from(planner.token)), bytesField(2, Buffer.from(planner.token))])),
    'malformed_envelope')
})
