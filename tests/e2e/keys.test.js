// When is an issuer asked for its keys, how often, and by whose doing? Each test has an issuer of its own.
import net from 'node:net'
import { createHmac, createPublicKey } from 'node:crypto'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied, read, refused } from './lib/agent.js'
import { Provider, DISCOVERY, send } from './lib/provider.js'
import { jose } from './lib/tokens.js'

const OPTIONS = {
  fresh: '', first: '', flood: '', early: '', ghost: '', guess: '', crowd: '', bulk: '', lost: '', weak: '', kids: '', tenant: '', begin: '',
  slow: '', noisy: ', keys_refresh: 1s', short: ', keys_refresh: 2s', aged: ', keys_refresh: 1h', ageless: ', keys_refresh: 2s'
}
const PATHS = { tenant: '/tenant/' }
const p = {} // the providers by name
const trap = { hits: 0 }
let planner, auditor
// Before the broker's own ports are chosen, so that they are others.
const b = new Broker({ workers: 1, idp: startProviders })

async function startProviders (x) {
  const listener = net.createServer((s) => { trap.hits++; s.destroy() })
  await new Promise((done) => listener.listen(0, '127.0.0.1', done))
  trap.url = `https://127.0.0.1:${listener.address().port}/`
  for (const [name, options] of Object.entries(OPTIONS)) {
    p[name] = await new Provider({ name, server: x.server, file: x.path(`${name}.jwks`), path: PATHS[name], options }).start()
  }
  p.aged.jwks = aged('public, max-age=1')
  p.ageless.jwks = aged('max-age=86400')
}

before(async () => {
  await b.prepare()
  b.profiles[ROUTE] = profile(ROUTE, {}, Object.values(p).map((x) => x.url))
  b.writeProfiles()
  b.writeConfig(withIssuers())
  await b.start()
  planner = await b.agent('planner')
  auditor = await b.agent('auditor')
})
after(async () => { await b.remove(); await Promise.all(Object.values(p).map((x) => x.stop())) })

const aged = (value) => (rq, rs, body) => { rs.setHeader('cache-control', value); send(rq, rs, body) }
const withIssuers = (rows = '') => (t) => t.replace('issuers:\n', `issuers:\n${Object.values(p).map((x) => x.row(b.serverCa.cert)).join('')}${rows}`)
const submit = (agent, token, more = {}) => agent.submit({ ...read(ROUTE), ...more }, { token, timeout: 30000 })
const mint = (from, agent, kid = 'es') => from.issuer.mint(agent, {}, { kid })
const ghost = (from, agent, kid) => from.issuer.mint(agent, {}, { header: { kid } })
async function lookups (from, result) {
  const row = (await b.http('/metrics')).body.split('\n').find((l) => l.startsWith(`baton_keys_lookups_total{issuer="${from.name}",result="${result}"}`))
  return row ? Number(row.split(' ')[1]) : 0
}
const rise = (now, then) => now.map((n, i) => n - then[i])

test('I-2 OIDC Core §10.1.1 rotation: a new kid is looked for when it is first seen; the old one serves while it is published, and no longer', async () => {
  const from = p.fresh
  const old = await mint(from, planner)
  await submit(planner, old)
  await from.rotate('second', { keep: ['es'] })
  const then = from.fetches()
  await submit(planner, await mint(from, planner, 'second'))
  await submit(planner, old)
  assert.deepEqual(rise(from.fetches(), then), [1, 1])
  await from.rotate('third', { keep: ['second'] })
  await submit(planner, await mint(from, planner, 'third')) // with it goes the first key, and what is remembered of its signatures
  await denied(submit(planner, old), 'invalid_token', 'UNAUTHENTICATED')
  await submit(planner, await mint(from, planner, 'second'))
})

test('OIDC Discovery §4.1: a slash at the end of an issuer\'s path is not doubled', async () => {
  await submit(planner, await mint(p.tenant, planner))
  assert.ok(p.tenant.seen.length >= 2 && p.tenant.seen.every((u) => [`/tenant${DISCOVERY}`, '/jwks'].includes(u)), p.tenant.seen)
})

test('attack 11: a hundred first requests with a new kid at once are one fetch of each document, and all are taken', async () => {
  const from = p.first
  await from.rotate('second')
  const then = from.fetches()
  const go = from.hold()
  const tokens = await Promise.all(Array.from({ length: 100 }, (_, i) => mint(from, [planner, auditor][i % 2], 'second')))
  const all = Promise.all(tokens.map((token, i) => submit([planner, auditor][i % 2], token)))
  await until('all to wait', async () => await lookups(from, 'waited') + await lookups(from, 'begun') === 100)
  go()
  await all
  assert.deepEqual(rise(from.fetches(), then), [1, 1])
})

test('I-2 a flood of unknown kids by one agent costs another nothing: its new kid is looked for at once, the flood\'s no more', async () => {
  const from = p.flood
  const then = from.fetches()
  from.jwks = (rq, rs, body) => setTimeout(() => send(rq, rs, body), 100)
  let on = true
  let n = 0
  const flood = Array.from({ length: 8 }, async () => { while (on) await refused(submit(planner, await ghost(from, planner, `ghost-${n++}`))) })
  await until('the flood\'s budget to be used up', async () => await lookups(from, 'spent') > 50, 30000)
  for (const kid of ['second', 'third', 'fourth']) {
    await from.rotate(kid, { keep: ['es'] })
    await submit(auditor, await mint(from, auditor, kid))
  }
  on = false
  await Promise.all(flood)
  const fetches = rise(from.fetches(), then)[1]
  assert.ok(fetches <= 12, `${fetches} fetches for ${n} unknown kids and three new ones`)
  const took = from.begun.at(-1) - from.begun.at(-fetches)
  assert.ok(took >= 500 * (fetches - 1), `${fetches} fetches in ${took} ms: one begins each second`) // half of that: what arrives is late or early
  await submit(planner, await mint(from, planner)) // of known keys it may show tokens as before
})

test('a fetch that was answered before the key was published is not taken for an answer', async () => {
  const from = p.early
  const then = from.fetches()[1]
  let go
  const held = new Promise((done) => { go = done })
  from.jwks = (rq, rs, body) => held.then(() => send(rq, rs, body))
  const guess = denied(submit(planner, await ghost(from, planner, 'ghost')), 'invalid_token')
  await until('its fetch to be answered', () => from.fetches()[1] > then)
  await from.rotate('second')
  const honest = submit(auditor, await mint(from, auditor, 'second'))
  await until('the honest one to wait for it', async () => await lookups(from, 'waited') === 1)
  go()
  await honest
  await guess
})

test('a kid that was not found is not looked for again for a while / for another agent it is', async () => {
  const from = p.ghost
  const then = from.fetches()
  for (let i = 0; i < 30; i++) await denied(submit(planner, await ghost(from, planner, 'nobody')), 'invalid_token', 'UNAUTHENTICATED')
  assert.deepEqual(rise(from.fetches(), then), [1, 1])
  await denied(submit(auditor, await ghost(from, auditor, 'nobody')), 'invalid_token')
  assert.deepEqual(rise(from.fetches(), then), [2, 2])
})

test('a kid that one agent guesses before it is published is no secret lost: another agent\'s token with it is looked for at once', async () => {
  const from = p.guess
  await denied(submit(planner, await ghost(from, planner, 'second')), 'invalid_token')
  await from.rotate('second')
  await submit(auditor, await mint(from, auditor, 'second'))
  await submit(planner, await mint(from, planner, 'second'))
})

test('who waits for one issuer is not disturbed by what others answer', async () => {
  const from = p.slow
  const others = [p.noisy, p.short, p.ageless]
  const all = () => others.reduce((sum, o) => sum + o.fetches()[1], 0)
  await from.rotate('second')
  const go = from.hold()
  const honest = submit(auditor, await mint(from, auditor, 'second'))
  const then = all()
  await until('others to answer', () => all() > then + 3)
  go()
  await honest
})

test('one agent\'s waiting requests do not take the places of others: beyond its share they are refused / another waits and is served', async () => {
  const from = p.crowd
  const agents = await Promise.all(Array.from({ length: 3 }, () => b.agent('planner'))) // a connection takes 128 streams
  await Promise.all(agents.map(async (a) => submit(a, await mint(from, a))))
  await from.rotate('second', { keep: ['es'] })
  const token = await ghost(from, planner, 'ghost')
  const mine = await mint(from, auditor, 'second')
  const go = from.hold()
  let answered = 0
  const crowd = agents.flatMap((a) => Array.from({ length: 120 }, () => refused(submit(a, token)).then((r) => { answered++; return r.reason })))
  await until('those beyond its share to be refused', () => answered === 3 * 120 - 256)
  const honest = submit(auditor, mine)
  await until('the honest one to wait', async () => await lookups(from, 'waited') === 256)
  go()
  await honest
  assert.deepEqual([...new Set(await Promise.all(crowd))], ['invalid_token'])
  for (const a of agents) a.close()
})

test('nor does it take their memory: its waiting bytes have a share too', async () => {
  const from = p.bulk
  await submit(planner, await mint(from, planner))
  await from.rotate('second', { keep: ['es'] })
  const payload = Buffer.from(JSON.stringify({ text: 'x'.repeat(1000 << 10) }))
  const token = await ghost(from, planner, 'ghost')
  const go = from.hold()
  let answered = 0
  const bulk = Array.from({ length: 24 }, () => refused(submit(planner, token, { payload })).then((r) => { answered++; return r.reason }))
  await until('those beyond its share to be refused', () => answered === 24 - 16)
  const honest = submit(auditor, await mint(from, auditor, 'second'), { payload })
  await until('the honest one to wait', async () => await lookups(from, 'waited') === 16)
  go()
  await honest
  assert.deepEqual([...new Set(await Promise.all(bulk))], ['invalid_token'])
})

test('attack 11: calls cancelled, connections cut and reloads while a fetch hangs or fails harm nobody', async () => {
  const from = p.lost
  const rogue = await b.agent('planner')
  const ask = (agent, kid) => from.issuer.mint(agent, {}, { header: { kid } }).then((t) => submit(agent, t))
  for (const end of ['answers', 'fails']) {
    const before = await lookups(from, 'waited')
    const go = from.hold()
    const all = Array.from({ length: 40 }, (_, i) => ask(i % 2 ? rogue : planner, `lost-${end}-${i}`).then(() => assert.fail('accepted'), () => {}))
    const runs = await Promise.all(Array.from({ length: 20 }, async (_, i) => planner.run(read(ROUTE), { token: await ghost(from, planner, `run-${i}`) })))
    await until('most to wait', async () => await lookups(from, 'waited') - before >= 55)
    for (const r of runs) r.call.cancel()
    if (end === 'fails') { from.jwks = (rq) => rq.socket.destroy(); b.signal('SIGHUP'); rogue.close() }
    go()
    await Promise.all(all)
  }
  from.mend()
  await until('an honest token to be taken', async () => submit(planner, await mint(from, planner)))
})

test('attack 7: an RSA key without alg verifies RS256 alone; HS256 with it, an empty or a published secret, and none are refused', async () => {
  const from = p.weak
  await from.issuer.make({ rsa: 'RS256' })
  const { alg, ...rsa } = from.issuer.keys.rsa.jwk
  const secret = Buffer.from('an-old-habit-of-thirty-two-bytes')
  from.published = ['es', rsa, { kty: 'oct', kid: 'empty', k: '' }, { kty: 'oct', kid: 'oct', alg: 'HS256', use: 'sig', k: secret.toString('base64url') },
    { kty: 'oct', k: '' }]
  const pem = createPublicKey({ key: rsa, format: 'jwk' })
  const secrets = { // kid → what an attacker would key the HMAC with
    rsa: [Buffer.from(rsa.n, 'base64url'), pem.export({ type: 'spki', format: 'pem' }), pem.export({ type: 'spki', format: 'der' }), JSON.stringify(rsa)],
    empty: [''], oct: [secret], nobody: ['']
  }
  await submit(planner, await mint(from, planner, 'rsa'))
  for (const [kid, keys] of Object.entries(secrets)) {
    for (const key of keys) {
      const token = await from.issuer.forge(planner, { alg: 'HS256', typ: 'at+jwt', kid }, {}, (text) => createHmac('sha256', key).update(text).digest())
      await denied(submit(planner, token), 'invalid_token', 'UNAUTHENTICATED')
    }
    for (const alg of ['none', 'None', '']) {
      const token = await from.issuer.forge(planner, { alg, typ: 'at+jwt', kid }, {}, () => Buffer.alloc(0))
      await denied(submit(planner, token), 'invalid_token', 'UNAUTHENTICATED')
    }
  }
  const ps = await jose.importJWK({ ...await jose.exportJWK(from.issuer.keys.rsa.privateKey), alg: 'PS256' }, 'PS256')
  await denied(submit(planner, await from.issuer.mint(planner, {}, { kid: 'rsa', header: { alg: 'PS256' }, key: ps })), 'invalid_token')
  await submit(planner, await mint(from, planner, 'rsa'))
})

test('attack 13: a kid reaches no URL and no file, and jku and x5u are not followed', async () => {
  const from = p.kids
  const kids = ['../../../etc/passwd', '/jwks2', trap.url, `${trap.url}#`, '?x=1', '%2e%2e/admin', 'a\r\nHost: evil.example', 'a\u0000b', '${jndi:ldap://evil.example/a}',
    'baton1:{acme}:slot', "' OR 1=1 --", 'x'.repeat(256)]
  await Promise.all(kids.map(async (kid) => denied(submit(planner, await ghost(from, planner, kid)), 'invalid_token', 'UNAUTHENTICATED')))
  const { privateKey, publicKey } = await jose.generateKeyPair('ES256', { extractable: true })
  const header = { jku: `${trap.url}jwks`, x5u: `${trap.url}x5c`, jwk: await jose.exportJWK(publicKey), x5c: ['AAAA'] }
  for (const kid of ['es', 'evil']) {
    await denied(submit(planner, await from.issuer.mint(planner, {}, { header: { ...header, kid }, key: privateKey })), 'invalid_token')
  }
  await submit(planner, await from.issuer.mint(planner, {}, { header: { jku: header.jku } })) // not followed, and no harm
  assert.equal(trap.hits, 0)
  assert.deepEqual([...new Set(from.seen)].sort(), [DISCOVERY, '/jwks'])
  for (const word of ['evil.example', 'etc/passwd', 'jndi']) assert.ok(!b.log().includes(word), `${word} in the log`)
})

test('a removed key stops working within keys_refresh; Cache-Control may shorten that, never lengthen it (RFC 9111 §5.2.2.1)', async () => {
  await Promise.all([p.short, p.aged, p.ageless].map(async (from) => {
    const gone = await mint(from, planner)
    await submit(planner, gone)
    await from.rotate('second')
    const then = from.fetches()[1]
    await until(`${from.name} to be asked again by itself`, () => from.fetches()[1] > then, 30000)
    await until(`the key that ${from.name} removed to be refused`, () => denied(submit(planner, gone), 'invalid_token', 'UNAUTHENTICATED'), 30000)
    await submit(planner, await mint(from, planner, 'second'))
  }))
  const [discovered] = p.fresh.fetches() // keys_refresh: 5m, the default: never asked by itself here
  assert.ok(discovered < 10, `${discovered}`)
})

test('SSRF: an issuer at a private address without allow_private, or at a metadata address with it, is never connected to / with it, it is', async () => {
  const shut = await new Provider({ name: 'shut', server: b.server, file: b.path('shut.jwks') }).start()
  const hosts = { meta: 'https://169.254.169.254', mapped: 'https://[::ffff:169.254.169.254]', decimal: 'https://2852039166', zero: 'https://0.0.0.0' }
  const rows = Object.entries(hosts).map(([name, url]) => `  - {name: ${name}, url: "${url}", allow_private: true, tenants: [acme]}\n`)
  const connected = []
  shut.http.on('connection', () => connected.push(1))
  const why = (name) => b.log().split('\n').filter((l) => l.includes('"keys.fetch_failed"') && l.includes(`"${name}"`)).map((l) => JSON.parse(l).why)
  b.profiles.elsewhere = profile('elsewhere', {}, [shut.url, ...Object.values(hosts)])
  b.writeProfiles()
  b.writeConfig(withIssuers(rows.join('') + shut.row(b.serverCa.cert).replace('allow_private: true', 'allow_private: false')))
  b.signal('SIGHUP')
  for (const name of [...Object.keys(hosts), 'shut']) assert.equal(await until(`the log's word about ${name}`, () => why(name)[0]), 'the address is not allowed')
  await until('a refusal', async () => denied(submit(planner, await mint(shut, planner), { route: 'elsewhere' }), 'keys_unavailable', 'UNAVAILABLE'))
  assert.equal(connected.length, 0)
  b.writeConfig(withIssuers(shut.row(b.serverCa.cert)))
  b.signal('SIGHUP')
  await until('it to be served', async () => submit(planner, await mint(shut, planner), { route: 'elsewhere' }))
  await shut.stop()
})

test('attack 11: the first requests of a node that has no keys yet wait for one fetch / a stop while a fetch hangs is clean', async () => {
  const from = p.begin
  await b.stop()
  b.writeConfig(withIssuers())
  const go = from.hold()
  const then = from.fetches()
  const up = b.start()
  await until('it to know its agents', async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'registry').ok, 30000)
  const agent = await b.agent('planner')
  const tokens = await Promise.all(Array.from({ length: 100 }, () => mint(from, agent)))
  const all = tokens.map((token) => agent.whoami({ token, timeout: 30000 })) // for an envelope it is too early: the store's floor
  await until('all to wait', async () => await lookups(from, 'waited') === 100)
  go()
  for (const who of await Promise.all(all)) assert.equal(who.token.outcome, 'OUTCOME_ALLOW', who.token.message)
  assert.deepEqual(rise(from.fetches(), then), [1, 1])
  await up
  from.hold()
  const waiting = denied(submit(agent, await ghost(from, agent, 'ghost')), 'draining')
  await until('it to wait', async () => await lookups(from, 'begun') === 1)
  b.signal('SIGTERM')
  await waiting
  await b.stop() // exit code 0, no sanitizer's word
})
