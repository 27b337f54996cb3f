// How does a Redis Cluster come up for a test, and how do its slots move? Real redis-servers on loopback, put together by hand: that is faster than
// redis-cli --cluster create, and the test knows which node has which slots.
import path from 'node:path'
import { RedisServer } from './redisd.js'
import { freePort } from './ports.js'
import { until } from './suite.js'

const SLOTS = 16384
const text = (v) => String(v)

// CRC16/XMODEM of the hash tag, bit by bit.
export function hashSlot (tag) {
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let i = 0; i < 8; i++) crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc % SLOTS
}

// A route's name that begins so, whose keys the i-th of n primaries has at first.
export function routeOn (i, n, stem, tenant = 'acme') {
  for (let j = 0; ; j++) if (Math.floor(hashSlot(`${tenant}/${stem}${j}`) * n / SLOTS) === i) return `${stem}${j}`
}

export class RedisCluster {
  // primaries share the slots in their order; replicas: of each primary. args, acl: of every server, as RedisServer takes them. port: '--tls-port'
  constructor (dir, { primaries = 3, replicas = 0, args = [], acl, port = '--port' } = {}) {
    Object.assign(this, { n: primaries, option: port })
    this.servers = Array.from({ length: primaries * (1 + replicas) }, (_, i) => new RedisServer(path.join(dir, `c${i}`), { args: [...args], acl }))
    this.primaries = this.servers.slice(0, primaries)
  }

  async boot (server) {
    await server.choosePort(this.option)
    server.bus = await freePort()
    server.args.push('--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-port', text(server.bus), '--cluster-replica-validity-factor', '0')
    await server.start()
    server.id = text(await server.call('CLUSTER', 'MYID'))
    return server
  }

  async start () {
    for (const s of this.servers) await this.boot(s)
    for (const [i, s] of this.servers.entries()) await s.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
    for (const [i, s] of this.primaries.entries()) await s.call('CLUSTER', 'ADDSLOTSRANGE', Math.floor(i * SLOTS / this.n), Math.floor((i + 1) * SLOTS / this.n) - 1)
    for (const s of this.servers.slice(1)) await this.meet(s)
    await this.agreed()
    for (const [i, s] of this.servers.slice(this.n).entries()) await this.follow(s, this.primaries[i % this.n])
    await this.agreed()
    return this
  }

  async meet (server) { await this.servers[0].call('CLUSTER', 'MEET', '127.0.0.1', server.port, server.bus) }

  // One more, without slots.
  async add (dir, options) {
    const s = await this.boot(new RedisServer(dir, options))
    await this.meet(s)
    this.servers.push(s)
    await this.agreed()
    return s
  }

  async follow (replica, primary) {
    await until('the replica to know its primary', () => replica.call('CLUSTER', 'REPLICATE', primary.id).then(() => true, () => false))
    await until('the replica to follow', async () => (await replica.info('master_link_status')) === 'up', 20000)
  }

  get alive () { return this.servers.filter((s) => s.process) }

  // All that live know each other, and see all slots served.
  async agreed (ms = 30000) {
    const n = this.servers.length
    await until('the cluster to agree', async () => {
      const all = await Promise.all(this.alive.map(async (s) => text(await s.call('CLUSTER', 'INFO'))))
      const views = new Set(await Promise.all(this.alive.map(async (s) => JSON.stringify((await s.call('CLUSTER', 'SLOTS')).map((r) => [r[0], r[1], r[2][1]]).sort()))))
      return views.size === 1 && all.every((i) => /cluster_state:ok/.test(i) && i.includes(`cluster_known_nodes:${n}\r\n`))
    }, ms)
  }

  async slotOf (key) { return await this.alive[0].call('CLUSTER', 'KEYSLOT', key) }
  at (port) { return this.servers.find((s) => s.port === port) }
  // Who has it, in the eyes of `by`.
  async owner (slot, by = this.alive[0]) {
    const range = (await by.call('CLUSTER', 'SLOTS')).find((r) => r[0] <= slot && slot <= r[1])
    return range && this.at(range[2][1])
  }

  // ---- a slot moves, as redis-cli --cluster reshard does it ----
  async beginMove (slot, from, to) {
    await to.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id)
    await from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id)
  }

  // At most `max` of its keys; false: there was none. auth: of a user that may RESTORE there.
  async moveKeys (slot, from, to, max = 100, auth = []) {
    const keys = await from.call('CLUSTER', 'GETKEYSINSLOT', slot, max)
    if (keys.length) await from.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, ...auth, 'KEYS', ...keys)
    return keys.length > 0
  }

  async endMove (slot, from, to) {
    await to.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id)
    for (const s of this.alive) if (s !== to) await s.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id).catch((e) => { if (!/only with masters/.test(e.message)) throw e }) // who gave its last slot away follows who has it
  }

  async remove (server) {
    await server.kill()
    this.servers = this.servers.filter((s) => s !== server)
    for (const s of this.alive) await s.call('CLUSTER', 'FORGET', server.id)
    await this.agreed()
  }

  async move (slot, from, to, auth) {
    await this.beginMove(slot, from, to)
    while (await this.moveKeys(slot, from, to, 100, auth));
    await this.endMove(slot, from, to)
  }

  async stop () { for (const s of this.servers) await s.kill() }
}
