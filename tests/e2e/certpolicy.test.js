// What does an agent's certificate policy change? How long its certificates live, whether the broker issues them at all, and which are taken of it: each change
// while the broker runs, and each by flags, by a file and in the history.
import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import { test, before, after, assert, sleep } from './lib/suite.js'
import { Broker, BATON, ROUTE } from './lib/broker.js'
import { Agent, denied, read, refusalOf } from './lib/agent.js'
import { Platform } from './lib/enrolling.js'

const b = new Broker({ admin: true })
const p = new Platform(b)

before(async () => { await p.open() })
after(async () => { p.close(); await b.remove() })

const policy = (name, certificate) => p.change(name, { certificate })
const baton = (...args) => spawnSync(BATON, args, { encoding: 'utf8', cwd: b.dir, env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
const says = (...args) => { const r = baton(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout + r.stderr }
const lives = (answer) => Number(answer.expires_at_ms) - Date.now()

// Renewals are budgeted, one a second.
async function renew (a, key) {
  for (;;) {
    try { return await a.renew(p.csr(key).der) } catch (e) { if (refusalOf(e).reason !== 'quota_exceeded') throw e }
    await sleep(300)
  }
}

// Of the company's own CA, for 2 days.
async function ofCompany (name, days = 2) {
  const leaf = { ...b.acme.leaf(`company-${name}-${days}`, { sans: [`URI:${p.spiffe(name)}`], days }), name, tenant: 'acme', spiffe: p.spiffe(name), trust: b.serverCa.cert }
  return p.keep(new Agent(leaf, b.addr, { token: await b.issuer.mint(leaf) }))
}

test('I-1 I-5 A certificate lives as long as the policy of its agent says, the first and each next, and is renewed at two thirds of that / never longer than issuing.ttl', async () => {
  await p.register('brief', { certificate: { max_ttl_s: 600 } })
  await p.register('long', { certificate: { max_ttl_s: 86400 } })
  const first = async (name) => {
    const { token } = await p.token(name), r = p.csr(name)
    return { r, answer: await p.patiently(() => p.stranger.enrol(token, r)) }
  }
  const { r, answer } = await first('brief')
  assert.ok(lives(answer) > 570e3 && lives(answer) <= 600e3, `${lives(answer)}`)
  assert.ok(Math.abs(Number(answer.renew_at_ms) - Date.now() - 400e3) < 30000)
  const long = (await first('long')).answer
  assert.ok(lives(long) > 3500e3 && lives(long) <= 3600e3, `${lives(long)}`)
  const a = await p.agent('brief', r.key, answer)
  await p.works(a)
  await policy('brief', { max_ttl_s: 60 })
  const next = await renew(a, 'brief-2')
  assert.ok(lives(next) > 30e3 && lives(next) <= 60e3, `${lives(next)}`)
  await policy('brief', null)
  const free = await renew(a, 'brief-3')
  assert.ok(lives(free) > 3500e3, `${lives(free)}`)
  await p.works(a)
})

test('I-5 A-4 An agent that by its policy is issued nothing gets no token, and the token that somebody had is worth nothing / allowed again, it is enrolled', async () => {
  await p.register('elsewhere')
  const { token } = await p.token('elsewhere'), r = p.csr('elsewhere')
  await policy('elsewhere', { issuance: 'CERTIFICATE_ISSUANCE_NONE' })
  assert.match((await denied(p.token('elsewhere'), 'wrong_state', 'FAILED_PRECONDITION')).message, /certificate policy/)
  assert.match((await denied(p.stranger.enrol(token, r), 'wrong_state', 'FAILED_PRECONDITION')).message, /no first one/)
  const company = await ofCompany('elsewhere')
  await p.works(company)
  assert.match((await denied(renew(company, 'elsewhere-2'), 'wrong_state')).message, /no next one/)
  await policy('elsewhere', { issuance: 'CERTIFICATE_ISSUANCE_RENEWAL' })
  await denied(p.token('elsewhere'), 'wrong_state')
  await denied(p.stranger.enrol(token, r), 'wrong_state')
  assert.ok((await renew(company, 'elsewhere-3')).chain_der.length)
  await policy('elsewhere', { issuance: 'CERTIFICATE_ISSUANCE_ENROLMENT' })
  await denied(renew(company, 'elsewhere-4'), 'wrong_state')
  const answer = await p.patiently(() => p.stranger.enrol(token, r)) // it was refused, and cost the token nothing
  assert.equal(new X509Certificate(answer.chain_der[0]).subjectAltName, `URI:${p.spiffe('elsewhere')}`)
  await policy('elsewhere', {})
  assert.equal((await p.resource('elsewhere')).agent.certificate, null)
  assert.ok((await renew(company, 'elsewhere-5')).chain_der.length)
})

test('I-1 I-7 A certificate that lives longer than the policy takes is refused, whoever issued it, and its streams end while the broker runs / a shorter one is taken', async () => {
  await p.register('shorty', { may_serve: [ROUTE] })
  const company = await ofCompany('shorty')
  await p.works(company)
  const stream = await company.subscribe({ routes: [ROUTE], max_in_flight: 1 })
  await policy('shorty', { max_accepted_ttl_s: 2 * 86400 }) // it lives 2 days
  await p.works(company)
  await policy('shorty', { max_accepted_ttl_s: 3600 })
  const end = await stream.end()
  assert.equal(end.reason, 'unknown_peer', JSON.stringify(end))
  assert.match(end.message, /certificate: it lives 172800 s, and of shorty none is taken that lives longer than 3600 s/)
  const said = await denied(company.submit(read(ROUTE)), 'unknown_peer', 'UNAUTHENTICATED')
  assert.match(said.message, /it needs a shorter one/)
  await denied(renew(company, 'shorty-2'), 'unknown_peer')
  const audited = await b.audited({ event: 'decision', reason: 'unknown_peer', field: 'certificate' })
  assert.equal(audited.spiffe_id, p.spiffe('shorty'))
  const { token } = await p.token('shorty'), r = p.csr('shorty')
  const answer = await p.patiently(() => p.stranger.enrol(token, r))
  const young = await p.agent('shorty', r.key, answer)
  await p.works(young)
  await policy('shorty', { max_accepted_ttl_s: 1800 }) // the one of an hour is too long now; one that the broker issues is as short
  await denied(young.submit(read(ROUTE)), 'unknown_peer')
  const second = await p.token('shorty'), r2 = p.csr('shorty-3')
  const shorter = await p.patiently(() => p.stranger.enrol(second.token, r2))
  assert.ok(lives(shorter) > 1700e3 && lives(shorter) <= 1800e3, `${lives(shorter)}`)
  await p.works(await p.agent('shorty', r2.key, shorter))
  await policy('shorty', null)
  await p.works(company)
})

test('A-5 A policy by flags, in what is shown, in the history and in a file: what is exported is what is applied, and a value that is none is refused by its field', async () => {
  const common = ['--tenant', 'acme', '--reason', 'a test']
  says('agent', 'register', 'flagged', ...common, '--id', p.spiffe('flagged'), '--owner', 'team-e', '--cert-max-ttl', '10m', '--cert-issuance', 'renewal', '--cert-max-accepted', '2d')
  const { agent } = await p.resource('flagged')
  assert.deepEqual([agent.certificate.max_ttl_s, agent.certificate.issuance, agent.certificate.max_accepted_ttl_s], [600, 'CERTIFICATE_ISSUANCE_RENEWAL', 172800])
  assert.match(says('agent', 'show', 'flagged'), /issued to it: +renewal alone, for at most 10m\ntaken of it: +certificates that live at most 2d\n/)
  assert.deepEqual(JSON.parse(says('agent', 'show', 'flagged', '-o', 'json')).agent.certificate, { max_ttl_s: 600, issuance: 'renewal', max_accepted_ttl_s: 172800 })
  const file = b.path('flagged.yaml'), text = says('export', '--tenant', 'acme').split('---\n').find((d) => d.includes('"flagged"'))
  assert.match(text, /certificate_max_ttl_s: 600\ncertificate_issuance: renewal\ncertificate_max_accepted_ttl_s: 172800\n/)
  fs.writeFileSync(file, text)
  says('diff', '-f', file)
  assert.match(says('apply', '-f', file, '--reason', 'a test'), /agent\/acme\/flagged unchanged/)
  fs.writeFileSync(file, text.replace('certificate_max_ttl_s: 600', 'certificate_max_ttl_s: 60').replace(/certificate_issuance.*\n/, ''))
  const diff = baton('diff', '-f', file)
  assert.deepEqual([diff.status, diff.stdout.split('\n').slice(2).join('\n')], [1, '-certificate_max_ttl_s: 600\n+certificate_max_ttl_s: 60\n-certificate_issuance: renewal\n'])
  says('apply', '-f', file, '--reason', 'a test')
  await b.audited({ event: 'agents.changed', message: 'updated acme/flagged (certificate.max_ttl_s: 600 -> 60; certificate.issuance: CERTIFICATE_ISSUANCE_RENEWAL -> -): a test' })
  says('agent', 'update', 'flagged', ...common, '--cert-max-ttl', '0', '--cert-max-accepted', '0')
  assert.equal((await p.resource('flagged')).agent.certificate, null)
  const history = await p.local.call('History', { kind: 'agent', tenant: 'acme', name: 'flagged' }, { service: 'ResourceService' })
  assert.deepEqual(history.resources.map((r) => r.agent.certificate?.max_ttl_s), [undefined, 60, 600])
  const bad = baton('agent', 'update', 'flagged', ...common, '--cert-max-ttl', '10s')
  assert.equal(bad.status, 65, bad.stderr)
  assert.match(bad.stderr, /certificate\.max_ttl_s: 30 to 86400 seconds/)
  for (const flag of ['--cert-max-ttl', '--cert-max-accepted']) { // is not nothing, and lifts no bound
    const tiny = baton('agent', 'update', 'flagged', ...common, flag, '500ms')
    assert.equal(tiny.status, 65, tiny.stdout + tiny.stderr)
  }
  await denied(policy('flagged', { issuance: 9 }), 'malformed_envelope')
  await denied(policy('flagged', { max_accepted_ttl_s: 29 }), 'malformed_envelope')
  fs.writeFileSync(file, text.replace('certificate_max_ttl_s: 600', 'certificate_max_ttl_s: 10'))
  assert.match(baton('apply', '-f', file, '--reason', 'a test').stderr, /flagged\.yaml:\d+:\d+: certificate_max_ttl_s: 10 is not within 30 to 86400/)
})
