// What if descriptors or the audit's disk run out? Who is there is served, nobody else gets in, what was decided stands, nothing is acknowledged
// that is not written down, and when there is room again all goes on.
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { test, assert, sleep, until } from './lib/suite.js'
import { Broker, profile, ROUTE } from './lib/broker.js'
import { denied, refusalOf } from './lib/agent.js'

function prlimit (pid, what) {
  const r = spawnSync('prlimit', ['--pid', String(pid), what], { encoding: 'utf8' })
  assert.equal(r.status, 0, r.stderr)
}
const cpuTicks = (pid) => { const f = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' '); return Number(f[11]) + Number(f[12]) }

// ---- descriptors ----

// No number below the limit is free from now on, whatever is closed above it.
function takeDescriptors (b) {
  const open = new Set(fs.readdirSync(`/proc/${b.process.pid}/fd`).map(Number))
  let n = 0
  while (open.has(n)) n++
  prlimit(b.process.pid, `--nofile=${n}:`)
  return () => prlimit(b.process.pid, '--nofile=1024:')
}

test('attack 17: no descriptors are left: nobody new gets in, who is in is served, a reload keeps the old policy, Redis and the audit come back', async () => {
  const b = new Broker()
  try {
    const [planner, worker, auditor] = await b.startWith('planner', 'worker', 'auditor')
    const s = await worker.subscribe()
    await auditor.whoami()
    const cycle = async () => {
      const { handoff_id } = await planner.submit()
      for (let d; d?.lease.handoff_id !== handoff_id;) { // what was refused for want of an audit may have been stored
        d = await s.delivery()
        assert.equal((await s.complete(d)).ok, true)
      }
      assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
    }
    await cycle()
    await sleep(2000) // what was accepted is written to state_dir within a second: no file of that is open when the numbers are counted
    const giveBack = takeDescriptors(b)
    const late = await b.agent('bystander')
    const refused = () => late.whoami({ timeout: 20000 }).then(() => assert.fail('got in'), (e) => assert.equal(refusalOf(e).code, 'UNAVAILABLE', e.message))
    await refused()
    await cycle()

    // Reload: what cannot be read whole is not taken.
    b.profiles[ROUTE] = profile(ROUTE, { tools: { allowed: ['orders.close'] } })
    b.writeProfiles()
    b.writeConfig((t) => t.replace(/ {2}- \{name: auditor, .*\n/, ''))
    b.signal('SIGHUP')
    await b.audited({ event: 'config.reloaded', outcome: 'deny' })
    await cycle()
    await auditor.whoami()

    // Its audit goes on in the file that is open; the connections that wait cost no time.
    const ticks = cpuTicks(b.process.pid)
    for (let i = 0; i < 4; i++) await refused()
    await sleep(1500)
    assert.ok(cpuTicks(b.process.pid) - ticks < 120, 'it waits, and does not spin') // of more than 150 a core and second
    assert.ok(!/audit\.unwritable/.test(b.log()))

    // Rotated away, it would be lost with its file: then nothing is acknowledged. Not even a number that somebody gives up may be had.
    prlimit(b.process.pid, '--nofile=3:')
    fs.renameSync(b.path('audit.jsonl'), b.path('audit.1'))
    await until('a refusal', async () => (await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')).reason)
    const redis = Number(/process_id:(\d+)/.exec(spawnSync('redis-cli', ['-s', b.socket(), 'info', 'server'], { encoding: 'utf8' }).stdout)[1])
    process.kill(redis, 'SIGKILL')
    await until('Redis to be missed', () => /"event":"store.unavailable"/.test(b.log()))
    await denied(planner.submit(), 'store_unavailable', 'UNAVAILABLE')

    giveBack()
    await b.ready()
    await until('a cycle', async () => { await cycle(); return true }, 20000)
    await auditor.whoami()
    await until('the late one to get in', () => late.whoami())
    const closed = /baton_connections_closed_total\{[^}]*why="no_descriptors"\} (\d+)/.exec((await b.http('/metrics')).body)
    assert.ok(Number(closed?.[1]) > 0)
    assert.ok(b.audit().some((r) => r.event === 'audit.recovered'))
    b.signal('SIGHUP')
    await until('the new policy', () => planner.submit().then(() => false, (e) => refusalOf(e).reason === 'tool_denied'))
    await until('the agent to be gone', () => auditor.whoami().then(() => false, (e) => refusalOf(e).reason === 'unknown_peer'))
    s.cut()
  } finally {
    await b.remove()
  }
}, 120000)

test('Descriptors: a flood of connections leaves enough for a reload, Redis and the audit', async () => {
  const b = new Broker({ wrap: ['prlimit', '--nofile=200:200'], config: (t) => `${t}limits: {handshake_timeout: 1m}\n` })
  const flood = []
  try {
    const [planner] = await b.startWith('planner')
    await planner.whoami()
    for (let i = 0; i < 250; i++) {
      const s = net.connect(b.port, '127.0.0.1')
      s.on('error', () => {}).on('close', () => { s.over = true })
      flood.push(s)
    }
    const left = () => flood.filter((s) => !s.over).length
    await until('the flood to be cut', async () => { const n = left(); await sleep(500); await planner.whoami(); await sleep(100); return n < 150 && n === left() })
    const rest = left()
    assert.ok(rest > 50, `${rest} are still in`)
    await planner.submit()
    b.profiles[ROUTE] = profile(ROUTE, { tools: { allowed: ['orders.close'] } })
    b.writeProfiles()
    fs.renameSync(b.path('audit.jsonl'), b.path('audit.1'))
    b.signal('SIGHUP')
    await b.audited({ event: 'config.reloaded', outcome: 'allow' })
    await denied(planner.submit(), 'tool_denied')
    process.kill(await b.redisPid(), 'SIGKILL')
    await until('Redis again', () => planner.submit({ tool: 'orders.close', side_effect: 'SIDE_EFFECT_WRITE' }), 20000)
    assert.match((await b.http('/metrics')).body, /baton_connections_closed_total\{[^}]*why="connection_limit"\} [1-9]/)
    assert.equal(left(), rest)
  } finally {
    flood.forEach((s) => s.destroy())
    await b.remove()
  }
}, 60000)

// ---- the audit's disk ----

// A disk of its own for the audit, if we may mount one.
function disk (b) {
  const dir = b.path('disk')
  fs.mkdirSync(dir)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', dir]).status !== 0) return null
  const filler = path.join(dir, 'filler')
  return {
    file: path.join(dir, 'audit.jsonl'),
    fill: () => { try { fs.writeFileSync(filler, Buffer.alloc(600000)) } catch (e) { assert.equal(e.code, 'ENOSPC') } },
    empty: () => fs.rmSync(filler),
    remove: () => spawnSync('umount', [dir])
  }
}

// A file that may not become longer. setrlimit(2): write() fails with EFBIG, and sends a signal that ends who did not expect it.
function sizeLimit (b) {
  return {
    file: b.path('audit.jsonl'),
    fill: () => prlimit(b.process.pid, `--fsize=${fs.statSync(b.path('audit.jsonl')).size + 1000}:`),
    empty: () => prlimit(b.process.pid, '--fsize=unlimited:'),
    remove: () => {}
  }
}

const linesOf = (file) => fs.readFileSync(file, 'utf8').split('\n').slice(0, -1)
const parsed = (l) => { try { return JSON.parse(l) } catch { return null } }

for (const [name, make] of [['A disk that is full', disk], ['A file size limit', sizeLimit]]) {
  test(`${name} for the audit: nothing is acknowledged that is not in it, all is refused, then it goes on and says what is missing`, async () => {
    const b = new Broker()
    let room
    try {
      await b.prepare()
      room = make(b) || sizeLimit(b)
      b.writeConfig((t) => t.replace(b.path('audit.jsonl'), room.file))
      const [planner, worker] = await b.startWith('planner', 'worker')
      const s = await worker.subscribe()
      const before = await planner.submit()
      const held = await s.delivery()
      const acknowledged = [before]
      const envelopes = []
      room.fill()
      for (let n = 0, no = 0; no < 5; n++) {
        assert.ok(n < 400, 'the disk is full')
        const envelope = planner.envelope()
        try {
          acknowledged.push(await planner.unary('Submit', { envelope }))
        } catch (e) {
          const r = refusalOf(e)
          assert.deepEqual([r.reason, r.code], ['store_unavailable', 'UNAVAILABLE'])
          assert.match(r.message, /audit file cannot be written/)
          envelopes.push(envelope)
          no++
        }
      }
      for (const call of [() => planner.get(before.handoff_id), () => planner.list(), () => planner.cancel(before.handoff_id), () => planner.whoami(),
        () => planner.submit({ tool: 'nobody.knows' }), () => planner.watch(before.handoff_id).end().then((e) => { throw e.error })]) {
        const r = await call().then((a) => assert.fail(`was answered: ${JSON.stringify(a)}`), refusalOf)
        assert.deepEqual([r.code, r.reason], ['UNAVAILABLE', 'store_unavailable'], String(call))
      }
      const settled = await s.complete(held)
      assert.deepEqual([settled.ok, settled.reason], [false, 'REASON_STORE_UNAVAILABLE'])
      await until('not ready', async () => JSON.parse((await b.http('/readyz')).body).checks.find((c) => c.check === 'audit').ok === false)
      assert.equal((await b.http('/readyz')).status, 503)

      room.empty()
      await b.ready()
      const later = await until('it to go on', () => planner.submit())
      acknowledged.push(later)
      for (const envelope of envelopes) { // what was refused was not accepted, or is found again by its own bytes
        const r = await planner.unary('Submit', { envelope }).then((a) => a, refusalOf)
        assert.ok(r.handoff_id && (!r.reason || r.reason === 'replayed_nonce'), JSON.stringify(r))
      }
      s.cut()
      const lines = linesOf(room.file)
      const records = lines.map(parsed)
      for (const { handoff_id } of acknowledged) assert.ok(records.some((r) => r?.event === 'decision' && r.handoff_id === handoff_id && r.outcome === 'allow'), handoff_id)
      records.forEach((r, i) => { if (!r) assert.equal(records[i + 1]?.event, 'audit.recovered', `line ${i} is torn: ${lines[i]}`) })
      const [gap] = records.filter((r) => r?.event === 'audit.recovered')
      assert.ok(Number(/^(\d+) lines/.exec(gap.message)?.[1]) >= 5, gap.message)
    } finally {
      await b.stop().finally(() => room?.remove()).finally(() => b.remove())
    }
  }, 60000)
}
