// Who vouches for whom in a test? Throw-away certificate authorities and leaves, made by the openssl command in the test's own folder.
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })

export const thumbprint = (certFile) => // cnf.x5t#S256 (RFC 8705 §3.1)
  Buffer.from(new X509Certificate(fs.readFileSync(certFile)).fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')

export class Ca {
  constructor (dir, name, { uri } = {}) {
    this.dir = dir
    this.name = name
    this.cert = path.join(dir, `${name}.pem`)
    this.key = path.join(dir, `${name}.key`)
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', `/CN=${name}`,
      '-keyout', this.key, '-out', this.cert, '-addext', 'basicConstraints=critical,CA:TRUE',
      '-addext', 'keyUsage=critical,keyCertSign,cRLSign', ...(uri ? ['-addext', `subjectAltName=URI:${uri}`] : []))
    fs.chmodSync(this.key, 0o600)
  }

  // sans: what openssl's subjectAltName takes ("URI:spiffe://…", "DNS:localhost", "IP:127.0.0.1"). days may be negative: expired.
  leaf (name, { sans = [], days = 2, eku = 'clientAuth', usage = 'critical,digitalSignature', ca = false } = {}) {
    const file = (ext) => path.join(this.dir, `${name}.${ext}`)
    const ext = [`basicConstraints=critical,CA:${ca ? 'TRUE' : 'FALSE'}`, `keyUsage=${usage}`]
    if (eku) ext.push(`extendedKeyUsage=${eku}`)
    if (sans.length) ext.push(`subjectAltName=${sans.join(',')}`)
    fs.writeFileSync(file('ext'), ext.join('\n') + '\n')
    openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`,
      '-keyout', file('key'), '-out', file('csr'))
    openssl('x509', '-req', '-in', file('csr'), '-CA', this.cert, '-CAkey', this.key, '-CAcreateserial', '-days', String(days),
      '-extfile', file('ext'), '-out', file('pem'))
    fs.chmodSync(file('key'), 0o600)
    return { name, cert: file('pem'), key: file('key'), ca: this.cert, thumbprint: thumbprint(file('pem')) }
  }

  // Writes a revocation list with these leaves. stale: its nextUpdate is past.
  crl (file, leaves, { stale = false } = {}) {
    const at = (name) => path.join(this.dir, `${this.name}-${name}`)
    fs.writeFileSync(at('index'), '')
    fs.writeFileSync(at('crlnumber'), '01\n')
    fs.writeFileSync(at('cnf'), `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index')}\ncrlnumber=${at('crlnumber')}\ndefault_md=sha256\n`)
    const ca = (...args) => openssl('ca', '-config', at('cnf'), '-cert', this.cert, '-keyfile', this.key, ...args)
    for (const l of leaves) ca('-revoke', l.cert)
    ca('-gencrl', '-out', file, ...(stale ? ['-crl_lastupdate', '20200101000000Z', '-crl_nextupdate', '20200102000000Z'] : ['-crldays', '2']))
  }
}
