// How does a Redis of the operator's own come up for a test? A real redis-server in a folder of its own, on loopback, as durable as Baton demands.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { Redis } from './redis.js'
import { freePort } from './ports.js'
import { until } from './suite.js'

export const DURABLE = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction', '--aof-load-truncated', 'no']

export class RedisServer {
  // args: more of redis-server's; acl: lines of its ACL file; env: more variables. The test itself comes in by a unix socket, as `admin` when there are users.
  constructor (dir, { args = [], acl, env = {} } = {}) {
    Object.assign(this, { dir, args, acl, env })
    this.socket = path.join(dir, 'r.sock')
    this.tcp = []
  }

  // Arguments that name its port, when it has one.
  async choosePort (option = '--port') {
    this.port = await freePort()
    this.tcp = [...(option === '--port' ? [] : ['--port', '0']), option, String(this.port)]
    return this
  }

  async start () {
    fs.mkdirSync(this.dir, { recursive: true, mode: 0o700 })
    const users = path.join(this.dir, 'users.acl')
    if (this.acl) fs.writeFileSync(users, ['user admin on nopass ~* &* +@all', ...this.acl, ''].join('\n'), { mode: 0o600 })
    const args = ['--dir', this.dir, '--unixsocket', this.socket, '--logfile', path.join(this.dir, 'redis.log'), '--bind', '127.0.0.1', ...this.tcp, ...DURABLE]
    this.process = spawn('redis-server', [...args, ...(this.acl ? ['--aclfile', users] : []), ...this.args], { stdio: 'ignore', env: { ...process.env, ...this.env } })
    this.exited = new Promise((done) => this.process.on('exit', done))
    await until('redis-server', async () => (await this.call('PING')) === 'PONG')
    return this
  }

  async with (fn) {
    const r = await new Redis(this.socket).connect()
    try {
      if (this.acl) await r.call('AUTH', 'admin', 'x')
      return await fn(r)
    } finally { r.close() }
  }

  call (...args) { return this.with((r) => r.call(...args)) }
  info (field) { return this.with((r) => r.info(field)) }
  async kill (signal = 'SIGKILL') {
    if (this.process) { this.process.kill(signal); await this.exited }
    this.process = null
  }
}
