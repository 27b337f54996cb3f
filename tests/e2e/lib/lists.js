// Where are revocation lists fetched in a test? A web server, https or http, whose files a test replaces by whatever it likes; it counts what it is asked.
import fs from 'node:fs'
import http from 'node:http'
import https from 'node:https'

export class Lists {
  // server: its leaf, for https; without it http
  constructor (server) { Object.assign(this, { server, files: {}, seen: [], open: 0, most: 0 }) }

  async listen () {
    const answer = (rq, rs) => this.answer(rq, rs)
    this.http = this.server ? https.createServer({ cert: fs.readFileSync(this.server.cert), key: fs.readFileSync(this.server.key) }, answer) : http.createServer(answer)
    this.http.on('tlsClientError', () => {}) // a client that does not like the certificate
    await new Promise((done) => this.http.listen(this.port || 0, '127.0.0.1', done))
    this.port = this.http.address().port
    return this
  }

  url (path) { return `${this.server ? 'https' : 'http'}://localhost:${this.port}${path}` }

  // A file is its bytes, or a function that answers.
  async answer (rq, rs) {
    const f = this.files[rq.url]
    this.seen.push(rq.url)
    this.most = Math.max(this.most, ++this.open)
    rs.on('close', () => this.open--)
    await this.held
    if (typeof f === 'function') f(rq, rs)
    else if (f) rs.writeHead(200, { 'content-type': 'application/pkix-crl' }).end(f)
    else rs.writeHead(404).end()
  }

  count (path) { return this.seen.filter((u) => u === path).length }

  async stop () {
    const server = this.http
    this.http = null
    if (server) await new Promise((done) => { server.close(done); server.closeAllConnections() })
  }
}
