// Does the agents' port hold? Every abuse that docs/limits.md lists, by strangers and by registered agents, one after the other, while an honest
// agent goes on handing work over: the offender is ended with the right code and counted by name, nobody else is, and batond's memory stays flat.
import fs from 'node:fs'
import { test, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker } from './lib/broker.js'
import { encode } from './lib/wire.js'
import { Operator } from './lib/operator.js'
import { CODE, F, Plain, PREFACE, Raw, T, frame, headers, identity, indexed, literal, message, settings, u32 } from './lib/rawh2.js'

// A tenth of the defaults or less, so that the tests reach them soon.
const LIMITS = `limits: {connections: 200, connections_per_source: 60, connections_per_agent: 8, connections_per_source_per_s: 50, handshakes_open: 40,
  handshakes_open_per_source: 20, handshake_timeout: 1500ms, preface_timeout: 1s, headers_timeout: 1s, message_timeout: 1500ms, idle_timeout: 9s,
  stalled_timeout: 1500ms, keepalive: 1s, keepalive_timeout: 4s, resets_per_s: 5, control_frames_per_s: 5, pings_per_s: 1, streams_per_connection: 20,
  buffered_per_connection: 4MiB}\n`
const b = new Broker({ admin: true, config: (t) => t.replace('tls:\n', 'admin:\n  audience: support-agent-runtime\ntls:\n') + LIMITS, workers: 1 })
const FLAT = 24 << 20 // bytes of memory that one attack may leave behind: what malloc keeps, mostly
let planner, auditor, steady, quiet

let unending // of the metrics port: begun first, looked at last

before(async () => {
  [planner, auditor] = await b.startWith('planner', 'auditor')
  await planner.submit()
  const root = new Operator(b.adminSocket)
  await root.init(auditor.spiffe)
  root.close()
  steady = honest()
  quiet = rss()
  unending = new Plain({ port: b.metricsPort }).write(Buffer.from('GET /metrics HTTP/1.1\r\nhost: x\r\nx: '))
})
after(async () => {
  await steady?.stop()
  await b.remove()
})

const rss = () => Number(fs.readFileSync(`/proc/${b.process.pid}/statm`, 'utf8').split(' ')[1]) * 4096
const sanitized = () => fs.readFileSync(`/proc/${b.process.pid}/maps`, 'utf8').includes('asan')

// Hands work over, one after the other, without a pause: every call must be answered. (A disk or a Redis that stands still for two seconds costs one.)
function honest () {
  const seen = { calls: 0, worst: 0, lost: 0, failed: null, stopped: false }
  const run = async () => {
    while (!seen.stopped && !seen.failed) {
      const begun = Date.now()
      try { await planner.submit(); seen.calls++ } catch (e) { if (e.metadata?.get('baton-reason')[0] !== 'store_unavailable' || ++seen.lost > 2) seen.failed = e }
      seen.worst = Math.max(seen.worst, Date.now() - begun)
      await sleep(5)
    }
  }
  const done = run()
  return Object.assign(seen, { stop: () => { seen.stopped = true; return done } })
}

async function counts (metric, label) {
  const rows = (await b.http('/metrics')).body.matchAll(new RegExp(`^${metric}\\{.*${label}="([^"]+)".*\\} (\\d+)$`, 'gm'))
  const all = {} // of all listeners
  for (const [, name, n] of rows) all[name] = (all[name] || 0) + Number(n)
  return all
}
const closes = () => counts('baton_connections_closed_total', 'why')
const handshakes = () => counts('baton_handshakes_total', 'result')
const risen = (now, before, name) => (now[name] || 0) - (before[name] || 0)

// The attack is made, and then: honest calls were answered meanwhile and are now, and the memory is what it was.
async function held (attack) {
  const calls = steady.calls
  steady.worst = 0
  steady.lost = 0
  await attack()
  await until('honest calls meanwhile', () => steady.calls > calls + 3 || steady.failed)
  if (steady.failed) throw steady.failed
  const grown = () => rss() - quiet
  if (!sanitized()) await until(`memory to be flat; grown by ${grown()} bytes`, () => grown() < FLAT)
}

const as = (leaf, from) => new Raw(identity(b, b.leaves[leaf], from))
async function connected (...pairs) {
  const c = as('auditor')
  await c.greet(...pairs)
  return c
}
const odd = (i) => 2 * i + 1
const ASK = frame(T.HEADERS, F.END_HEADERS, 1, headers())
const LONG = Buffer.alloc(8)

// The offender gets GOAWAY with this code, and is counted under this name.
async function goaway (c, code, why) {
  await c.ended()
  const is = c.goaway ? [c.goaway.code, c.goaway.debug] : ['none', c.error]
  assert.equal(is[0], code, `${is}`)
  await until(`closed for ${why}`, async () => (await closes())[why] > 0)
}

// ---- strangers ----
test('A handshake that does not begin, or stops in the middle, ends with its time / an honest one is served', () => held(async () => {
  const before = await handshakes()
  const silent = new Plain(b)
  const half = new Plain(b).write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]))
  await Promise.all([silent.ended(), half.ended()])
  assert.equal(risen(await handshakes(), before, 'timeout'), 2)
}))

test('attack 5 attack 25: A first frame that is no ClientHello, or announces a huge one, is closed at once', () => held(async () => {
  for (const port of [b.port, b.adminPort]) {
    const before = await handshakes()
    const http = new Plain({ port }).write(Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
    const h2c = new Plain({ port }).write(PREFACE)
    const huge = new Plain({ port }).write(Buffer.from([22, 3, 1, 64, 0, 1, 1, 255, 255]))
    await Promise.all([http.ended(), h2c.ended(), huge.ended()])
    const now = await handshakes()
    assert.equal(risen(now, before, 'not_tls'), 2)
    assert.equal(risen(now, before, 'hello_too_large'), 1)
  }
}))

test('attack 25: Half handshakes of one source have a cap / another source is served', () => held(async () => {
  for (const [port, from] of [[b.port, '127.0.0.2'], [b.adminPort, '127.0.0.4']]) {
    const before = await closes()
    const all = Array.from({ length: 30 }, () => new Plain({ port }, from))
    await until('those over the cap', async () => risen(await closes(), before, 'source_handshakes') === 10)
    all.forEach((c) => c.close())
  }
}))

test('attack 25: Half handshakes of all sources have a cap: the oldest give way, and agents get in', () => held(async () => {
  const before = await handshakes()
  const all = Array.from({ length: 75 }, (_, i) => new Plain(b, `127.0.1.${1 + i % 5}`).write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252])))
  await until('those that give way', async () => risen(await handshakes(), before, 'evicted') >= 35)
  const c = await connected()
  c.close()
  all.forEach((s) => s.close())
}))

test('A flood of connections of one source is closed as it comes / another source is served', () => held(async () => {
  const before = await closes()
  const all = []
  for (let i = 0; i < 300; i++) all.push(new Plain(b, '127.0.0.3').write(Buffer.from('x')))
  await Promise.all(all.map((c) => c.ended()))
  assert.ok(risen(await closes(), before, 'source_rate') > 100)
  const c = await connected()
  c.close()
}))

test('Connections at a time have a cap for one source / others get in', () => held(async () => {
  const before = await closes()
  const leaf = { ...b.leaves.auditor }
  const all = []
  for (let i = 0; i < 70; i++) { // of strangers that shake hands and say nothing more, ten at a time
    all.push(new Raw({ ...identity(b, leaf, '127.0.0.4'), cert: undefined, key: undefined }))
    if (i % 10 === 9) await sleep(150)
  }
  await Promise.all(all.map((c) => c.open))
  all.forEach((c) => c.close())
  const c = await connected()
  c.close()
  assert.ok(risen(await closes(), before, 'source_limit') + risen(await closes(), before, 'no_certificate') > 0)
}))

test('Connections of one agent have a cap, with a reason it can read / another agent gets in', () => held(async () => {
  const before = await closes()
  const all = []
  for (let i = 0; i < 8; i++) all.push(await connected())
  const over = await connected()
  await over.ended()
  assert.equal(over.goaway.debug, 'too_many_for_agent')
  assert.equal(risen(await closes(), before, 'too_many_for_agent'), 1)
  all.forEach((c) => c.close())
  await until('their places to be free', async () => (await b.http('/metrics')).body.match(/^baton_connections\{.*\} (\d+)$/m)[1] <= 2)
}))

test('A flood of refused handshakes does not fill the log', () => held(async () => {
  const lines = () => b.log().split('\n').filter((l) => l.includes('peer.refused'))
  const [before, counted] = [lines().length, await handshakes()]
  for (let i = 0; i < 4; i++) {
    const all = Array.from({ length: 60 }, (_, k) => new Plain(b, `127.0.3.${k + 1}`).write(Buffer.from('nonsense!')))
    await Promise.all(all.map((c) => c.ended()))
    await sleep(1000)
  }
  assert.ok(risen(await handshakes(), counted, 'not_tls') >= 150)
  const grown = lines().length - before
  assert.ok(grown > 0 && grown < 110, `${grown} lines`)
  await sleep(300)
  await new Plain(b).write(Buffer.from('nonsense!')).ended()
  assert.ok(JSON.parse(lines().pop()).unlogged >= 0)
}))

// ---- phases: a registered agent that is slow in each ----
test('RFC 9113 §3.4 A preface that does not come ends the connection', () => held(async () => {
  const c = as('auditor')
  await c.open
  c.write(PREFACE.subarray(0, 10))
  await goaway(c, CODE.ENHANCE_YOUR_CALM, 'preface_timeout')
}))

test('A wrong preface is PROTOCOL_ERROR', () => held(async () => {
  const c = as('auditor')
  await c.open
  c.write(Buffer.from('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n'))
  await goaway(c, CODE.PROTOCOL_ERROR, 'bad_preface')
}))

test('A header block that comes byte by byte ends the connection', () => held(async () => {
  const c = await connected()
  for (let i = 0; i < 60 && !c.closed; i++) {
    c.write(ASK.subarray(i, i + 1))
    await sleep(50)
  }
  await goaway(c, CODE.ENHANCE_YOUR_CALM, 'headers_timeout')
}))

test('A message that comes byte by byte is DEADLINE_EXCEEDED; the connection lives on', () => held(async () => {
  const c = await connected()
  c.write(ASK)
  const slow = message(Buffer.alloc(200))
  const said = c.answer(1)
  for (let i = 0; i < 60; i++) {
    c.write(frame(T.DATA, 0, 1, slow.subarray(i, i + 1)))
    await sleep(30)
  }
  assert.match((await said)['grpc-message'], /took too long/)
  assert.equal(c.closed, false)
  c.close()
}))

test('A call whose first message does not come is DEADLINE_EXCEEDED', () => held(async () => {
  const c = await connected()
  c.write(ASK)
  const end = await c.answer(1)
  assert.deepEqual([end['grpc-status'], end['grpc-message']], ['4', 'the message took too long to arrive'])
  c.close()
}))

test('A connection without a stream is idle, and closed without blame', () => held(async () => {
  const c = await connected()
  await goaway(c, CODE.NO_ERROR, 'idle')
}))

test('A peer that answers no PING is gone', () => held(async () => {
  const before = await closes()
  const c = await connected()
  c.mute = true
  c.write(ASK)
  await c.ended()
  assert.equal(risen(await closes(), before, 'keepalive_timeout'), 1)
}))

// ---- frames that cost nothing to send (RFC 9113 §10.5) ----
const floods = [
  ['rapid reset', 'too_many_resets', (i) => [frame(T.HEADERS, F.END_HEADERS, odd(i), headers()), frame(T.RST_STREAM, 0, odd(i), u32(CODE.CANCEL))]],
  ['resets that the server is provoked into', 'too_many_resets', (i) => [frame(T.HEADERS, F.END_HEADERS, odd(i), literal(':method', 'POST'))], { pace: 3 }],
  ['SETTINGS', 'too_many_control_frames', () => [settings([4, 65535])]],
  ['PING', 'too_many_pings', () => [frame(T.PING, 0, 0, LONG)]],
  ['PRIORITY', 'too_many_control_frames', () => [frame(T.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 16]))]],
  ['empty DATA', 'too_many_control_frames', (i) => [...(i ? [] : [ASK]), frame(T.DATA, 0, 1)]],
  ['WINDOW_UPDATE that answers nothing', 'too_many_control_frames', () => [frame(T.WINDOW_UPDATE, 0, 0, u32(1))]],
  ['CONTINUATION', 'too_many_control_frames', (i) => [i ? frame(T.CONTINUATION, 0, 1, literal(`x${i}`, 'y')) : frame(T.HEADERS, 0, 1, headers())], { sooner: true }],
  ['PING answers that nobody asked for', 'too_many_control_frames', () => [frame(T.PING, F.ACK, 0, LONG)]]
]
for (const [name, why, make, { sooner, pace } = {}] of floods) {
  test(`RFC 9113 §10.5 Too many: ${name}`, () => held(async () => {
    const before = await closes()
    const c = await connected()
    for (let i = 0; i < 200 && !c.closed; i++) {
      c.write(...make(i))
      if (pace) await sleep(pace)
    }
    await c.ended()
    if (!sooner) assert.deepEqual(c.goaway, { code: CODE.ENHANCE_YOUR_CALM, debug: why })
    else assert.ok(c.goaway.code > 0, JSON.stringify(c.goaway))
    if (!sooner) assert.equal(risen(await closes(), before, why), 1)
  }))
}

test('RFC 9113 §10.5 A few of each are no abuse: the connection is served', () => held(async () => {
  const c = await connected()
  for (const [, , make, { sooner } = {}] of floods) if (!sooner) c.write(...make(0))
  await sleep(100)
  const other = await connected()
  other.write(frame(T.PING, 0, 0, LONG), settings([4, 65535]), frame(T.WINDOW_UPDATE, 0, 0, u32(1)), frame(T.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 16])))
  other.write(frame(T.HEADERS, F.END_HEADERS, 1, headers({ authorization: `Bearer ${auditor.token}` })), frame(T.DATA, F.END_STREAM, 1, message(Buffer.alloc(0))))
  const reply = await until('an answer', () => other.frames.find((f) => f.type === T.DATA))
  assert.ok(reply.body.toString('latin1').includes('auditor'))
  assert.equal(other.closed, false)
  c.close()
  other.close()
}))

// ---- what breaks the protocol ----
const broken = [
  ['a frame over 16 KiB', CODE.FRAME_SIZE_ERROR, () => [ASK, frame(T.DATA, 0, 1, Buffer.alloc(16385))]],
  ['a header block that HPACK cannot read', CODE.COMPRESSION_ERROR, () => [frame(T.HEADERS, F.END_HEADERS, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))]],
  ['DATA on stream 0', CODE.PROTOCOL_ERROR, () => [frame(T.DATA, 0, 0, LONG)]],
  ['an even stream', CODE.PROTOCOL_ERROR, () => [frame(T.HEADERS, F.END_HEADERS, 2, headers())]],
  ['PUSH_PROMISE', CODE.PROTOCOL_ERROR, () => [frame(5, F.END_HEADERS, 1, Buffer.concat([u32(2), headers()]))]]
]
for (const [name, code, make] of broken) {
  test(`RFC 9113 §5.4 ${name} ends the connection or its stream`, () => held(async () => {
    const c = await connected()
    c.write(...make())
    const said = await until('the verdict', () => c.goaway || c.frames.find((f) => f.type === T.RST_STREAM))
    assert.equal(said.code ?? said.body.readUInt32BE(0), code)
    c.close()
  }))
}

test('attack 27: Too many header fields, or too many bytes of them when decoded, reset their stream; one after the other they end the connection', () => held(async () => {
  const c = await connected()
  const many = Buffer.concat([headers(), ...Array.from({ length: 70 }, (_, i) => literal(`x-${i}`, 'y'))])
  c.write(frame(T.HEADERS, F.END_HEADERS, 1, many))
  assert.equal(await c.reset(1), CODE.ENHANCE_YOUR_CALM)
  // 4,000 bytes go into HPACK's table once, and are named by one byte each then
  const bomb = Buffer.concat([headers(), literal('x-bomb', 'b'.repeat(3900), 0x40), ...Array.from({ length: 40 }, () => indexed(62))])
  c.write(frame(T.HEADERS, F.END_HEADERS, 3, bomb))
  assert.equal(await c.reset(3), CODE.ENHANCE_YOUR_CALM)
  for (let i = 2; i < 120 && !c.closed; i++) {
    c.write(frame(T.HEADERS, F.END_HEADERS, odd(i), many))
    await until('a verdict', () => c.closed || c.frames.some((f) => f.type === T.RST_STREAM && f.stream === odd(i)))
  }
  await goaway(c, CODE.ENHANCE_YOUR_CALM, 'too_many_resets')
}))

test('Streams above the cap are refused, safe to try again', () => held(async () => {
  const c = as('auditor')
  await c.open
  c.write(PREFACE, settings())
  for (let i = 0; i < 21; i++) c.write(frame(T.HEADERS, F.END_HEADERS, odd(i), headers()))
  assert.equal(await c.reset(odd(20)), CODE.REFUSED_STREAM)
  assert.equal(c.closed, false)
  const knows = await connected() // it has said that it knows the cap
  for (let i = 0; i < 21; i++) knows.write(frame(T.HEADERS, F.END_HEADERS, odd(i), headers()))
  await knows.ended()
  assert.equal(knows.goaway.code, CODE.PROTOCOL_ERROR)
  c.close()
}))

// ---- what the peer does not take ----
const LIST = '/baton.v1.HandoffService/List'
const list = (stream, path = LIST) => Buffer.concat([
  frame(T.HEADERS, F.END_HEADERS, stream, headers({ authorization: `Bearer ${planner.token}` }, path)), frame(T.DATA, F.END_STREAM, stream, message(Buffer.alloc(0)))])

test('A window that stays shut: the stream is reset, the connection lives on', () => held(async () => {
  const c = as('planner')
  await c.greet([4, 0])
  c.write(list(1))
  assert.equal(await c.reset(1), CODE.CANCEL)
  assert.equal(c.closed, false)
  c.close()
}))

test('A window that opens a byte at a time is a stall too', () => held(async () => {
  const c = as('planner')
  await c.greet([4, 0])
  c.write(list(1))
  let found
  for (let i = 0; i < 200 && !found; i++) {
    if (i % 4 === 0) c.write(frame(T.WINDOW_UPDATE, 0, 1, u32(1)))
    found = c.frames.find((f) => f.type === T.RST_STREAM && f.stream === 1)
    await sleep(100)
  }
  assert.equal(found.body.readUInt32BE(0), CODE.CANCEL)
  c.close()
}))

test('Answers that nobody reads: what waits has a cap, and the connection ends', () => held(async () => {
  const before = await closes()
  const { handoff_id } = await planner.submit({ payload: Buffer.alloc(1 << 20, 'x') })
  const get = message(encode('baton.v1.GetRequest', { handoff_id, with_envelope: true }))
  const c = as('planner')
  await c.greet([4, 0x7fffffff])
  c.write(frame(T.WINDOW_UPDATE, 0, 0, u32(0x7fff0000)))
  c.socket.pause()
  for (let i = 0; i < 20; i++) c.write(frame(T.HEADERS, F.END_HEADERS, odd(i), headers({ authorization: `Bearer ${planner.token}` }, '/baton.v1.HandoffService/Get')), frame(T.DATA, F.END_STREAM, odd(i), get))
  await until('the connection to be given up', async () => { const now = await closes(); return risen(now, before, 'stalled') + risen(now, before, 'keepalive_timeout') })
  c.close()
  await planner.cancel(handoff_id)
}))

// ---- messages ----
test('attack 25: A length of 4 GiB, and a compressed message, are refused before a byte of them is kept', () => held(async () => {
  const c = await connected()
  c.write(ASK, frame(T.DATA, 0, 1, Buffer.from([0, 255, 255, 255, 255, 1])))
  assert.equal((await c.answer(1))['grpc-status'], '8')
  c.write(frame(T.HEADERS, F.END_HEADERS, 3, headers()), frame(T.DATA, 0, 3, Buffer.from([1, 0, 0, 0, 1, 1])))
  assert.equal((await c.answer(3))['grpc-status'], '12')
  c.close()
}))

test('attack 20: a header that decides comes once: te, content-type, grpc-timeout, authorization, twice, are refused', () => held(async () => {
  const tlsTo = (port) => identity(b, b.leaves.auditor, undefined, port), routes = '/baton.v1.OperateService/ListRoutes'
  for (const [where, method] of [[tlsTo(b.port), LIST], [tlsTo(b.adminPort), routes], [{ path: b.adminSocket }, routes]]) {
    const c = new Raw(where)
    await c.greet()
    const token = { authorization: `Bearer ${auditor.token}` }
    const twice = [['te', 'trailers'], ['content-type', 'application/grpc'], ['grpc-timeout', '1S'], ...(where.path ? [] : Object.entries(token))] // on the socket no token is looked at
    for (const [i, [name, value]] of twice.entries()) {
      const more = { ...token, ...(name === 'grpc-timeout' && { [name]: value }) }
      const end = (stream, block) => {
        c.write(frame(T.HEADERS, F.END_HEADERS, stream, block), frame(T.DATA, F.END_STREAM, stream, message(Buffer.alloc(0))))
        return until('an answer', () => c.frames.find((f) => f.stream === stream && (f.type === T.RST_STREAM || (f.type === T.HEADERS && f.flags & F.END_STREAM))))
      }
      const bad = await end(odd(2 * i), Buffer.concat([headers(more, method), literal(name, value)]))
      const answers = (f) => c.frames.some((g) => g.stream === f.stream && g.type === T.DATA)
      assert.equal(answers(bad), false, `${name} twice was answered`)
      const good = await end(odd(2 * i + 1), headers({ ...token, ...more }, method))
      assert.equal(answers(good), true, `${name} once was not answered`)
    }
    c.close()
  }
}))

test('A request to the metrics port that does not end is closed with its time', async () => {
  await unending.ended(20000)
  assert.equal((await b.http('/metrics')).status, 200)
})
