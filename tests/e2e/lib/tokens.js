// Where do the tests' access tokens come from? A static issuer whose keys batond reads from a file. It signs whatever it is told to, so it
// makes the hostile tokens too. (The honest issuer is lib/idp.js.)
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import * as jose from 'jose'

export const STATIC_ISSUER = 'https://static.issuer.example'
export const AUDIENCE = 'support-agent-runtime'

export class StaticIssuer {
  constructor (file, url = STATIC_ISSUER) {
    this.url = url
    this.file = file
    this.keys = {}
  }

  // kid → algorithm; the JWK of "bare" does not say which. All public halves go into the JWKS file.
  async make (algorithms = { es: 'ES256', rs: 'RS256', ed: 'EdDSA', ps: 'PS256', es3: 'ES384', bare: 'RS256' }) {
    for (const [kid, alg] of Object.entries(algorithms)) {
      const pair = await jose.generateKeyPair(alg, { extractable: true })
      this.keys[kid] = { alg, ...pair, jwk: { ...(await jose.exportJWK(pair.publicKey)), kid, ...(kid !== 'bare' && { alg, use: 'sig' }) } }
    }
    this.publish()
    return this
  }

  // One key, for another process that mints with it.
  async tell (kid = 'es') { return { kid, alg: this.keys[kid].alg, jwk: await jose.exportJWK(this.keys[kid].privateKey) } }
  async recall ({ kid, alg, jwk }) { this.keys[kid] = { alg, privateKey: await jose.importJWK(jwk, alg) } }

  publish (kids = Object.keys(this.keys)) {
    fs.writeFileSync(this.file, JSON.stringify({ keys: kids.map((k) => this.keys[k].jwk) }, null, 1))
  }

  // The claims of an honest token for this agent; `change` overrides, a member set to undefined is left out.
  claims (agent, change = {}) {
    const now = Math.floor(Date.now() / 1000)
    const all = {
      iss: this.url, aud: AUDIENCE, sub: 'user-ana', client_id: agent.name, iat: now, nbf: now - 1, exp: now + 600, jti: randomUUID(),
      tenant: agent.tenant, scope: 'orders:read refunds:draft', cnf: { 'x5t#S256': agent.thumbprint }, ...change
    }
    return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined))
  }

  async mint (agent, change = {}, { kid = 'es', header = {}, key } = {}) {
    const k = this.keys[kid]
    const head = Object.fromEntries(Object.entries({ alg: k.alg, kid, typ: 'at+jwt', ...header }).filter(([, v]) => v !== undefined))
    const body = new TextEncoder().encode(JSON.stringify(this.claims(agent, change)))
    return new jose.CompactSign(body).setProtectedHeader(head).sign(key || k.privateKey, head.crit ? { crit: { 'x-unknown': true } } : undefined)
  }

  // Any header and body with a signature of the caller's making: for what jose refuses to sign.
  async forge (agent, header, change, sign) {
    const part = (o) => Buffer.from(typeof o === 'string' ? o : JSON.stringify(o)).toString('base64url')
    const input = `${part(header)}.${part(typeof change === 'string' ? change : this.claims(agent, change))}`
    return `${input}.${Buffer.from(await sign(input)).toString('base64url')}`
  }
}

export { jose }
