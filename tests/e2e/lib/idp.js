// Which real issuer do the tests use? oidc-provider over https, its tokens JWT access tokens bound to the client's certificate (RFC 8705), or opaque ones, about
// which a broker with a certificate or secret of its own may ask it (RFC 7662).
import https from 'node:https'
import fs from 'node:fs'
import Provider from 'oidc-provider'
import { jose, AUDIENCE } from './tokens.js'
import { freePort } from './ports.js'

const SCOPES = 'orders:read refunds:draft refunds:issue'
// What a client may ask a token for: a JWT, or an opaque one.
const RESOURCES = {
  'urn:baton': { accessTokenFormat: 'jwt', audience: AUDIENCE, accessTokenTTL: 600, jwt: { sign: { alg: 'ES256' } } },
  'urn:opaque': { accessTokenFormat: 'opaque', audience: AUDIENCE, accessTokenTTL: 600 },
  'urn:opaque-short': { accessTokenFormat: 'opaque', audience: AUDIENCE, accessTokenTTL: 6 },
  'urn:opaque-ledger': { accessTokenFormat: 'opaque', audience: 'ledger', accessTokenTTL: 600 }
}

export class Idp {
  // ca: file of the CA that signed the server's leaf; agentsCa: of the one that signed the agents; agents: [{name, tenant, spiffe}]; asking: more clients, which may
  // ask about tokens: [{name, spiffe}] or [{name, secret}]
  constructor ({ ca, agentsCa, server, agents, asking = [] }) {
    Object.assign(this, { ca, agentsCa, server, agents, asking, keys: 0, keyFetches: 0, urls: new Set(), questions: [], extra: {} })
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
      clients: [...this.agents, ...this.asking].map((a) => ({
        client_id: a.name, grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
        ...(a.secret ? { client_secret: a.secret, token_endpoint_auth_method: 'client_secret_basic' } : { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_uri: a.spiffe }),
        tls_client_certificate_bound_access_tokens: true, id_token_signed_response_alg: 'ES256', scope: SCOPES
      })),
      jwks: this.jwks,
      cookies: { keys: ['not used: no cookie is ever set here'] },
      scopes: SCOPES.split(' '),
      clientAuthMethods: ['tls_client_auth', 'client_secret_basic'],
      // RFC 9068 §2.2 wants a subject in every token; for a service it is the client itself.
      extraTokenClaims: (ctx, token) => (token.resourceServer?.accessTokenFormat === 'opaque' ? { sub: token.clientId, tenant: tenants[token.clientId], ...this.extra } : {}),
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        introspection: { enabled: true },
        revocation: { enabled: true },
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
          getResourceServerInfo: (ctx, resource) => ({ scope: SCOPES, ...RESOURCES[resource] }),
          useGrantedResource: () => true
        }
      },
      formats: {
        customizers: {
          jwt: (ctx, token, parts) => {
            parts.payload.sub ||= token.clientId
            parts.payload.tenant = tenants[token.clientId]
          }
        }
      },
      ttl: { ClientCredentials: (ctx, token) => token.resourceServer.accessTokenTTL }
    })
    provider.on('server_error', (ctx, e) => console.error('issuer:', e))
    this.http = https.createServer({
      cert: fs.readFileSync(this.server.cert), key: fs.readFileSync(this.server.key), ca: fs.readFileSync(this.agentsCa),
      requestCert: true, rejectUnauthorized: false
    }, (req, res) => {
      if (req.url.startsWith('/jwks')) this.keyFetches++
      this.urls.add(req.url)
      if (req.url === '/token/introspection') this.questions.push(req.headers.authorization || 'certificate')
      if (req.url === '/token/introspection' && this.instead) this.instead(req, res)
      else provider.callback()(req, res)
    })
  }

  // The answer of the token endpoint, asked over mutual TLS with the agent's certificate.
  async token (agent, scope = 'orders:read refunds:draft', resource = 'urn:baton') {
    return JSON.parse(await this.post('/token', agent, { grant_type: 'client_credentials', client_id: agent.name, scope, resource })).access_token
  }

  opaque (agent, kind = '', scope = undefined) { return this.token(agent, scope, kind ? `urn:opaque-${kind}` : 'urn:opaque') }
  // RFC 7009: its client takes it back.
  revoke (agent, token) { return this.post('/token/revocation', agent, { client_id: agent.name, token }) }

  post (path, agent, form) {
    const body = new URLSearchParams(form).toString()
    return new Promise((yes, no) => {
      const rq = https.request(`${this.url}${path}`, {
        method: 'POST', cert: fs.readFileSync(agent.cert), key: fs.readFileSync(agent.key), ca: fs.readFileSync(this.ca), agent: false,
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) }
      }, (rs) => {
        let text = ''
        rs.on('data', (d) => { text += d })
        rs.on('end', () => (rs.statusCode === 200 ? yes(text) : no(new Error(`${rs.statusCode} ${text}`))))
      })
      rq.on('error', no)
      rq.end(body)
    })
  }

  stop () {
    return new Promise((done) => { this.http.close(done); this.http.closeAllConnections?.() })
  }
}
