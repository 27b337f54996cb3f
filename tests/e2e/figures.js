// What does Baton cost on this machine? Processor time per token (P3), memory per idle peer (P4), processor time per handshake beside nginx's
// (P5; also with a revocation list of 10,000), per durable cycle (P1, P2), per cycle with more peers, routes and waiting work around it (P7), and for registered agents
// on three nodes: their memory, and how long until a change is true on all, all in one run. Machines differ and are shared: read ratios. Run by tests/figures; nothing is asserted.
import fs from 'node:fs'
import path from 'node:path'
import { spawn, spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { Broker, BUILD, ROUTE, profile } from './lib/broker.js'
import { read } from './lib/agent.js'
import { Cluster } from './lib/cluster.js'
import { Operator } from './lib/operator.js'
import { freePort } from './lib/ports.js'

process.noDeprecation = true
const { values: asked } = parseArgs({ options: { peers: { type: 'string', multiple: true }, waiting: { type: 'string', multiple: true }, agents: { type: 'string', default: '10000' }, only: { type: 'string', default: '' }, cycles: { type: 'string', default: '30000' }, json: { type: 'boolean' } } })
const PEERS = (asked.peers || ['1000', '10000']).map(Number)
const WAITING = (asked.waiting || ['100000', '1000000']).map(Number)
const SHAKES = 400
const ROUNDS = 5
const REVOKED = 10000
const say = (text) => asked.json || console.log(text)
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const median = (all) => [...all].sort((a, b) => a - b)[all.length >> 1]

// Processor time of all threads; finer than the ticks of /proc/PID/stat.
const cpuUs = (pid) => fs.readdirSync(`/proc/${pid}/task`).reduce((sum, t) => sum + Number(fs.readFileSync(`/proc/${pid}/task/${t}/schedstat`, 'utf8').split(' ')[0]) / 1e3, 0)
const rssKib = (pid) => Number(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').match(/^Pss:\s+(\d+)/m)[1])
const children = (pid) => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)

// ---- P3: a token's first verification, beside openssl's bare one ----
function tokens () {
  const rows = spawnSync(path.join(BUILD, 'bench_identity'), [], { encoding: 'utf8' }).stdout.trim().split('\n').slice(1).map((l) => l.split(/\s+/))
  const speed = spawnSync('openssl', ['speed', '-seconds', '2', 'ecdsap256', 'rsa2048'], { encoding: 'utf8' }).stdout
  const openssl = { ES256: 1e6 / Number(speed.match(/ecdsa \(nistp256\).* ([\d.]+)$/m)?.[1]), RS256: 1e6 / Number(speed.match(/^rsa 2048 bits.* ([\d.]+)$/m)?.[1]) }
  return rows.map(([alg, first, bare, ratio, cached]) => ({ alg, first_us: +first, bare_us: +bare, ratio: +ratio, cached_us: +cached, ...(openssl[alg] && { openssl_speed_us: +openssl[alg].toFixed(1) }) }))
}

// ---- P5: a full mutual handshake, Baton and nginx in turn ----
async function nginx (b, name = 'nginx', crl = '') {
  const port = await freePort()
  const dir = b.path(name)
  fs.mkdirSync(dir)
  fs.writeFileSync(path.join(dir, 'nginx.conf'), `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process on; worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log;
events { worker_connections 1024; }
stream { server { listen 127.0.0.1:${port} ssl; ssl_certificate ${b.server.cert}; ssl_certificate_key ${b.server.key}; ssl_protocols TLSv1.3;
  ssl_client_certificate ${b.acme.cert}; ssl_verify_client on; ${crl && `ssl_crl ${crl};`} ssl_session_tickets off; ssl_session_cache off; return "x"; } }
`)
  const p = spawn('nginx', ['-c', path.join(dir, 'nginx.conf'), '-p', dir], { stdio: 'ignore' })
  while (!children(p.pid).length) await sleep(50)
  await sleep(200)
  return { name, addr: `127.0.0.1:${port}`, pid: children(p.pid)[0], stop: () => p.kill('SIGQUIT') }
}

const client = (b, leaf, mode, addr, ...more) => [mode, addr, b.serverCa.cert, leaf.cert, leaf.key, ...more.map(String)]
function shake (b, server) {
  const before = cpuUs(server.pid)
  const r = spawnSync(path.join(BUILD, 'bench_peers'), client(b, b.leaves.worker, 'shake', server.addr, SHAKES), { encoding: 'utf8' })
  if (r.status !== 0) throw new Error(r.stderr)
  return (cpuUs(server.pid) - before) / SHAKES
}

// As many certificates that were revoked, none of them anybody's here.
function longList (b) {
  const at = (name) => path.join(b.acme.dir, `${b.acme.name}-${name}`)
  const serials = Array.from({ length: REVOKED }, (_, i) => `7${String(i).padStart(31, '0')}`)
  fs.writeFileSync(at('index'), serials.map((s) => `R\t300101000000Z\t260101000000Z\t${s}\tunknown\t/CN=gone\n`).join(''))
  b.acme.ca('-gencrl', '-out', b.path('long.crl'), '-crldays', '2')
  return b.path('long.crl')
}

// Each server in turn, there and back.
async function handshakes (b) {
  const crl = longList(b)
  const listed = await b.twin('listed', { workers: 1, config: (t) => t.replace(`bundle: ${JSON.stringify(b.acme.cert)}`, `bundle: ${JSON.stringify(b.acme.cert)}, crl: ${JSON.stringify(crl)}`) + LIMITS })
  await listed.start()
  const servers = [{ name: 'baton', addr: b.addr, pid: b.process.pid }, await nginx(b), { name: 'baton_crl', addr: listed.addr, pid: listed.process.pid }, await nginx(b, 'nginx_crl', crl)]
  const us = Object.fromEntries(servers.map((s) => [s.name, []]))
  try {
    for (const s of servers) shake(b, s)
    for (let i = 0; i < ROUNDS; i++) for (const s of i % 2 ? [...servers].reverse() : servers) us[s.name].push(shake(b, s))
  } finally {
    for (const s of servers) s.stop?.()
    await listed.remove()
  }
  const m = Object.fromEntries(Object.entries(us).map(([k, v]) => [`${k}_us`, Math.round(median(v))]))
  return { ...m, ratio: +(m.baton_us / m.nginx_us).toFixed(2), ratio_crl: +(m.baton_crl_us / m.nginx_crl_us).toFixed(2) }
}

// ---- P4: memory of an idle peer with an open subscription ----
async function withPeers (b, n, fn) {
  const p = spawn(path.join(BUILD, 'bench_peers'), client(b, b.leaves.worker, 'hold', b.addr, n, ROUTE), { stdio: ['pipe', 'pipe', 'inherit'] })
  await new Promise((yes, no) => { p.stdout.once('data', yes); p.once('exit', () => no(new Error('bench_peers ended'))) })
  await sleep(2000)
  const got = await fn()
  p.stdin.end()
  await new Promise((done) => p.once('exit', done))
  return got
}

async function peers (b, n) {
  const before = rssKib(b.process.pid)
  return withPeers(b, n, () => ({ peers: n, kib_per_peer: +((rssKib(b.process.pid) - before) / n).toFixed(1) }))
}

// ---- P7: a durable cycle, on its own route, with more of everything around it ----
const BENCH = 'bench'
const quick = { ...profile(BENCH).delivery, lease_ms: 30000, assertion: 'none' }
async function cycle (b) {
  const leaf = b.leaves.planner
  fs.writeFileSync(b.path('token'), await b.issuer.mint(leaf), { mode: 0o600 })
  const args = ['bench', '--addr', b.addr, '--ca', b.serverCa.cert, '--cert', leaf.cert, '--key', leaf.key, '--token-file', b.path('token'), '--route', BENCH, '--cycles', asked.cycles, '--warmup', '0', '-o', 'json']
  const redis = await b.redisPid()
  const before = [cpuUs(b.process.pid), cpuUs(redis)]
  const r = spawnSync(path.join(BUILD, 'baton'), args, { encoding: 'utf8', env: { PATH: process.env.PATH } })
  if (r.status !== 0) throw new Error(r.stderr)
  return [cpuUs(b.process.pid) - before[0], cpuUs(redis) - before[1]].map((t) => t / asked.cycles)
}

// The one with more, and a bare one, in turn: what else the machine does meets both.
async function beside (bare, full) {
  const us = { bare: [], full: [] }
  for (let i = 0; i < ROUNDS; i++) for (const [k, b] of i % 2 ? [['full', full], ['bare', bare]] : [['bare', bare], ['full', full]]) us[k].push(await cycle(b))
  const [mine, other] = ['full', 'bare'].map((k) => [0, 1].map((j) => median(us[k].map((u) => u[j]))))
  const sum = ([x, y]) => x + y
  return { batond_us: +mine[0].toFixed(1), redis_us: +mine[1].toFixed(1), together_us: +sum(mine).toFixed(1), bare_us: +sum(other).toFixed(1), ratio: +(sum(mine) / sum(other)).toFixed(2) }
}

async function fill (b, n) { // scheduled for later, on the same route: it waits, and is in nobody's way
  const pipe = (await b.agent('planner')).pipe()
  const a = await b.agent('planner')
  let receipts = 0
  pipe.each((m) => { receipts++; if (m.receipt?.decision?.reason !== 'REASON_ALLOWED') throw new Error(JSON.stringify(m)) })
  for (let i = 0; i < n; i++) {
    pipe.write({ submit: { envelope: a.envelope(read(BENCH, { payload: Buffer.from('{}'), start_at_ms: Date.now() + 3000000 })) } })
    if (i - receipts > 2000) do { await sleep(1) } while (i - receipts > 1000)
  }
  while (receipts < n) await sleep(10)
}

async function growth (routes, fn) {
  const names = [BENCH, ROUTE, ...Array.from({ length: routes - 1 }, (_, i) => `r${i}`)]
  const tools = { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } }
  const g = new Broker({
    workers: 1, fsync: 'everysec', agents: [{ name: 'planner', tenant: 'acme', call: true }, { name: 'worker', tenant: 'acme', serve: true }],
    profiles: Object.fromEntries(names.map((n) => [n, profile(n, { delivery: quick, tools })])),
    config: (t) => t.replace(/(name: planner,.*)call: .*/, `$1call: [${BENCH}], serve: [${BENCH}], max_in_flight: 1000}`).replace(/(name: worker,.*)serve: .*/, `$1serve: [${ROUTE}]}`)
      .replace('fsync: everysec', 'fsync: everysec\n  max_memory: 12GiB') + LIMITS.replace('{', '{waiting_per_route: 2000000, waiting_per_sender: 2000000, waiting_bytes: 64GiB, waiting_bytes_per_sender: 64GiB, ')
  })
  try {
    await g.start()
    spawnSync('prlimit', ['--pid', String(g.process.pid), `--nofile=${2 * Math.max(...PEERS) + 1000}`])
    return await fn(g)
  } finally { await g.remove() }
}

async function grows () {
  const rows = []
  const add = (what, n, us) => { rows.push({ what, n, ...us }); say(`P7  with ${n} ${what}: ${us.together_us} us a cycle (batond ${us.batond_us}, redis ${us.redis_us}), beside ${us.bare_us} us: ${us.ratio} x`) }
  await growth(1, async (bare) => {
    await growth(1, async (g) => {
      for (const n of PEERS) add('peers', n, await withPeers(g, n, () => beside(bare, g)))
    })
    await growth(1000, async (g) => add('routes', 1000, await beside(bare, g)))
    await growth(1, async (g) => {
      let have = 0
      for (const n of WAITING) { await fill(g, n - have); have = n; add('handoffs waiting', n, await beside(bare, g)) }
    })
  })
  return rows
}

// ---- registered agents on three nodes, and changes of them ----
const CHANGES = 1000 // a minute
async function registry () {
  const n = Number(asked.agents), name = (i) => `agent-${i}`
  const spec = (i, more) => ({ tenant: 'acme', name: name(i), spiffe_id: `spiffe://acme.example/${name(i)}`, owner: 'team-figures', may_call: [ROUTE], ...more })
  const c = await new Cluster(3, { config: (_, t) => `${t}limits: {agents_per_tenant: 0}\n` }).start()
  const op = new Operator(c.nodes[0].adminSocket)
  const apply = (resources) => op.call('Apply', { resources, reason: 'a figure' }, { timeout: 60000 })
  try {
    await sleep(2000)
    const before = c.nodes.map((b) => rssKib(b.process.pid))
    for (let i = 0; i < n; i += 32) await apply(Array.from({ length: Math.min(32, n - i) }, (_, j) => ({ agent: spec(i + j) })))
    await sleep(2000)
    const kib = c.nodes.map((b, i) => (rssKib(b.process.pid) - before[i]) / n)
    const cpu = () => c.nodes.reduce((sum, b) => sum + cpuUs(b.process.pid), 0)
    const [us, all, begun] = [cpu(), [], Date.now()]
    await Promise.all(Array.from({ length: CHANGES }, async (_, i) => {
      await sleep(i * 60000 / CHANGES)
      const at = Date.now()
      const r = await apply([{ version: String(1 + Math.floor(i / n)), agent: spec(i % n, { rate_per_s: 1 + i }) }])
      if (r.nodes.length < 3 || r.nodes.some((x) => !x.confirmed)) throw new Error(JSON.stringify(r))
      all.push(Date.now() - at)
    }))
    all.sort((a, b) => a - b)
    return { agents: n, kib_per_agent: +median(kib).toFixed(2), changes_a_minute: Math.round(CHANGES * 60000 / (Date.now() - begun)), live_ms_p50: median(all), live_ms_p99: all[Math.floor(all.length * 0.99)],
      node_ms_per_change: +((cpu() - us) / CHANGES / 3 / 1000).toFixed(1) }
  } finally {
    op.close()
    await c.remove()
  }
}

function cycles (assertion) {
  const r = spawnSync(path.join(BUILD, 'baton'), ['bench', '-o', 'json', '--fsync', 'everysec', '--assertion', assertion, '--workers', '1', '--cycles', asked.cycles], { encoding: 'utf8', env: { PATH: process.env.PATH } })
  if (r.status !== 0) throw new Error(r.stderr)
  const o = JSON.parse(r.stdout)
  return { assertion, batond_us: o.batond_us_per_cycle, redis_us: o.redis_us_per_cycle, together_us: +(o.batond_us_per_cycle + o.redis_us_per_cycle).toFixed(1), lost: o.lost, duplicated: o.duplicated }
}

const LIMITS = 'limits: {connections: 100000, connections_per_agent: 100000, connections_per_source: 100000, connections_per_source_per_s: 100000, handshakes_per_s: 100000, idle_timeout: 1h}\n'
const all = {}
const wants = (what) => !asked.only || asked.only === what
if (wants('P5')) await costs()
if (wants('P7')) all.P7 = await grows()
if (wants('registry')) {
  const r = all.registry = await registry()
  say(`    ${r.agents} registered agents on three nodes: ${r.kib_per_agent} KiB each; ${r.changes_a_minute} changes a minute: true on all nodes after ${r.live_ms_p50} ms, p99 ${r.live_ms_p99} ms, ${r.node_ms_per_change} ms of a node's processor each`)
}
if (asked.json) console.log(JSON.stringify(all))

async function costs () {
  const b = new Broker({ config: (t) => t + LIMITS, workers: 1 })
  try {
    await b.start()
    spawnSync('prlimit', ['--pid', String(b.process.pid), `--nofile=${2 * Math.max(...PEERS) + 1000}`])
    all.P5 = await handshakes(b)
    say(`P5  a full mutual handshake: baton ${all.P5.baton_us} us, nginx ${all.P5.nginx_us} us, ratio ${all.P5.ratio}; with ${REVOKED} revoked: ${all.P5.baton_crl_us} us, ${all.P5.nginx_crl_us} us, ${all.P5.ratio_crl}`)
    if (asked.only === 'P5') return await b.stop()
    all.P4 = []
    for (const n of PEERS) {
      all.P4.push(await peers(b, n))
      say(`P4  ${n} idle peers with an open subscription: ${all.P4.at(-1).kib_per_peer} KiB each`)
    }
    await b.stop()
    all.P3 = tokens()
    for (const t of all.P3) say(`P3  ${t.alg}: first ${t.first_us} us, bare signature ${t.bare_us} us (${t.ratio} x)${t.openssl_speed_us ? `, openssl speed ${t.openssl_speed_us} us` : ''}, from the cache ${t.cached_us} us`)
    all.P1 = ['signed', 'none'].map(cycles)
    for (const c of all.P1) say(`P1  a durable cycle, assertion ${c.assertion}: ${c.together_us} us, of which batond ${c.batond_us} (P2), redis ${c.redis_us}; lost ${c.lost}, duplicated ${c.duplicated}`)
  } finally { await b.remove() }
}
