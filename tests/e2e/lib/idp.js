// Which real issuer do the tests use? oidc-provider over https, its tokens JWT access tokens bound to the client's certificate (RFC 8705).
import https from 'node:https'
import fs from 'node:fs'
import Provider from 'oidc-provider'
import { jose, AUDIENCE } from './tokens.js'
import { freePort } from './ports.js'

const SCOPES = 'orders:read refunds:draft refunds:issue'

export class Idp {
  // ca: file of the CA that signed the server's leaf; agentsCa: of the one that signed the agents; agents: [{name, tenant, spiffe}]
  constructor ({ ca, agentsCa, server, agents }) {
    Object.assign(this, { ca, agentsCa, server, agents, keys: 0, keyFetches: 0, urls: new Set() })
  }

  async start () {
    this.port = await freePort()
    this.url = `https://localhost:${this.port}`
    await this.rotate()
    return this
  }

  // From now on it signs with a new key, and publishes that one alone.
  async rotate () {
    const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true })
    this.jwks = { keys: [{ ...(await jose.exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: `idp-${++this.keys}` }] }
    if (this.http) await this.stop()
    await this.restart()
  }

  async restart () {
    this.listen()
    await new Promise((done) => this.http.listen(this.port, '127.0.0.1', done))
  }

  listen () {
    const tenants = Object.fromEntries(this.agents.map((a) => [a.name, a.tenant]))
    const provider = new Provider(this.url, {
      clients: this.agents.map((a) => ({
        client_id: a.name, grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
        token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_uri: a.spiffe,
        tls_client_certificate_bound_access_tokens: true, id_token_signed_response_alg: 'ES256', scope: SCOPES
      })),
      jwks: this.jwks,
      cookies: { keys: ['not used: no cookie is ever set here'] },
      scopes: SCOPES.split(' '),
      clientAuthMethods: ['tls_client_auth'],
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        mTLS: {
          enabled: true,
          certificateBoundAccessTokens: true,
          tlsClientAuth: true,
          getCertificate: (ctx) => ctx.req.socket.getPeerX509Certificate(),
          certificateAuthorized: (ctx) => ctx.req.socket.authorized,
          certificateSubjectMatches: (ctx, property, expected) =>
            property === 'tls_client_auth_san_uri' && ctx.req.socket.getPeerX509Certificate().subjectAltName === `URI:${expected}`
        },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => 'urn:baton',
          getResourceServerInfo: () => ({ scope: SCOPES, audience: AUDIENCE, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'ES256' } } }),
          useGrantedResource: () => true
        }
      },
      // RFC 9068 §2.2 wants a subject in every token; for a service it is the client itself.
      formats: {
        customizers: {
          jwt: (ctx, token, parts) => {
            parts.payload.sub ||= token.clientId
            parts.payload.tenant = tenants[token.clientId]
          }
        }
      },
      ttl: { ClientCredentials: 600 }
    })
    provider.on('server_error', (ctx, e) => console.error('issuer:', e))
    this.http = https.createServer({
      cert: fs.readFileSync(this.server.cert), key: fs.readFileSync(this.server.key), ca: fs.readFileSync(this.agentsCa),
      requestCert: true, rejectUnauthorized: false
    }, (req, res) => {
      if (req.url.startsWith('/jwks')) this.keyFetches++
      this.urls.add(req.url)
      provider.callback()(req, res)
    })
  }

  // The answer of the token endpoint, asked over mutual TLS with the agent's certificate.
  token (agent, scope = 'orders:read refunds:draft') {
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: agent.name, scope, resource: 'urn:baton' }).toString()
    return new Promise((yes, no) => {
      const rq = https.request(`${this.url}/token`, {
        method: 'POST', cert: fs.readFileSync(agent.cert), key: fs.readFileSync(agent.key), ca: fs.readFileSync(this.ca), agent: false,
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) }
      }, (rs) => {
        let text = ''
        rs.on('data', (d) => { text += d })
        rs.on('end', () => {
          const answer = JSON.parse(text)
          if (rs.statusCode === 200) yes(answer.access_token)
          else no(new Error(`${rs.statusCode} ${text}`))
        })
      })
      rq.on('error', no)
      rq.end(body)
    })
  }

  stop () {
    return new Promise((done) => { this.http.close(done); this.http.closeAllConnections?.() })
  }
}
