// Which access tokens are believed? Hostile ones beside an honest twin: RFC 7515, 7519, 8725, 9068, 8705.
import crypto from 'node:crypto'
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { test, before, after, assert, sleep } from './lib/suite.js'
import { BUILD, Broker, ROOT, profile, ROUTE } from './lib/broker.js'
import { Agent, denied, refused } from './lib/agent.js'
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

test('attack 7: RFC 8725 §3.1 alg none is refused, signed or not', async () => {
  await refusedToken(await b.issuer.forge(planner, { alg: 'none', typ: 'at+jwt', kid: 'es' }, {}, () => ''), 'invalid_token')
  await refusedToken(await b.issuer.forge(planner, { alg: 'None', typ: 'at+jwt' }, {}, () => 'x'), 'invalid_token')
})

test('attack 7: RFC 8725 §2.1 HS256 keyed with the issuer\'s public key, or with nothing, is refused, also where the key names no algorithm', async () => {
  await planner.submit({}, { token: await mint({}, { kid: 'bare' }) })
  for (const kid of ['rs', 'bare', 'es', undefined]) {
    const { publicKey, jwk } = b.issuer.keys[kid || 'bare']
    const [pem, der] = ['pem', 'der'].map((format) => publicKey.export({ type: 'spki', format }))
    for (const secret of [pem, der, '', JSON.stringify(jwk), ...(jwk.n ? [jwk.n, Buffer.from(jwk.n, 'base64url')] : [])]) {
      const hs = (input) => crypto.createHmac('sha256', secret).update(input).digest()
      await refusedToken(await b.issuer.forge(planner, { alg: 'HS256', typ: 'at+jwt', ...(kid && { kid }) }, {}, hs), 'invalid_token')
      await refusedToken(await b.issuer.forge(planner, { alg: 'RS256', typ: 'at+jwt', ...(kid && { kid }) }, {}, hs), 'invalid_token')
    }
  }
})

test('RFC 8725 §3.1 the key pins the algorithm: RS256 named over a PS256 key is refused', async () => {
  const rs = (input) => crypto.sign('sha256', Buffer.from(input), b.issuer.keys.ps.privateKey)
  await refusedToken(await b.issuer.forge(planner, { alg: 'RS256', typ: 'at+jwt', kid: 'ps' }, {}, rs), 'invalid_token')
})

test('attack 8: RFC 7518 §3.4 an ES256 signature in DER, or of 22,000 characters, is refused', async () => {
  const forged = (sign) => b.issuer.forge(planner, { alg: 'ES256', typ: 'at+jwt', kid: 'es' }, {}, sign)
  const der = (input) => crypto.sign('sha256', Buffer.from(input), b.issuer.keys.es.privateKey)
  await refusedToken(await forged(der), 'invalid_token')
  await refusedToken(await forged(() => Buffer.alloc(3000, 7)), 'invalid_token')
  const huge = await forged(() => Buffer.alloc(16500, 7))
  assert.equal(huge.split('.')[2].length, 22000)
  const r = await denied(planner.unary('Submit', { envelope: planner.envelope(), access_token: huge }, { token: '' }), 'invalid_token', 'UNAUTHENTICATED')
  assert.match(r.message, /a token has at most 8192 bytes/)
  await refused(planner.submit({}, { token: huge })) // more than a header block may have
  await planner.submit()
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

const es256 = (input) => crypto.sign('sha256', Buffer.from(input), { key: b.issuer.keys.es.privateKey, dsaEncoding: 'ieee-p1363' })
const ES = { alg: 'ES256', typ: 'at+jwt', kid: 'es' }

test('attack 10: RFC 7515 §4.1.11 crit is refused, whether it names what is unknown, absent or nothing / what is not critical is ignored', async () => {
  for (const more of [{ crit: ['x-unknown'], 'x-unknown': 1 }, { crit: ['x-unknown'] }, { crit: [] }, { crit: ['b64'], b64: false }, { crit: ['alg'] }, { crit: 'exp' }]) {
    const r = await refusedToken(await b.issuer.forge(planner, { ...ES, ...more }, {}, es256), 'invalid_token')
    assert.equal(r.status.decision.field, 'crit')
  }
  await planner.submit({}, { token: await b.issuer.forge(planner, { ...ES, 'x-unknown': 1 }, {}, es256) })
})

test('RFC 7515 §4 a header or claim that comes twice is refused, escaped too', async () => {
  await refusedToken(await b.issuer.forge(planner, '{"alg":"ES256","typ":"at+jwt","kid":"es","alg":"ES256"}', {}, es256), 'invalid_token')
  await refusedToken(await b.issuer.forge(planner, '{"alg":"ES256","typ":"at+jwt","kid":"es","\\u0061lg":"none"}', {}, es256), 'invalid_token')
  const body = JSON.stringify(b.issuer.claims(planner))
  await refusedToken(await b.issuer.forge(planner, ES, body.replace(/}$/, ',"sub":"root"}'), es256), 'invalid_token')
  await refusedToken(await b.issuer.forge(planner, ES, body.replace(/}$/, ',"s\\u0075b":"root"}'), es256), 'invalid_token')
  await planner.submit({}, { token: await b.issuer.forge(planner, ES, body, es256) })
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

test('T5 B1 A-3 attack 6: a token of another tenant is tenant_boundary', async () => {
  const r = await refusedToken(await mint({ tenant: 'globex' }), 'tenant_boundary', 'PERMISSION_DENIED')
  assert.match(r.message, /^tenant_boundary/)
})

test('T5 B1 attack 6: no field switches the tenant: metadata, other claims, the route\'s name', async () => {
  const other = { tenant_id: 'globex', tid: 'globex', org: 'globex', account: 'globex', Tenant: 'globex' }
  const metadata = Object.fromEntries(['tenant', 'x-tenant', 'x-tenant-id', 'baton-tenant', 'x-baton-tenant', 'account'].map((k) => [k, 'globex']))
  const token = await mint(other)
  for (const opts of [{ token }, { metadata }, { token, metadata }]) {
    const { handoff_id, trace_id } = await planner.submit({}, opts)
    const { tenant } = await b.audited({ event: 'decision', trace_id })
    assert.equal(tenant, 'acme')
    assert.equal((await denied((await b.agent('gplanner')).get(handoff_id), 'not_found')).code, 'NOT_FOUND')
    assert.equal((await planner.get(handoff_id)).handoff_id, handoff_id)
  }
  for (const route of ['globex/support_refund_assistant', '../globex/support_refund_assistant', 'globex:support_refund_assistant', '{globex/support_refund_assistant}']) {
    await denied(planner.submit({ route }, { token, metadata }), 'malformed_envelope', 'INVALID_ARGUMENT')
  }
  await denied(planner.submit({ tenant: 'globex' }, { token, metadata }), 'tenant_boundary', 'PERMISSION_DENIED')
})

test('T5 I-5 agent A\'s token on agent B\'s connection is token_binding', async () => {
  await refusedToken(auditor.token, 'token_binding')
  await auditor.submit()
  await refusedToken(await mint({ cnf: { 'x5t#S256': auditor.thumbprint } }), 'token_binding')
})

test('RFC 8705 §3 after a renewal of the certificate the old token is refused on the new connection / a new token is taken there, the old one here', async () => {
  const mine = await b.issuer.mint(planner)
  await planner.submit({}, { token: mine }) // a verified signature is remembered from here on
  const leaf = { ...b.acme.leaf('planner-renewed', { sans: [`URI:${planner.spiffe}`] }), name: 'planner', tenant: 'acme', trust: b.serverCa.cert }
  const renewed = new Agent(leaf, b.addr, { token: await b.issuer.mint(leaf) })
  b.made.push(renewed)
  await denied(renewed.submit({}, { token: mine }), 'token_binding', 'UNAUTHENTICATED')
  await renewed.submit()
  await denied(planner.submit({}, { token: renewed.token }), 'token_binding', 'UNAUTHENTICATED')
  await planner.submit({}, { token: mine })
})

test('RFC 8705 §3 the certificate comes from the connection, never from a header', async () => {
  const der = new crypto.X509Certificate(fs.readFileSync(planner.cert)).raw.toString('base64')
  const pem = encodeURIComponent(fs.readFileSync(planner.cert, 'utf8'))
  const metadata = {
    'client-cert': `:${der}:`, 'x-forwarded-client-cert': `Hash=${planner.thumbprint};URI=${planner.spiffe};Cert="${pem}"`, 'x-client-cert': pem,
    'x-ssl-client-cert': pem, 'ssl-client-cert': pem, 'x-amzn-mtls-clientcert': pem, 'x-spiffe-id': planner.spiffe, 'x-agent': 'planner'
  }
  await denied(auditor.submit({}, { token: planner.token, metadata }), 'token_binding', 'UNAUTHENTICATED')
  assert.equal((await auditor.whoami({ metadata })).agent.name, 'auditor')
  await auditor.submit({}, { metadata })
})

test('RFC 8705 §3 on a stream that outlives its token every envelope is judged anew: expired_token / with a new Credential it goes on', async () => {
  const pipe = planner.pipe({ token: await mint({ iat: now(), nbf: now(), exp: now() + 6 }) })
  const submit = async (ref) => {
    pipe.write({ submit: { envelope: planner.envelope(), ref } })
    return (await pipe.take('a receipt', (f) => f.receipt?.ref === ref)).receipt
  }
  assert.equal((await submit(1)).decision.reason, 'REASON_ALLOWED')
  await sleep(7500) // and the clock skew that is allowed for
  assert.equal((await submit(2)).decision.reason, 'REASON_EXPIRED_TOKEN')
  pipe.write({ credential: { access_token: await mint() } })
  assert.equal((await submit(3)).decision.reason, 'REASON_ALLOWED')
  pipe.call.end()
  await pipe.end()
})

test('RFC 8705 §3 a token that is bound to no certificate is refused while the issuer demands binding', async () => {
  await refusedToken(await mint({ cnf: undefined }), 'token_binding')
  await refusedToken(await mint({ cnf: {} }), 'token_binding')
})

test('RFC 9449 a DPoP-bound token sent as Bearer is refused', async () => {
  await refusedToken(await mint({ cnf: { jkt: 'x'.repeat(43) } }), 'token_binding')
  await refusedToken(await mint({ cnf: { jkt: 'x'.repeat(43), 'x5t#S256': planner.thumbprint } }), 'token_binding')
})

test('T5 attack 4: a token whose client is another agent is identity_mismatch', async () => refusedToken(await mint({ client_id: 'auditor' }), 'identity_mismatch'))

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

test('attack 9: a token cut short anywhere, or an issuer of which only the beginning is left, is refused', async () => {
  const good = planner.token
  for (let n = 1; n < good.length; n += 7) await denied(planner.submit({}, { token: good.slice(0, n) }), 'invalid_token', 'UNAUTHENTICATED')
  for (let n = 0; n < b.issuer.url.length; n += 5) await denied(planner.submit({}, { token: await mint({ iss: b.issuer.url.slice(0, n) }) }), 'wrong_issuer', 'UNAUTHENTICATED')
  await planner.submit()
})

test('attack 13: RFC 8725 §3.10 a hostile kid is only a name: it reaches no path, no URL and no store key, and neither do jku, x5u, jwk, x5c', async () => {
  let asked = 0
  const stranger = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = { ...stranger.publicKey.export({ format: 'jwk' }), kid: 'stranger', alg: 'ES256' }
  const server = http.createServer((rq, rs) => { asked++; rs.end(JSON.stringify({ keys: [jwk] })) })
  server.on('connection', () => { asked++ })
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${server.address().port}/kidmark`
  const files = () => fs.readdirSync(b.dir, { recursive: true }).filter((f) => !/redis|\.pem|audit|state\/seq\./.test(f)).sort() // seq: written anew each second
  const there = files()
  const kids = ['../../kidmark', '/etc/passwd', b.issuer.file, url, '{acme/kidmark}:m', "kidmark' or 1=1", 'kidmark\r\nSET x 1', 'kidmark\u0000', 'kidmark*?[', 'k'.repeat(3000)]
  const offers = [{}, { jku: url, x5u: url }, { jwk }, { jwk, jku: url, x5c: ['AAAA'] }]
  for (const kid of kids) {
    for (const offer of offers) {
      for (const key of [undefined, stranger.privateKey]) await refusedToken(await mint({}, { key, header: { kid, ...offer } }), 'invalid_token')
    }
  }
  for (const offer of offers) { // under a kid that is known: what the header offers changes nothing
    await refusedToken(await mint({}, { key: stranger.privateKey, header: offer }), 'invalid_token')
    await planner.submit({}, { token: await mint({}, { header: offer }) })
  }
  assert.equal(asked, 0)
  await new Promise((done) => http.get(url, (rs) => rs.resume().on('end', done)))
  assert.ok(asked > 0, 'it would have been seen')
  server.close()
  assert.deepEqual(files(), there)
  const keys = await b.redis((r) => r.keys())
  assert.ok(keys.length > 0 && !keys.some((k) => /kidmark|kkkk|passwd/.test(k.toString('latin1'))))
})

test('B4 attack 20: a token sent twice is refused, whichever is good / once is taken (grpcio: grpc-js cannot send it twice)', async () => {
  const sends = (values, more = {}) => promisify(execFile)('/usr/bin/python3', [path.join(ROOT, 'tests/e2e/lib/twice.py'), ...values], {
    env: {
      BATON_ADDR: b.addr, BATON_CA: b.serverCa.cert, BATON_CERT: planner.cert, BATON_KEY: planner.key, BATON_TOKEN: planner.token,
      PYTHONPATH: path.join(BUILD, 'python'), PYTHONDONTWRITEBYTECODE: '1', ...more
    }
  }).then((r) => r.stdout.trim())
  const once = 'Bearer TOKEN'
  for (const values of [[once, once], [once, 'Bearer x.y.z'], ['Bearer x.y.z', once], [once, ''], ['Basic eA==', once], [`${once}, ${once}`]]) {
    assert.equal(await sends(values), 'invalid_token UNAUTHENTICATED', values.join(' + '))
  }
  assert.equal(await sends([once, once], { BATON_BESIDE: 'yes' }), 'invalid_token UNAUTHENTICATED')
  assert.equal((await sends([once])).length, 27)
})

test('attack 20: two traceparents are none: a new trace begins / one is continued', async () => {
  const [a, z] = ['a', 'b'].map((c) => `00-${c.repeat(32)}-00f067aa0ba902b7-01`)
  assert.equal((await planner.submit({}, { metadata: { traceparent: a } })).trace_id, 'a'.repeat(32))
  const { trace_id } = await planner.submit({}, { metadata: { traceparent: [a, z] } })
  assert.ok(!['a'.repeat(32), 'b'.repeat(32)].includes(trace_id), trace_id)
  await b.audited({ event: 'decision', trace_id })
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
