// Can agents use tokens that only their issuer can read? A real oidc-provider issues them, and is asked about each (RFC 7662).
import fs from 'node:fs'
import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { test, before, after, assert, until, sleep } from './lib/suite.js'
import { BATOND, Broker, profile, ROUTE } from './lib/broker.js'
import { Idp } from './lib/idp.js'
import { send } from './lib/provider.js'
import { denied, read, refusalOf, refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { content, files } from './lib/shown.js'

const SECRET = 'a secret: with% reserved+characters & all' // RFC 6749 §2.3.1: it is form-encoded first
const CACHE_MS = 5000
let planner, auditor, gplanner, idp, section
const b = new Broker({
  idp: async (x) => {
    fs.writeFileSync(x.path('corp.secret'), `${SECRET}\n`, { mode: 0o600 })
    x.asker = x.acme.leaf('asker', { sans: ['URI:spiffe://acme.example/broker'] })
    return new Idp({
      ca: x.serverCa.cert, agentsCa: x.acme.cert, server: x.server, agents: ['planner', 'auditor', 'worker'].map((n) => x.leaves[n]),
      asking: [{ name: 'asks-by-certificate', spiffe: 'spiffe://acme.example/broker' }, { name: 'asks-by-secret', secret: SECRET }]
    }).start()
  }
})

before(async () => {
  await b.prepare()
  idp = b.idp
  b.profiles[ROUTE] = profile(ROUTE, {}, [idp.url, b.issuer.url])
  b.writeProfiles()
  section = {
    certificate: `{url: "${idp.url}/token/introspection", client_id: asks-by-certificate, client_cert: "${b.asker.cert}", client_key: "${b.asker.key}", cache: ${CACHE_MS / 1000}s}`,
    secret: `{url: "${idp.url}/token/introspection", client_id: asks-by-secret, secret_file: "${b.path('corp.secret')}", cache: ${CACHE_MS / 1000}s}`
  }
  write(section.secret) // so that the keeper is told of its folder
  await b.start()
  write(section.certificate)
  await b.reloaded()
  planner = await b.agent('planner')
  auditor = await b.agent('auditor')
  gplanner = await b.agent('gplanner')
})
after(async () => { await b.remove(); await idp.stop() })

const write = (introspection, more = (t) => t) => b.writeConfig((t) => more(t.replace('{name: corp,', `{name: corp, introspection: ${introspection},`)))
const submit = (agent, token, more = {}) => agent.submit({ ...read(ROUTE), ...more }, { token, timeout: 30000 })
const junk = () => randomBytes(32).toString('base64url')
// What is asked while fn runs.
async function asked (fn) { const n = idp.questions.length; await fn(); return idp.questions.length - n }
// What batond --check-config says of the configuration.
const checked = () => new Promise((done) => execFile(BATOND, ['--check-config', '--config', b.path('baton.yaml')], (e, out, err) => done(out + err)))
// The provider answers so while fn runs.
async function instead (answer, fn) { idp.instead = answer; try { await fn() } finally { idp.instead = undefined } }
async function counted (result) {
  const row = (await b.http('/metrics')).body.split('\n').find((l) => l.startsWith(`baton_introspections_total{issuer="corp",result="${result}"}`))
  return row ? Number(row.split(' ')[1]) : 0
}
async function opaque (agent, kind, extra = {}) { idp.extra = extra; try { return await idp.opaque(agent, kind) } finally { idp.extra = {} } }
// Its answers to the real question, changed.
const answering = (change) => (rq, rs) => send(rq, rs, { active: true, token_type: 'Bearer', ...b.issuer.claims(planner, { iss: idp.url, sub: 'planner' }), ...change })

test('I-2 I-1 RFC 7662 an opaque token hands work over: its issuer is asked once, by the broker\'s certificate, and what it says is audited like claims', async () => {
  const token = await opaque(planner)
  assert.ok(!token.includes('.'))
  let receipt
  assert.equal(await asked(async () => { receipt = await submit(planner, token); await submit(planner, token) }), 1)
  assert.equal(idp.questions.at(-1), 'certificate')
  const a = await b.audited({ event: 'decision', trace_id: receipt.trace_id })
  assert.deepEqual([a.issuer, a.subject, a.client_id, a.token_tenant, a.audience, a.scopes],
    [idp.url, 'planner', 'planner', 'acme', 'support-agent-runtime', 'orders:read refunds:draft'])
  assert.ok(await counted('active') >= 1)
})

test('I-2 JWTs of the same issuer, and of others, go on as before: nobody is asked about them', async () => {
  assert.equal(await asked(async () => {
    await submit(planner, await idp.token(planner))
    await submit(planner, await b.issuer.mint(planner))
    await denied(submit(planner, (await idp.token(planner)).replace(/.{10}$/, 'AAAAAAAAAA')), 'invalid_token')
    await denied(submit(planner, (await idp.token(planner)).split('.').slice(0, 2).join('.') + '.'), 'invalid_token')
  }), 0)
})

test('T5 an opaque token on another agent\'s connection is token_binding / on its own it is taken, from the same answer', async () => {
  const token = await opaque(planner)
  await denied(submit(auditor, token), 'token_binding', 'UNAUTHENTICATED')
  assert.equal(await asked(() => submit(planner, token)), 0)
})

test('I-3 an opaque token for another audience is wrong_audience / for this one it is taken', async () => {
  await denied(submit(planner, await opaque(planner, 'ledger')), 'wrong_audience')
  await submit(planner, await opaque(planner))
})

test('I-2 A-1 scope, tenant, client and jti of the answer are judged as of a JWT', async () => {
  await denied(planner.submit({}, { token: await idp.opaque(planner, '', 'orders:read') }), 'missing_scope')
  await denied(submit(planner, await opaque(planner, '', { tenant: 'globex' })), 'tenant_boundary')
  await instead(answering({ client_id: 'auditor' }), () => denied(submit(planner, junk()), 'identity_mismatch'))
  await instead(answering({ cnf: undefined }), () => denied(submit(planner, junk()), 'token_binding'))
  await instead(answering({ cnf: { jkt: 'x'.repeat(43) } }), () => denied(submit(planner, junk()), 'token_binding'))
  await instead(answering({ exp: Math.floor(Date.now() / 1000) + 86400 }), () => denied(submit(planner, junk()), 'invalid_token'))
  await instead(answering({ nbf: Math.floor(Date.now() / 1000) + 300 }), () => denied(submit(planner, junk()), 'invalid_token'))
  await instead(answering({}), () => submit(planner, junk()))
})

test('I-2 RFC 7662 §2.2 an answer that lacks exp, iat, sub, aud or client, is of another issuer, or of no access token, makes nothing of a token', async () => {
  for (const name of ['exp', 'iat', 'sub', 'aud', 'client_id']) {
    await instead(answering({ [name]: undefined }), async () => {
      const r = await denied(submit(auditor, junk()), 'invalid_token', 'UNAUTHENTICATED')
      assert.ok(!r.retry_after_ms, name)
    })
  }
  await instead(answering({ iss: 'https://other.example' }), () => denied(submit(auditor, junk()), 'wrong_issuer'))
  await instead(answering({ token_type: undefined }), () => denied(submit(auditor, junk()), 'invalid_token')) // as oidc-provider answers for a refresh token
  await instead(answering({ nonce: 'n' }), () => denied(submit(auditor, junk()), 'invalid_token'))
  await instead(answering({ exp: Math.floor(Date.now() / 1000) - 1 }), () => denied(submit(auditor, junk()), 'expired_token'))
})

test('I-1 a token that its issuer revoked is refused once the answer is as old as introspection.cache / until then it may be taken', async () => {
  const token = await opaque(planner)
  await submit(planner, token)
  await idp.revoke(planner, token)
  await sleep(CACHE_MS + 100)
  await denied(submit(planner, token), 'invalid_token', 'UNAUTHENTICATED')
  assert.equal(await asked(async () => { for (let i = 0; i < 5; i++) await denied(submit(planner, token), 'invalid_token') }), 0)
  assert.ok(await counted('inactive') >= 1)
})

test('I-1 on a stream each envelope is judged by what the issuer says then: once it is revoked there it is refused / with a new Credential the stream goes on, with somebody else\'s it ends', async () => {
  const token = await opaque(planner)
  const pipe = planner.pipe({ token })
  const next = async (ref) => {
    pipe.write({ submit: { envelope: planner.envelope(read(ROUTE)), ref } })
    return (await pipe.take('a receipt', (f) => f.receipt?.ref === ref)).receipt.decision.reason
  }
  assert.equal(await next(1), 'REASON_ALLOWED')
  await idp.revoke(planner, token)
  await sleep(CACHE_MS + 100)
  assert.equal(await next(2), 'REASON_INVALID_TOKEN')
  pipe.write({ credential: { access_token: await opaque(planner) } })
  assert.equal(await next(3), 'REASON_ALLOWED')
  pipe.write({ credential: { access_token: await opaque(planner, '', { sub: 'somebody-else' }) } })
  assert.equal((await pipe.end()).reason, 'identity_mismatch')
})

test('R-3 an opaque token that is revoked here, by its SHA-256, is refused at once, whatever its issuer says / another of the same agent is taken', async () => {
  const token = await opaque(planner)
  await submit(planner, token)
  await new Operator(b.adminSocket).revoke({ token_sha256: createHash('sha256').update(token).digest('hex') })
  await denied(submit(planner, token), 'revoked')
  await submit(planner, await opaque(planner))
})

test('I-1 an answer is used no longer than exp, whatever introspection.cache says', async () => {
  write(section.certificate.replace(/cache: [^}]*/, 'cache: 10m'))
  await b.reloaded()
  const token = await opaque(planner, 'short')
  await submit(planner, token)
  await sleep(6200)
  const r = await refused(submit(planner, token))
  assert.ok(['invalid_token', 'expired_token'].includes(r.reason), r.reason)
  write(section.certificate)
  await b.reloaded()
})

test('I-2 I-8 with a secret, the broker is the client that introspection names; a wrong one is keys_unavailable, and nothing of it is shown', async () => {
  const token = await opaque(planner)
  write(section.secret)
  await b.reloaded()
  await submit(planner, token)
  assert.equal(Buffer.from(idp.questions.at(-1).split(' ')[1], 'base64').toString(), 'asks-by-secret:a%20secret%3A%20with%25%20reserved%2Bcharacters%20%26%20all')
  fs.writeFileSync(b.path('corp.secret'), 'another-secret', { mode: 0o600 })
  await b.reloaded()
  await denied(submit(planner, await opaque(planner)), 'keys_unavailable', 'UNAVAILABLE')
  fs.chmodSync(b.path('corp.secret'), 0o644)
  assert.match(await b.reloaded('deny'), /corp: introspection.*0600/)
  assert.match(await checked(), /secret_file: .*0600/)
  fs.writeFileSync(b.path('next.secret'), SECRET, { mode: 0o600 }) // beside it, also while nodes run
  write(section.secret.replace('corp.secret', 'next.secret'))
  await b.reloaded()
  await submit(planner, await opaque(planner))
  fs.mkdirSync(b.path('elsewhere'))
  fs.writeFileSync(b.path('elsewhere', 'corp.secret'), SECRET, { mode: 0o600 })
  write(section.secret.replace('corp.secret', 'elsewhere/corp.secret'))
  assert.match(await b.reloaded('deny'), /introspection\.secret_file: .*elsewhere.* outside the folders in which the keeper .* restart/)
  await submit(planner, await opaque(planner))
  write(section.certificate)
  await b.reloaded()
  await submit(planner, token)
})

test('I-2 a provider that is down, slow, or answers with an error, garbage or too much: keys_unavailable, and nothing is kept of it', async () => {
  const answers = {
    error: (rq, rs) => rs.writeHead(500).end('{"active":true}'),
    unauthorized: (rq, rs) => rs.writeHead(401).end('{"active":true}'),
    redirect: (rq, rs) => rs.writeHead(307, { location: `${idp.url}/elsewhere` }).end(),
    garbage: (rq, rs) => send(rq, rs, 'active'),
    list: (rq, rs) => send(rq, rs, '[{"active":true}]'),
    twice: (rq, rs) => send(rq, rs, '{"active":true,"active":true}'),
    text: (rq, rs) => send(rq, rs, '{"active":"true"}'),
    silent: (rq, rs) => send(rq, rs, '{}'),
    huge: (rq, rs) => send(rq, rs, `{"active":true,"x":"${'x'.repeat(1 << 20)}"}`),
    cut: (rq, rs) => { rs.writeHead(200, { 'content-length': 1000 }); rs.write('{"active":true'); rs.destroy() },
    slow: () => {}
  }
  const token = await opaque(planner)
  for (const [name, answer] of Object.entries(answers)) {
    await instead(answer, async () => {
      const r = await denied(submit(planner, token), 'keys_unavailable', 'UNAVAILABLE')
      assert.ok(Number(r.retry_after_ms) > 0, name)
    })
  }
  assert.ok(![...idp.urls].includes('/elsewhere'))
  await idp.stop()
  await denied(submit(planner, token), 'keys_unavailable', 'UNAVAILABLE')
  await idp.restart()
})

test('attack 11: a hundred first requests with the same opaque token are one question, and all are taken', async () => {
  await b.stop()
  write(section.certificate.replace(/cache: [^}]*/, 'cache: 1m'))
  await b.start()
  planner = await b.agent('planner')
  auditor = await b.agent('auditor')
  gplanner = await b.agent('gplanner')
  const token = await opaque(planner)
  const more = [planner, ...await Promise.all(Array.from({ length: 3 }, () => b.agent('planner')))]
  assert.equal(await asked(() => Promise.all(Array.from({ length: 100 }, (_, i) => submit(more[i % 4], token)))), 1)
  write(section.certificate)
  await b.reloaded()
})

test('attack 11: an agent that sends junk tokens has its issuer asked within a budget, and costs another agent nothing', async () => {
  const n = await asked(async () => {
    const refusals = await Promise.all(Array.from({ length: 200 }, () => refused(submit(auditor, junk()))))
    assert.ok(refusals.every((r) => ['invalid_token', 'quota_exceeded'].includes(r.reason)), refusals.map((r) => r.reason).join(' '))
    assert.ok(refusals.filter((r) => r.reason === 'quota_exceeded').every((r) => Number(r.retry_after_ms) > 0))
    assert.ok(await asked(async () => { await submit(planner, await opaque(planner)) }) === 1)
  })
  assert.ok(n >= 16 && n <= 24, `${n} questions`)
  assert.ok(await counted('spent') > 100)
  for (let i = 0; i < 40; i++) await submit(planner, await opaque(planner)) // good tokens cost nothing
})

test('I-2 attack 13: what cannot be a token is shown to nobody, and neither is one of a tenant whose issuer is not asked', async () => {
  assert.equal(await asked(async () => {
    for (const token of ['short', 'x'.repeat(4097), `${'x'.repeat(20)}&token=y`, `${'x'.repeat(20)}"`, 'x'.repeat(9000), '='.repeat(20)]) {
      await denied(submit(planner, token), 'invalid_token')
    }
    await denied(submit(gplanner, junk()), 'invalid_token')
  }), 0)
})

test('I-2 a route that does not take the issuer is wrong_issuer, and its issuer is not asked', async () => {
  b.profiles.statics = profile('statics')
  b.writeProfiles()
  write(section.certificate)
  await b.reloaded()
  const token = await opaque(planner)
  assert.equal(await asked(() => denied(submit(planner, token, { route: 'statics' }), 'wrong_issuer')), 0)
  await submit(planner, token)
})

test('I-2 a reload while questions are under way asks anew, and an issuer without introspection is asked no more', async () => {
  const token = await opaque(planner)
  const before = idp.questions.length, begun = Date.now()
  await instead(() => {}, async () => {
    const waiting = submit(planner, token).then(() => '', (e) => refusalOf(e).reason)
    await until('the question', () => idp.questions.length > before)
    idp.instead = undefined
    await b.reloaded()
    const took = Date.now() - begun, end = await waiting
    assert.ok(!end || (end === 'keys_unavailable' && took > 2500), end) // a question waits for 3 s
  })
  await submit(planner, token)
  b.writeConfig((t) => t)
  await b.reloaded()
  assert.equal(await asked(() => denied(submit(planner, token), 'invalid_token')), 0)
  write(section.certificate)
  await b.reloaded()
  await submit(planner, token)
})

test('I-2 two issuers that could be asked about one tenant\'s tokens, and half a section, are refused with the configuration', async () => {
  const second = (t) => t.replace('issuers:\n', `issuers:\n  - {name: other, url: "https://other.example", tenants: [acme], introspection: ${section.secret}}\n`)
  for (const [say, config] of [
    [/corp.*other|other.*corp.*acme/, () => write(section.certificate, second)],
    [/secret_file, or by client_cert/, () => write(`{url: "${idp.url}/i", client_id: x}`)],
    [/name the client/, () => write(`{url: "${idp.url}/i", secret_file: "${b.path('corp.secret')}"}`)],
    [/go together/, () => write(`{url: "${idp.url}/i", client_id: x, client_cert: "${b.asker.cert}"}`)],
    [/https:/, () => write(`{url: "http://x.example/i", client_id: x, client_cert: "${b.asker.cert}", client_key: "${b.asker.key}"}`)],
    [/match|belong|not of/, () => write(`{url: "${idp.url}/i", client_id: x, client_cert: "${b.asker.cert}", client_key: "${b.leaves.planner.key}"}`)]
  ]) {
    config()
    assert.match(await b.reloaded('deny'), say)
    assert.match(await checked(), say)
  }
  write(section.certificate)
  await b.reloaded()
  assert.match(await checked(), /: fine/)
})

test('I-8 no opaque token, and no secret, is in log, audit, metrics or state folder', async () => {
  const tokens = [await opaque(planner), junk(), junk()]
  await submit(planner, tokens[0])
  await refused(submit(planner, tokens[1]))
  await instead(answering({ sub: tokens[2], jti: tokens[2] }), () => refused(submit(planner, tokens[2])))
  await instead((rq, rs) => rs.writeHead(500).end(), () => refused(submit(planner, junk())))
  const sources = { log: Buffer.from(b.log()), audit: fs.readFileSync(b.path('audit.jsonl')), metrics: Buffer.from((await b.http('/metrics')).body) }
  for (const f of files(b.path('state'))) sources[f] = content(f)
  for (const [where, bytes] of Object.entries(sources)) for (const t of [...tokens, 'with% reserved', 'with%25%20reserved', 'another-secret']) assert.ok(!bytes.includes(t), `a token is in ${where}`)
})
