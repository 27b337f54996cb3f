// What may a client cost that does not read, does not send, or goes on when it has been told no? One broker and one worker thread a test.
import fs from 'node:fs'
import http2 from 'node:http2'
import { test, assert, sleep, until } from './lib/suite.js'
import { Broker } from './lib/broker.js'
import { encode } from './lib/wire.js'

const frame = (m) => { const h = Buffer.alloc(5); h.writeUInt32BE(m.length, 1); return Buffer.concat([h, m]) }
async function withBroker (fn, options = {}) {
  const b = new Broker({ workers: 1, ...options })
  try {
    await b.start()
    await fn(b)
  } finally {
    await b.remove()
  }
}
// An HTTP/2 session by hand, with a window of so many bytes for what the broker sends.
async function session (b, agent, initialWindowSize) {
  const s = http2.connect(`https://${b.addr}`, { ca: fs.readFileSync(agent.trust), key: fs.readFileSync(agent.key), cert: fs.readFileSync(agent.cert), settings: { initialWindowSize } })
  s.on('error', () => {})
  await new Promise((resolve) => s.once('remoteSettings', resolve))
  s.call = (method) => {
    const st = s.request({ ':method': 'POST', ':path': `/baton.v1.HandoffService/${method}`, 'content-type': 'application/grpc', te: 'trailers', authorization: `Bearer ${agent.token}` })
    st.on('error', () => {})
    st.on('response', () => { st.answered = true })
    st.on('trailers', (t) => { st.status = t['grpc-status'] })
    st.bytes = 0
    st.on('data', (d) => { st.bytes += d.length })
    return st
  }
  return s
}
const rss = (b) => Number(fs.readFileSync(`/proc/${b.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) >> 10

test('Messages behind the one that ended their call are not kept, though its answer cannot leave', () => withBroker(async (b) => {
  const planner = await b.agent('planner')
  const s = await session(b, planner, 0)
  const streams = []
  for (let i = 0; i < 60; i++) {
    const st = s.call('Run')
    st.write(frame(encode('baton.v1.SubmitRequest', { envelope: planner.envelope() })))
    streams.push(st)
  }
  await until('all to be answered', () => streams.every((st) => st.answered))
  const before = rss(b)
  for (const st of streams) { st.write(frame(Buffer.alloc(2000000))); await sleep(10) }
  await sleep(1500)
  assert.ok(rss(b) - before < 70, `${before} MiB before, ${rss(b)} after 120 MB that nobody wants`)
  s.destroy()
  await planner.submit()
}, { asan: 'quarantine_size_mb=1' }))

test('A stream of another tenant is not ended because somebody lets his answers wait', () => withBroker(async (b) => {
  const bad = await b.agent('bystander')
  const good = await b.agent('gplanner')
  const many = (n) => Buffer.concat(Array(n).fill(Buffer.from([0, 0, 0, 0, 4, 0x0a, 2, 0x18, 1]))) // submits without an envelope
  const s = await session(b, bad, 0)
  for (let i = 0; i < 6; i++) { s.call('Pipe').write(many(6500)); await sleep(500) }
  const victim = await session(b, good, 1)
  const st = victim.call('Pipe')
  st.write(many(4000))
  await sleep(2000)
  victim.settings({ initialWindowSize: 1 << 20 })
  await until('all its receipts', () => st.bytes >= 4000 * 20 && st.bytes === (st.was ?? 0) ? true : (st.was = st.bytes, false))
  assert.equal(st.status, undefined)
  victim.destroy()
  s.destroy()
}))

test('T5 what waits to be sent is judged again when its sender lost its right meanwhile', () => withBroker(async (b) => {
  const [planner, worker] = [await b.agent('planner'), await b.agent('worker')]
  const ids = []
  for (let i = 0; i < 20; i++) ids.push((await planner.submit({ payload: Buffer.from(JSON.stringify('x'.repeat(900000))) })).handoff_id)
  const s = await worker.subscribe({ max_in_flight: 20 }, { wait: false })
  s.call.pause()
  await until('leases', () => b.audit().filter((r) => r.event === 'handoff.leased').length >= 15)
  b.agentRows = b.agentRows.filter((a) => a.name !== 'planner')
  b.writeConfig()
  await b.reloaded()
  s.call.resume()
  await until('the end of each', () => new Set(b.audit().filter((r) => r.event === 'handoff.quarantined').map((r) => r.handoff_id)).size + s.deliveries().length >= ids.length)
  assert.ok(b.audit().some((r) => r.event === 'handoff.quarantined'), 'all of it was sent')
  s.cut()
}))

test('T5 a Run that is stored after its sender lost the route tells nothing of it / before, it does', () => withBroker(async (b) => {
  const planner = await b.agent('planner')
  const early = planner.run()
  await early.take('the receipt')
  const redis = await b.redisPid()
  process.kill(redis, 'SIGSTOP')
  const late = planner.run()
  await planner.whoami() // behind it on the same connection: it was judged
  b.agentRows = b.agentRows.map((a) => (a.name === 'planner' ? { ...a, call: false } : a))
  b.writeConfig()
  await b.reloaded()
  process.kill(redis, 'SIGCONT')
  const end = await late.end()
  assert.equal(end.reason, 'not_found', JSON.stringify(end))
}, { config: (t) => t.replace('timeout: 2s', 'timeout: 9s') }))

test('Calls that never said anything do not hold up a stop', () => withBroker(async (b) => {
  const planner = await b.agent('planner')
  await planner.whoami()
  const s = await session(b, planner, 65535)
  for (const method of ['Pipe', 'Subscribe', 'Submit']) s.call(method)
  await sleep(300)
  const from = Date.now()
  b.signal('SIGTERM')
  await b.exited
  assert.ok(Date.now() - from < 9500, `${Date.now() - from} ms`)
}))
