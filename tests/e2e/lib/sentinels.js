// How does a Redis with replicas and sentinels come up for a test? Real redis-servers on loopback, the first of them the primary, and real sentinels.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { Redis } from './redis.js'
import { RedisServer } from './redisd.js'
import { freePort } from './ports.js'
import { until } from './suite.js'

export const NAME = 'baton-store'

export class Sentinel {
  // lines: more of its configuration; tls: those make it speak TLS at its port, where the test itself then does not come in.
  constructor (dir, password, { quorum = 2, lines = [], tls = false } = {}) { Object.assign(this, { dir, password, quorum, lines, tls }) }

  async start (primaryPort) {
    this.port ||= await freePort()
    this.url = this.tls ? `rediss://localhost:${this.port}` : `redis://127.0.0.1:${this.port}`
    const conf = path.join(this.dir, 'sentinel.conf')
    if (!fs.existsSync(conf)) { // afterwards it is the sentinel's own
      fs.mkdirSync(this.dir, { recursive: true, mode: 0o700 })
      fs.writeFileSync(conf, [...(this.tls ? ['port 0', `tls-port ${this.port}`] : [`port ${this.port}`]), 'bind 127.0.0.1', `dir ${this.dir}`, `logfile ${this.dir}/log`, `requirepass ${this.password}`,
        `sentinel sentinel-pass ${this.password}`, `sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} ${this.quorum}`, `sentinel down-after-milliseconds ${NAME} 1500`,
        `sentinel failover-timeout ${NAME} 6000`, `sentinel parallel-syncs ${NAME} 2`, ...this.lines, ''].join('\n'))
    }
    this.process = spawn('redis-server', [conf, '--sentinel'], { stdio: 'ignore' })
    this.exited = new Promise((done) => this.process.on('exit', done))
    if (!this.tls) await until('the sentinel', () => this.call('PING'))
    return this
  }

  async call (...args) {
    const r = await new Redis({ host: '127.0.0.1', port: this.port }).connect()
    try {
      await r.call('AUTH', this.password)
      return await r.call(...args)
    } finally { r.close() }
  }

  async primary () { return Number((await this.call('SENTINEL', 'get-master-addr-by-name', NAME))[1]) }
  // Of the two lists that it keeps, how many it knows besides itself and the primary.
  async knows (what) { return (await this.call('SENTINEL', what, NAME)).length }
  async kill () {
    if (this.process) { this.process.kill('SIGKILL'); await this.exited }
    this.process = null
  }
}

export class Group {
  constructor (dir, { replicas = 2, sentinels = 3, password = 'sesame', args = [] } = {}) {
    this.servers = Array.from({ length: 1 + replicas }, (_, i) => new RedisServer(path.join(dir, `r${i}`), { args: [...args] }))
    this.sentinels = Array.from({ length: sentinels }, (_, i) => new Sentinel(path.join(dir, `s${i}`), password))
  }

  async start () {
    const [first, ...others] = this.servers
    await (await first.choosePort()).start()
    for (const r of others) {
      r.args.push('--replicaof', '127.0.0.1', String(first.port))
      await (await r.choosePort()).start()
    }
    for (const r of others) await until('a replica', async () => (await r.info('master_link_status')) === 'up', 30000)
    for (const s of this.sentinels) await s.start(first.port)
    for (const s of this.sentinels) {
      await until('the sentinels to know each other', async () => await s.knows('replicas') === others.length && await s.knows('sentinels') === this.sentinels.length - 1, 20000)
    }
    return this
  }

  at (port) { return this.servers.find((r) => r.port === port) }
  // Who takes writes, and is named by every sentinel.
  async primary () {
    const ports = await Promise.all(this.sentinels.map((s) => s.primary()))
    const it = ports.every((p) => p === ports[0]) && this.at(ports[0])
    return it && it.process && (await it.info('role')) === 'master' && it
  }

  async stop () { for (const p of [...this.sentinels, ...this.servers]) await p.kill() }
}

// One that says what a test likes.
export class FakeSentinel {
  constructor (says) { Object.assign(this, { says, asked: 0 }) } // the port that it names, or null

  async start () {
    this.server = net.createServer((c) => {
      c.on('error', () => {})
      c.on('data', () => {
        this.asked++
        const port = String(this.says)
        c.write(this.says ? `*2\r\n$9\r\n127.0.0.1\r\n$${port.length}\r\n${port}\r\n` : '*-1\r\n')
      })
    })
    await new Promise((done) => this.server.listen(0, '127.0.0.1', done))
    this.url = `redis://127.0.0.1:${this.server.address().port}`
    return this
  }

  stop () { return new Promise((done) => this.server.close(done)) }
}
