// How does a test speak HTTP/2 as no client would? Frames by hand over node's TLS, or over nothing (RFC 9113 §4.1, §6).
import fs from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import hpack from 'hpack.js'
import { until } from './suite.js'

export const T = { DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 }
export const F = { END_STREAM: 1, END_HEADERS: 4, ACK: 1 }
export const CODE = { NO_ERROR: 0, PROTOCOL_ERROR: 1, FLOW_CONTROL_ERROR: 3, FRAME_SIZE_ERROR: 6, REFUSED_STREAM: 7, CANCEL: 8, COMPRESSION_ERROR: 9, ENHANCE_YOUR_CALM: 11 }
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export function frame (type, flags, stream, body = Buffer.alloc(0)) {
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}
export const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b }
export const settings = (...pairs) => frame(T.SETTINGS, 0, 0, Buffer.concat(pairs.map(([id, v]) => Buffer.concat([Buffer.from([0, id]), u32(v)]))))

// HPACK (RFC 7541): literals without indexing, no Huffman.
function hpackInt (n, bits, first = 0) {
  const most = (1 << bits) - 1
  if (n < most) return Buffer.from([first | n])
  const out = [first | most]
  for (n -= most; n >= 128; n = Math.floor(n / 128)) out.push(n % 128 + 128)
  return Buffer.from([...out, n])
}
const text = (s) => Buffer.concat([hpackInt(Buffer.byteLength(s), 7), Buffer.from(s)])
export const literal = (name, value, first = 0) => Buffer.concat([Buffer.from([first]), text(name), text(value)])
export const indexed = (n) => hpackInt(n, 7, 0x80)
export const headers = (more = {}, path = '/baton.v1.HandoffService/WhoAmI') => Buffer.concat(Object.entries({
  ':method': 'POST', ':scheme': 'https', ':authority': 'localhost', ':path': path, te: 'trailers', 'content-type': 'application/grpc', ...more
}).map(([k, v]) => literal(k, v)))
export const message = (bytes) => Buffer.concat([Buffer.from([0]), u32(bytes.length), bytes])

// What node's TLS needs to be this agent; `from`: the address to come from; port: another than the agents'.
export const identity = (b, leaf, from, port = b.port) => ({
  host: '127.0.0.1', port, servername: 'localhost', ALPNProtocols: ['h2'], ca: fs.readFileSync(b.serverCa.cert),
  cert: fs.readFileSync(leaf.cert), key: fs.readFileSync(leaf.key), ...(from && { localAddress: from })
})

class Ends {
  constructor (socket) {
    this.socket = socket
    this.closed = false
    socket.on('error', (e) => { this.error = e.code })
    socket.on('close', () => { this.closed = true })
  }

  write (...parts) {
    if (!this.closed && !this.socket.destroyed && this.socket.writable) this.socket.write(Buffer.concat(parts))
    return this
  }

  ended (ms = 15000) { return until('the connection to end', () => this.closed, ms) }
  close () { this.socket.destroy() }
}

// A socket without TLS.
export class Plain extends Ends {
  constructor (b, from) {
    super(net.connect({ host: '127.0.0.1', port: b.port, ...(from && { localAddress: from }) }))
    this.socket.resume()
  }
}

// Over TLS, or on a unix socket, by its `path`. Answers PINGs unless it is `mute`; everything else is the test's business.
export class Raw extends Ends {
  constructor (options) {
    const socket = options.path ? net.connect(options.path) : tls.connect(options)
    super(socket)
    this.frames = []
    this.rest = Buffer.alloc(0)
    this.goaway = null
    this.decoder = hpack.decompressor.create({ table: { size: 4096 } })
    socket.on('data', (d) => this.#take(d))
    this.open = new Promise((yes) => { socket.on(options.path ? 'connect' : 'secureConnect', () => yes(true)); socket.on('close', () => yes(false)) })
  }

  #take (d) {
    this.rest = Buffer.concat([this.rest, d])
    while (this.rest.length >= 9 && this.rest.length >= 9 + this.rest.readUIntBE(0, 3)) {
      const n = this.rest.readUIntBE(0, 3)
      const f = { type: this.rest[3], flags: this.rest[4], stream: this.rest.readUInt32BE(5), body: this.rest.subarray(9, 9 + n) }
      this.rest = this.rest.subarray(9 + n)
      this.frames.push(f)
      if (f.type === T.HEADERS) f.headers = this.#decode(f.body)
      if (f.type === T.PING && !(f.flags & F.ACK) && !this.mute) this.write(frame(T.PING, F.ACK, 0, f.body))
      if (f.type === T.GOAWAY) this.goaway = { code: f.body.readUInt32BE(4), debug: f.body.subarray(8).toString() }
    }
  }

  #decode (block) {
    const all = {}
    this.decoder.write(block)
    this.decoder.execute()
    for (let h; (h = this.decoder.read());) all[h.name] = h.value
    return all
  }

  // The client's preface and SETTINGS; once the server's have come, its answer to them.
  async greet (...pairs) {
    if (!await this.open) throw new Error(`no TLS: ${this.error}`)
    this.write(PREFACE, settings(...pairs))
    await until('the server\'s SETTINGS', () => this.closed || this.frames.some((f) => f.type === T.SETTINGS && !(f.flags & F.ACK)))
    return this.write(frame(T.SETTINGS, F.ACK, 0))
  }

  // The headers that end the stream: gRPC's status and message.
  answer (stream, ms = 15000) {
    const find = () => this.frames.find((f) => f.type === T.HEADERS && f.stream === stream && f.flags & F.END_STREAM)
    return until(`the end of stream ${stream}`, find, ms).then((f) => f.headers)
  }

  reset (stream, ms = 15000) {
    const find = () => this.frames.find((f) => f.type === T.RST_STREAM && f.stream === stream)
    return until(`a reset of stream ${stream}`, find, ms).then((f) => f.body.readUInt32BE(0))
  }
}
