// Who says in a test whether a certificate is good? A real OCSP responder: `openssl ocsp` with the index of a CA of the test.
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import path from 'node:path'
import { X509Certificate } from 'node:crypto'
import { freePort } from './ports.js'

export class Responder {
  // ca: whose certificates it knows; signer: who signs its answers, the CA itself when there is none
  constructor (dir, ca, { signer = ca } = {}) {
    Object.assign(this, { dir, ca, signer, rows: new Map(), minutes: 5 })
    this.index = path.join(dir, `${ca.name}-status`)
    this.said = path.join(dir, `${ca.name}-responder.log`)
    this.write()
  }

  get url () { return `http://127.0.0.1:${this.port}` }

  // What it is to say of this leaf: good, revoked; undefined: it does not know it.
  says (leaf, status) {
    const serial = new X509Certificate(fs.readFileSync(leaf.cert)).serialNumber
    if (status) this.rows.set(serial, status)
    else this.rows.delete(serial)
    this.write()
  }

  write () {
    const row = ([serial, status]) => `${status === 'revoked' ? 'R' : 'V'}\t400101000000Z\t${status === 'revoked' ? '260101000000Z,keyCompromise' : ''}\t${serial}\tunknown\t/CN=x\n`
    fs.writeFileSync(`${this.index}.new`, [...this.rows].map(row).join(''))
    fs.writeFileSync(`${this.index}.attr`, 'unique_subject = no\n')
    fs.renameSync(`${this.index}.new`, this.index)
    if (this.process && !this.heard()) { this.process.kill('SIGKILL'); this.launch() }
  }

  // It looks for another file before it waits for a question, so one question is asked in vain. Who ended a connection without a question has openssl 3.0 wait for ever.
  heard () {
    try { execFileSync('openssl', ['ocsp', '-issuer', this.ca.cert, '-serial', '1', '-url', this.url, '-noverify'], { stdio: 'ignore', timeout: 3000 }); return true } catch { return false }
  }

  launch () {
    const log = fs.openSync(this.said, 'a'), from = fs.fstatSync(log).size
    // Line by line, for what it says is counted.
    const args = ['-oL', 'openssl', 'ocsp', '-index', this.index, '-port', String(this.port), '-CA', this.ca.cert, '-rsigner', this.signer.cert, '-rkey', this.signer.key, '-text',
      ...(this.minutes ? ['-nmin', String(this.minutes)] : [])]
    this.process = spawn('stdbuf', args, { stdio: ['ignore', log, log] })
    this.exited = new Promise((done) => this.process.on('exit', done))
    fs.closeSync(log)
    // Not by a connection to see, for the same reason. In this turn: it is there before anybody is told.
    for (let i = 0; i < 500 && !fs.readFileSync(this.said, 'utf8').slice(from).includes('waiting for OCSP client connections'); i++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
  }

  async start () {
    this.port ||= await freePort()
    this.launch()
    return this
  }

  // How often it was asked about this leaf.
  asked (leaf) {
    const serial = new X509Certificate(fs.readFileSync(leaf.cert)).serialNumber
    return fs.readFileSync(this.said, 'utf8').split('OCSP Response Data')
      .filter((part) => part.split('OCSP Request Data')[1]?.match(/Serial Number: ([0-9A-F]+)/)?.[1] === serial).length
  }

  async stop () {
    if (!this.process) return
    this.process.kill('SIGKILL')
    await this.exited
    this.process = null
  }
}

// One DER element at `at`: where what is in it begins, and where it ends.
function element (der, at) {
  const n = der[at + 1], more = n > 127 ? n & 127 : 0
  const length = more ? der.readUIntBE(at + 2, more) : n
  return { from: at + 2 + more, to: at + 2 + more + length }
}
function sequence (inside) {
  const n = inside.length
  return Buffer.concat([Buffer.from(n < 128 ? [0x30, n] : [0x30, 0x82, n >> 8, n & 255]), inside])
}
// The same question without what stands behind its list of certificates: its nonce.
export function withoutNonce (question) {
  const list = element(question, element(question, 0).from).from
  return sequence(sequence(question.subarray(list, element(question, list).to)))
}

// Somebody before a responder, who hands it each question as `change` has it. server: a leaf, for https.
export class Before {
  constructor (responder, { change = (question) => question, server } = {}) { Object.assign(this, { responder, change, server, seen: 0 }) }

  async start () {
    const answer = async (rq, rs) => {
      this.seen++
      const parts = []
      for await (const p of rq) parts.push(p)
      const r = await fetch(this.responder.url, { method: 'POST', body: this.change(Buffer.concat(parts)), headers: { 'content-type': 'application/ocsp-request' } }).catch(() => null)
      rs.writeHead(r ? 200 : 502).end(r ? Buffer.from(await r.arrayBuffer()) : '')
    }
    this.listener = this.server ? https.createServer({ cert: fs.readFileSync(this.server.cert), key: fs.readFileSync(this.server.key) }, answer) : http.createServer(answer)
    await new Promise((done) => this.listener.listen(0, this.server ? 'localhost' : '127.0.0.1', done))
    this.url = this.server ? `https://localhost:${this.listener.address().port}` : `http://127.0.0.1:${this.listener.address().port}`
    return this
  }

  async stop () {
    this.listener.closeAllConnections()
    await new Promise((done) => this.listener.close(done))
  }
}
