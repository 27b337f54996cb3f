// Which issuer misbehaves? An OpenID provider over https whose two documents a test may replace by whatever it likes; it counts what it is
// asked. (The honest one is lib/idp.js, a real oidc-provider.)
import https from 'node:https'
import fs from 'node:fs'
import { StaticIssuer } from './tokens.js'

export const DISCOVERY = '/.well-known/openid-configuration'

export class Provider {
  // server: its leaf; file: where its keys may lie; path: of the issuer's url; options: more of its row in baton.yaml
  constructor ({ name, server, file, path = '', options = '' }) {
    Object.assign(this, { name, server, file, path, options, seen: [], begun: [] })
  }

  async start () {
    await this.listen()
    this.url = `https://localhost:${this.port}${this.path}`
    this.issuer = await new StaticIssuer(this.file, this.url).make({ es: 'ES256' })
    this.published = ['es']
    this.mend()
    return this
  }

  async listen () {
    const tls = { cert: fs.readFileSync(this.server.cert), key: fs.readFileSync(this.server.key) }
    this.http = https.createServer(tls, (rq, rs) => this.answer(rq, rs))
    this.http.on('tlsClientError', () => {}) // a client that does not like the certificate
    await new Promise((done) => this.http.listen(this.port || 0, '127.0.0.1', done))
    this.port = this.http.address().port
  }

  async answer (rq, rs) {
    this.seen.push(rq.url)
    if (rq.url.endsWith(DISCOVERY)) this.begun.push(Date.now())
    const body = this.documents()[rq.url] // as it is now, whenever it is sent
    await this.held
    if (rq.url.endsWith(DISCOVERY)) this.discovery(rq, rs, body)
    else if (body) this.jwks(rq, rs, body)
    else rs.writeHead(404).end()
  }

  // What an honest provider says at this moment, by path (OIDC Discovery §4: a slash at the issuer's end is not doubled).
  documents () {
    return {
      [this.path.replace(/\/$/, '') + DISCOVERY]: { issuer: this.url, jwks_uri: `https://localhost:${this.port}/jwks` },
      '/jwks': { keys: this.published.map((k) => this.issuer.keys[k]?.jwk || k) }
    }
  }

  mend () {
    this.discovery = send
    this.jwks = send
  }

  // From now on answers are made, and held back; the function that is returned lets them go.
  hold () {
    let go
    this.held = new Promise((done) => { go = done })
    return () => { this.held = undefined; go() }
  }

  // A new key, published in the place of the others (or beside them).
  async rotate (kid, { keep = [], alg = 'ES256' } = {}) {
    await this.issuer.make({ [kid]: alg })
    this.published = [...keep, kid]
  }

  fetches () { return [this.seen.filter((u) => u.endsWith(DISCOVERY)).length, this.seen.filter((u) => u === '/jwks').length] }

  // Its row under `issuers` of baton.yaml.
  row (ca) {
    const file = JSON.stringify(ca)
    return `  - {name: ${this.name}, url: ${JSON.stringify(this.url)}, ca_file: ${file}, allow_private: true, tenants: [acme], algorithms: [ES256, RS256, PS256, EdDSA]${this.options}}\n`
  }

  async stop () {
    const http = this.http
    this.http = null
    if (http) await new Promise((done) => { http.close(done); http.closeAllConnections() })
  }
}

export function send (rq, rs, body) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  rs.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
}
