// Who says in a test whether a certificate is good? A real OCSP responder: `openssl ocsp` with the index of a CA of the test.
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { X509Certificate } from 'node:crypto'
import { freePort } from './ports.js'
import { until } from './suite.js'

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
    // It looks for another file before it waits for a question, so one question is asked in vain.
    if (this.process) execFileSync('openssl', ['ocsp', '-issuer', this.ca.cert, '-serial', '1', '-url', this.url, '-noverify'], { stdio: 'ignore', timeout: 5000 })
  }

  async start () {
    this.port ||= await freePort()
    const log = fs.openSync(this.said, 'a'), from = fs.statSync(this.said).size
    // Line by line, for what it says is counted.
    const args = ['-oL', 'openssl', 'ocsp', '-index', this.index, '-port', String(this.port), '-CA', this.ca.cert, '-rsigner', this.signer.cert, '-rkey', this.signer.key, '-text',
      ...(this.minutes ? ['-nmin', String(this.minutes)] : [])]
    this.process = spawn('stdbuf', args, { stdio: ['ignore', log, log] })
    this.exited = new Promise((done) => this.process.on('exit', done))
    // Not by a connection to see: one that ends without a question makes openssl 3.0 wait for ever.
    await until('the responder', () => fs.readFileSync(this.said, 'utf8').slice(from).includes('waiting for OCSP client connections'))
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
