// How do tests look into, and tamper with, the broker's private Redis? A binary-safe client of its unix socket (RESP2).
import net from 'node:net'

export class Redis {
  constructor (path) {
    this.path = path
    this.waiting = []
    this.data = Buffer.alloc(0)
  }

  async connect () {
    this.socket = net.connect(this.path)
    this.socket.on('data', (d) => { this.data = Buffer.concat([this.data, d]); this.drain() })
    this.socket.on('error', (e) => this.fail(e))
    this.socket.on('close', () => this.fail(new Error('closed')))
    await new Promise((yes, no) => { this.socket.once('connect', yes); this.socket.once('error', no) })
    return this
  }

  fail (e) { for (const w of this.waiting.splice(0)) w.no(e) }

  drain () {
    for (;;) {
      const got = parse(this.data, 0)
      if (!got) return
      this.data = this.data.subarray(got.end)
      const w = this.waiting.shift()
      if (!w) this.heard?.(got.value) // of what it subscribed to
      else if (got.value instanceof Error) w.no(got.value)
      else w.yes(got.value)
    }
  }

  // Arguments are strings, numbers or Buffers; bulk answers are Buffers.
  call (...args) {
    const parts = [Buffer.from(`*${args.length}\r\n`)]
    for (const a of args) {
      const b = Buffer.isBuffer(a) ? a : Buffer.from(String(a))
      parts.push(Buffer.from(`$${b.length}\r\n`), b, Buffer.from('\r\n'))
    }
    return new Promise((yes, no) => { this.waiting.push({ yes, no }); this.socket.write(Buffer.concat(parts)) })
  }

  async keys (pattern = '*') { return (await this.call('KEYS', pattern)).sort(Buffer.compare) }
  async info (field) {
    const text = (await this.call('INFO')).toString()
    return text.split('\r\n').find((l) => l.startsWith(field + ':')).split(':')[1]
  }

  close () { this.socket.destroy() }
}

function parse (b, at) {
  const eol = b.indexOf('\r\n', at)
  if (eol < 0) return null
  const text = b.toString('latin1', at + 1, eol)
  const end = eol + 2
  switch (String.fromCharCode(b[at])) {
    case '+': return { value: text, end }
    case '-': return { value: new Error(text), end }
    case ':': return { value: Number(text), end }
    case '$': {
      const n = Number(text)
      if (n < 0) return { value: null, end }
      return b.length < end + n + 2 ? null : { value: Buffer.from(b.subarray(end, end + n)), end: end + n + 2 }
    }
    default: {
      const value = []
      let next = end
      for (let i = 0; i < Number(text); i++) {
        const one = parse(b, next)
        if (!one) return null
        value.push(one.value)
        next = one.end
      }
      return { value, end: next }
    }
  }
}
