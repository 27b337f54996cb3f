// How do several batonds come up on one Redis? Each has a folder of its own; the first one's PKI, issuer, profiles and sealing keys are everybody's.
// Each reaches the Redis through a proxy, and agents reach each through one, so that a test can part them.
import fs from 'node:fs'
import { spawn, spawnSync } from 'node:child_process'
import { Agent } from './agent.js'
import { Broker } from './broker.js'
import { freePort } from './ports.js'
import { Proxy } from './proxy.js'
import { Redis } from './redis.js'
import { until } from './suite.js'

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction', '--aof-load-truncated', 'no']

// A redis-server of the test's own, whose log is mended before each start, as broker/store/private_aof.c does it.
export class RedisServer {
  constructor (dir) {
    this.dir = dir
    this.socket = `${dir}/r.sock`
    fs.mkdirSync(dir, { mode: 0o700 })
  }

  // more: arguments for this start alone.
  async start (more = []) {
    const manifest = `${this.dir}/appendonlydir/appendonly.aof.manifest`
    const check = (...args) => spawnSync('redis-check-aof', [...args, manifest], { input: 'y\n', encoding: 'utf8' })
    if (fs.existsSync(manifest) && check().status !== 0) {
      const r = check('--fix')
      if (r.status !== 0) throw new Error(`redis-check-aof: ${r.stdout}${r.stderr}`)
    }
    const log = fs.openSync(`${this.dir}/redis.log`, 'a')
    this.process = spawn('redis-server', ['--port', '0', '--unixsocket', this.socket, '--dir', this.dir, '--save', '', ...DURABLE, ...more], { stdio: ['ignore', log, log] })
    this.exited = new Promise((done) => this.process.once('exit', done))
    await until('redis-server', () => this.call('PING'), 60000)
    return this
  }

  async with (fn) {
    const r = await new Redis(this.socket).connect()
    try { return await fn(r) } finally { r.close() }
  }

  call (...args) { return this.with((r) => r.call(...args)) }
  info (field) { return this.with((r) => r.info(field)) }

  signal (sig) { this.process?.kill(sig) }
  async kill () { this.signal('SIGKILL'); await this.exited }
}

class Node extends Broker {
  constructor (cluster, index, options) {
    super({ fsync: 'always', ...options, config: (t) => cluster.config(this, t) })
    Object.assign(this, { cluster, index, name: `Node-${index}` })
  }

  async prepare () {
    if (this.index === 0) {
      await super.prepare()
      this.cluster.redis = new RedisServer(this.path('redis'))
    } else {
      const { acme, globex, serverCa, server, leaves, issuer } = this.cluster.nodes[0]
      Object.assign(this, { acme, globex, serverCa, server, leaves, issuer, port: await freePort(), metricsPort: await freePort() })
      this.addr = `127.0.0.1:${this.port}`
      await this.chooseAdmin()
      this.writeProfiles()
    }
    this.toStore = await new Proxy({ path: this.cluster.redis.socket }).listen()
    this.toAgents = await new Proxy({ port: this.port, host: '127.0.0.1' }).listen()
    this.writeConfig()
    return this
  }

  // An agent that reaches this node through its proxy.
  through (name, token, options) {
    return new Agent({ ...this.leaves[name], name, trust: this.serverCa.cert }, `127.0.0.1:${this.toAgents.port}`, { token, options })
  }
}

const clusters = new Set()
process.once('exit', () => { for (const c of clusters) c.kill() })
for (const sig of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(sig, () => process.exit(1))

export class Cluster {
  // options: new Broker()'s; config: (node, text) → text
  constructor (k, { config = (n, t) => t, ...options } = {}) {
    this.change = config
    this.nodes = Array.from({ length: k }, (_, i) => new Node(this, i, options))
    clusters.add(this)
  }

  kill () { // whoever is stopped dies of it too
    for (const one of [...this.nodes, this.redis]) if (one?.process && one.process.exitCode === null) one.process.kill('SIGKILL')
  }

  config (node, text) {
    const url = `redis://127.0.0.1:${node.toStore?.port}`
    return this.change(node, text.replace('node: test-node', `node: ${node.name}`)
      .replace('url: ""', `url: ${url}\n  keys_file: ${JSON.stringify(this.nodes[0].path('state', 'seal.keys'))}`))
  }

  get first () { return this.nodes[0] }

  async start () {
    for (const n of this.nodes) await n.prepare()
    await this.redis.start()
    for (const n of this.nodes) await n.start()
    return this
  }

  async stop () {
    for (const n of this.nodes) await n.stop({ ms: 60000 })
  }

  // Ends all that is left of it; keeps the folders when something went wrong in them.
  async remove (keep = process.env.BATON_KEEP) {
    for (const n of this.nodes) {
      n.toStore?.close()
      n.toAgents?.close()
      if (n.process && !n.exit) { n.signal('SIGKILL'); await n.exited }
    }
    if (this.redis?.process) await this.redis.kill()
    clusters.delete(this)
    for (const n of this.nodes) if (!keep) fs.rmSync(n.dir, { recursive: true, force: true })
    return keep ? this.nodes.map((n) => n.dir) : []
  }
}
