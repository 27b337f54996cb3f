// Which of the published attacks fits the port where nobody has a certificate, and the pages beside it? listen.enrol (and Renew, which the next certificate comes
// from), and the metrics port: names in requests, headers, time, and many at once, each beside an honest twin.
import fs from 'node:fs'
import net from 'node:net'
import { X509Certificate } from 'node:crypto'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker } from './lib/broker.js'
import { denied, refusalOf } from './lib/agent.js'
import { Platform } from './lib/enrolling.js'
import { StepClock } from './lib/faults.js'
import { Raw, F, T, frame, headers, identity, literal, message } from './lib/rawh2.js'
import { api } from './lib/wire.js'

const clock = new StepClock()
const b = new Broker({ ...clock.broker, admin: true })
const p = new Platform(b)
let root, stranger

before(async () => { ({ root, stranger } = await p.open()) })
after(async () => { clock.set(0); p.close(); await b.remove(); clock.remove() })

const sanOf = (answer) => new X509Certificate(answer.chain_der[0]).subjectAltName
const der = (tag, ...parts) => {
  const body = Buffer.concat(parts.map((x) => Buffer.from(x)))
  return Buffer.concat([Buffer.from(body.length > 127 ? [tag, 0x81, body.length] : [tag, body.length]), body])
}
const names = (...all) => [`DER:${der(0x30, ...all).toString('hex')}`] // GeneralNames (RFC 5280 §4.2.1.6)
const uri = (text) => der(0x86, text)
// An agent's renewals have a rate.
async function renewal (a, csr) {
  for (;;) {
    try { return await a.renew(csr.der) } catch (e) { if (refusalOf(e).reason !== 'quota_exceeded') throw e }
    await sleep(300)
  }
}

test('I-5 attack 1 attack 2 attack 3 attack 16: A request whose name has a NUL, stands in another type, is a pattern or is in the subject gets no such name, first or next / the id itself is taken, and costs nothing before', async () => {
  await p.register('nell')
  const id = p.spiffe('nell'), other = p.spiffe('planner')
  const upn = Buffer.from('060a2b060104018237140203', 'hex') // 1.3.6.1.4.1.311.20.2.3
  const bad = {
    nul: names(uri(`${id}\0`)), 'nul-tail': names(uri(`${id}\0.evil.example`)), 'nul-of-another': names(uri(`${other}\0/nell`)),
    dns: names(der(0x82, id)), email: names(der(0x81, id)), ip: names(der(0x87, id)), other: names(der(0xa0, upn, der(0xa0, der(0x0c, id)))),
    beside: names(uri(id), der(0x82, other)), twice: names(uri(id), uri(id)), none: names(),
    star: names(uri('spiffe://acme.example/*')), any: names(uri('spiffe://acme.example/nel?')), percent: names(uri('spiffe://acme.example/%6eell')), domain: names(uri('spiffe://*/nell')),
    slash: names(uri(`${id}/`)), upper: names(uri('SPIFFE://acme.example/nell')), alike: names(uri('spiffe://acme.example/n\u0435ll')), long: names(uri(id.padEnd(120, 'x')))
  }
  const { token } = await p.token('nell')
  const requests = Object.entries(bad).map(([what, sans]) => [what, p.csr(`nell-${what}`, sans)])
  for (const [what, csr] of requests) assert.match((await denied(stranger.enrol(token, csr), 'malformed_envelope').catch((e) => assert.fail(`${what}: ${e.message}`))).message, /it asks for|subjectAltName/, what)
  // a subject names nobody, whatever stands in it
  const first = p.csr('nell-subject', names(uri(id)), '/CN=planner+OU=agents/O=acme/CN=spiffe:\\/\\/acme.example\\/planner')
  const answer = await stranger.enrol(token, first)
  const leaf = new X509Certificate(answer.chain_der[0])
  assert.equal(leaf.subjectAltName, `URI:${id}`)
  assert.doesNotMatch(leaf.subject || '', /planner/)
  const nell = await p.agent('nell', first.key, answer)
  assert.equal((await nell.whoami()).agent.name, 'nell')
  for (const [what, csr] of requests) await denied(renewal(nell, csr), 'malformed_envelope').catch((e) => assert.fail(`${what}: ${e.message}`))
  const next = p.csr('nell-next', names(uri(id)), '/CN=planner/UID=planner')
  assert.equal(sanOf(await renewal(nell, next)), `URI:${id}`)
}, 120000)

test('I-5 attack 4: A token that has expired is refused, also with the key that it was used with / one that is good longer is taken', async () => {
  await p.register('short')
  await p.register('lasting')
  const [short, lasting] = [(await p.token('short', { ttl_s: 60 })).token, (await p.token('lasting', { ttl_s: 600 })).token]
  const [r, later] = [p.csr('short'), p.csr('lasting')]
  await p.patiently(() => stranger.enrol(short, r))
  await p.register('unused')
  const unused = (await p.token('unused', { ttl_s: 60 })).token
  clock.set(90)
  try {
    for (const [token, csr] of [[short, r], [short, p.csr('short-2')], [unused, p.csr('unused')]]) {
      assert.match((await denied(p.patiently(() => stranger.enrol(token, csr)), 'expired_token', 'UNAUTHENTICATED')).message, /it has expired: ask for a new one/)
    }
    assert.equal(sanOf(await p.patiently(() => stranger.enrol(lasting, later))), `URI:${p.spiffe('lasting')}`)
  } finally { clock.set(0) }
  await b.ready()
  assert.equal(sanOf(await p.patiently(() => stranger.enrol(unused, p.csr('unused')))), `URI:${p.spiffe('unused')}`) // it was the clock alone
})

const open = (leaf) => ({ ...identity(b, leaf || b.leaves.planner, undefined, b.enrolPort), ...(!leaf && { cert: undefined, key: undefined }) })
const packed = (method, m) => message(api.baton.v1.EnrolService.service[method].requestSerialize(m))
const path = (method) => `/baton.v1.EnrolService/${method}`
const answered = (c, stream) => c.frames.some((f) => f.stream === stream && f.type === T.DATA)
const over = (c, stream) => until('an answer', () => c.frames.find((f) => f.stream === stream && (f.type === T.RST_STREAM || (f.type === T.HEADERS && f.flags & F.END_STREAM))))

test('attack 6 attack 19: on listen.enrol no header, certificate or pseudo header says who enrols, or lends another port its calls / the token alone does', async () => {
  const inside = {
    'baton-tenant': 'globex', 'x-tenant-id': 'globex', 'baton-agent': 'planner', 'x-spiffe-id': p.spiffe('planner'), 'x-forwarded-client-cert': `URI=${b.person('root').spiffe}`,
    'x-forwarded-for': '10.9.8.7', forwarded: 'for=10.9.8.7', 'x-baton-role': 'platform', authorization: 'Bearer forged-token'
  }
  await p.register('hedda')
  const { token } = await p.token('hedda'), csr = p.csr('hedda')
  for (const leaf of [null, b.leaves.planner, b.person('root')]) {
    const c = await new Raw(open(leaf)).greet()
    c.write(frame(T.HEADERS, F.END_HEADERS, 1, headers(inside, path('Enrol'))), frame(T.DATA, F.END_STREAM, 1, packed('Enrol', { token, csr_der: csr.der })))
    await over(c, 1)
    const body = Buffer.concat(c.frames.filter((f) => f.stream === 1 && f.type === T.DATA).map((f) => f.body)).subarray(5)
    assert.equal(sanOf(api.baton.v1.EnrolService.service.Enrol.responseDeserialize(body)), `URI:${p.spiffe('hedda')}`)
    const others = ['/baton.v1.HandoffService/WhoAmI', '/baton.v1.HandoffService/Submit', '/baton.v1.OperateService/ListRoutes', '/baton.v1.ResourceService/InitAdmin', '/baton.v1.ResourceService/Apply',
      '/baton.v1.ContainmentService/Revoke', path('CreateToken'), path('Renew'), '/grpc.health.v1.Health/Check']
    let stream = 3
    for (const method of others) {
      for (const more of [inside, { ':authority': `127.0.0.1:${b.adminPort}` }, { ':authority': 'admin.sock', ':scheme': 'unix' }]) {
        c.write(frame(T.HEADERS, F.END_HEADERS, stream, headers(more, method)), frame(T.DATA, F.END_STREAM, stream, message(Buffer.alloc(0))))
        assert.equal((await c.answer(stream))['grpc-status'], '12', method)
        stream += 2
      }
    }
    c.close()
    await sleep(1100) // a second to a certificate: the token's key asks again
  }
  const said = await until('three certificates', () => { const all = b.audit().filter((r) => r.event === 'certificate.issued' && r.agent === 'hedda'); return all.length === 3 && all })
  for (const r of said) assert.deepEqual([r.tenant, r.roles || ''], ['acme', ''])
  for (const text of [b.log(), ...b.auditLines()]) assert.doesNotMatch(text, /forged-token|10\.9\.8\.7/)
})

test('attack 20: on listen.enrol a header that decides comes once: te, content-type, grpc-timeout twice are refused / once each is taken', async () => {
  const c = await new Raw(open()).greet()
  let stream = 1
  const ask = async (block) => {
    const mine = stream
    stream += 2
    c.write(frame(T.HEADERS, F.END_HEADERS, mine, block), frame(T.DATA, F.END_STREAM, mine, packed('GetBundle', {})))
    await over(c, mine)
    return answered(c, mine)
  }
  for (const [name, value] of [['te', 'trailers'], ['content-type', 'application/grpc'], ['grpc-timeout', '1S']]) {
    const once = name === 'grpc-timeout' ? { [name]: value } : {}
    assert.equal(await ask(Buffer.concat([headers(once, path('GetBundle')), literal(name, value)])), false, `${name} twice`)
    assert.equal(await ask(headers(once, path('GetBundle'))), true, `${name} once`)
  }
  c.close()
})

// What the metrics port says to these bytes, until it closes.
const said = (text) => new Promise((yes, no) => {
  let all = ''
  const s = net.connect(b.metricsPort, '127.0.0.1', () => s.write(text)).setEncoding('latin1')
  s.on('data', (d) => { all += d }).on('error', no).on('close', () => yes(all))
  s.setTimeout(15000, () => s.destroy(new Error('it is not closed')))
})

test('attack 20 attack 24: on the metrics port a header that comes twice, or has what no header has, gets no more than a page that is there for all / and the next request is served', async () => {
  const get = (page, ...more) => [`GET ${page} HTTP/1.1`, 'Host: a', ...more, '', ''].join('\r\n')
  const inner = get('/readyz', 'Connection: close')
  const cases = [
    get('/healthz', 'Host: b', 'Connection: close'), get('/healthz', 'Connection: close', 'Content-Length: 0', 'Content-Length: 5'), get('/healthz', 'Connection: close', `Content-Length: ${inner.length}`, 'Content-Length: 0') + inner,
    get('/healthz', 'Connection: close', 'Transfer-Encoding: chunked', 'Content-Length: 3') + '0\r\n\r\n', get('/healthz', 'Authorization: Bearer x', 'Authorization: Bearer y', 'Connection: close'),
    get('/healthz', 'X: a\rSet-Cookie: b', 'Connection: close'), get('/healthz', 'X: a\0b', 'Connection: close'), get('/%0d%0aSet-Cookie:%20b', 'Connection: close'), get('/metrics/../admin', 'Connection: close')
  ]
  for (const text of cases) {
    const all = await said(text)
    assert.match(all, /^(HTTP\/1\.1 (200|400|404) |$)/, text)
    assert.equal(all.match(/^HTTP\/1\.1 /gm)?.length ?? 0, all ? 1 : 0, text) // one request, one answer
    assert.doesNotMatch(all.split('\r\n\r\n')[0], /Set-Cookie/i)
    assert.equal((await b.http('/healthz')).status, 200)
  }
  assert.match(await said(get('/healthz', 'Connection: close')), /^HTTP\/1\.1 200 /)
})

test('attack 29: strangers who come, ask with one token and two keys, are cut and come again, and readers of pages who are cut, while agents are registered, revoked and retired: one key alone is ever given certificates, and nothing is left of them / a newcomer is taken in at once', async () => {
  const fds = () => fs.readdirSync(`/proc/${b.process.pid}/fd`).length
  await p.register('stormy')
  const { token } = await p.token('stormy'), keys = [p.csr('stormy-a'), p.csr('stormy-b')]
  const junk = token.slice(0, -3) + 'AAA'
  const quiet = fds(), end = Date.now() + 4000
  const storm = async (i) => {
    for (let n = 0; Date.now() < end; n++) {
      const c = new Raw({ ...open(), localAddress: `127.0.0.${10 + i}` })
      if (await c.open) {
        await c.greet().catch(() => {})
        for (let k = 0; k < 4; k++) {
          const m = { token: k % 2 ? token : junk, csr_der: keys[(i + n) % 2].der }
          c.write(frame(T.HEADERS, F.END_HEADERS, 1 + 2 * k, headers({}, path('Enrol'))), ...(n % 3 ? [frame(T.DATA, F.END_STREAM, 1 + 2 * k, packed('Enrol', m))] : []))
        }
        if (n % 2) await sleep(5)
      }
      c.close()
      await sleep(20)
    }
  }
  const pages = async () => {
    for (let n = 0; Date.now() < end; n++) {
      await new Promise((done) => {
        const s = net.connect(b.metricsPort, '127.0.0.1', () => { s.write(n % 2 ? 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' : 'GET /metr'); setTimeout(() => s.destroy(), n % 5) })
        s.on('close', done).on('error', () => {})
      })
    }
  }
  const change = async () => {
    for (let n = 0; Date.now() < end; n++) {
      await p.register(`passing${n}`)
      const r = await root.revoke({ agent: { tenant: 'acme', name: `passing${n}` } })
      await root.lift(r.revocation_id)
      await p.retire(`passing${n}`)
    }
  }
  await Promise.all([...Array.from({ length: 6 }, (_, i) => storm(i)), pages(), pages(), change()])
  const outcome = (csr) => stranger.enrol(token, csr).then(sanOf, (e) => refusalOf(e).message)
  const ends = [await outcome(keys[0]), await outcome(keys[1])]
  const lost = ends.findIndex((text) => /used with another key/.test(text)), won = ends[1 - lost]
  assert.match(won, new RegExp(`^URI:${p.spiffe('stormy')}$|too many for this agent within a minute`), ends.join('; ')) // an agent has its share of a minute
  const record = fs.readFileSync(b.path('state', 'keeper', 'record.jsonl'), 'utf8').trim().split('\n').map((l) => JSON.parse(l).spiffe_id)
  assert.ok(record.filter((id) => id === p.spiffe('stormy')).length <= 40, 'its share, and no more')
  assert.ok((await p.enrolled('newcomer')).answer.chain_der.length)
  assert.equal((await b.http('/metrics')).status, 200)
  await root.call('ListRoutes')
  await until('descriptors to come back', () => fds() <= quiet + 12, 30000)
}, 90000)
