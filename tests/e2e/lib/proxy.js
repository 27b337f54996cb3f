// What does a network do to those who speak through it? A TCP proxy in the test that passes bytes on, late, or not at all, or cuts.
import net from 'node:net'

const cut = (s) => { if (s.remoteAddress) s.resetAndDestroy(); else s.destroy() } // a unix socket knows no reset

export class Proxy {
  // target: what net.connect() takes
  constructor (target) {
    Object.assign(this, { target, mode: 'pass', delay: 0, pairs: new Set() })
    this.server = net.createServer((s) => this.join(s))
  }

  async listen () {
    await new Promise((yes, no) => this.server.once('error', no).listen(0, '127.0.0.1', yes))
    this.port = this.server.address().port
    return this
  }

  join (client) {
    if (this.mode === 'reset') return client.on('error', () => {}).resetAndDestroy()
    const server = net.connect(this.target)
    const pair = [client, server]
    this.pairs.add(pair)
    const over = () => {
      if (pair.forgotten && !client.destroyed) return
      this.pairs.delete(pair)
      for (const s of pair) s.destroy()
    }
    for (const [from, to] of [pair, [server, client]]) {
      from.setNoDelay?.(true)
      from.late = []
      from.on('data', (bytes) => this.pass(from, to, bytes)).on('error', over).on('close', over)
      if (this.stops(from, server)) from.pause()
    }
  }

  pass (from, to, bytes) {
    if (this.delay || from.late.length) {
      from.late.push([Date.now() + this.delay, bytes])
      if (from.late.length === 1) this.passLate(from, to)
    } else {
      this.write(from, to, bytes)
    }
  }

  passLate (from, to) { // in their order
    while (from.late.length && from.late[0][0] <= Date.now()) this.write(from, to, from.late.shift()[1])
    if (from.late.length && !from.destroyed) setTimeout(() => this.passLate(from, to), Math.max(1, from.late[0][0] - Date.now()))
  }

  write (from, to, bytes) {
    if (to.destroyed || to.write(bytes)) return
    from.pause()
    to.once('drain', () => { if (this.mode === 'pass' || this.mode === 'slow') from.resume() })
  }

  // pass; slow (each way, by so many ms); hole: nothing goes through, and nobody is told; deaf: no answer comes back; reset: all is cut, and whoever comes
  set (mode, delay = 300) {
    this.mode = mode
    this.delay = mode === 'slow' ? delay : 0
    for (const [client, server] of this.pairs) {
      for (const s of [client, server]) {
        if (mode === 'reset') cut(s)
        else if (this.stops(s, server)) s.pause()
        else s.resume()
      }
    }
  }

  stops (from, server) { return this.mode === 'hole' || (this.mode === 'deaf' && from === server) }

  // As when the machine behind it went and came again: what is there knows nothing of these connections, and says nothing.
  forget () {
    for (const pair of this.pairs) {
      pair.forgotten = true
      pair[1].destroy()
    }
  }

  cut () { [...this.pairs].flat().forEach(cut) }
  close () { this.cut(); this.server.close() }
}
