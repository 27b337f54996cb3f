// Who vouches for whom in a test? Throw-away certificate authorities and leaves, made by the openssl command in the test's own folder.
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })

export const thumbprint = (certFile) => // cnf.x5t#S256 (RFC 8705 §3.1)
  Buffer.from(new X509Certificate(fs.readFileSync(certFile)).fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')

export class Ca {
  // by: the CA that signs it; itself when there is none. twin: it has that one's name and key.
  constructor (dir, name, { uri, by, twin } = {}) {
    this.dir = dir
    this.name = name
    this.cert = path.join(dir, `${name}.pem`)
    this.key = twin ? twin.key : path.join(dir, `${name}.key`)
    const ext = path.join(dir, `${name}.ext`)
    fs.writeFileSync(ext, `[v3]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n${uri ? `subjectAltName=URI:${uri}\n` : ''}`)
    if (!twin) openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', this.key)
    fs.chmodSync(this.key, 0o600)
    const csr = path.join(dir, `${name}.csr`)
    openssl('req', '-new', '-key', this.key, '-subj', `/CN=${twin ? twin.name : name}`, '-out', csr)
    openssl('x509', '-req', '-in', csr, '-days', '30', '-extfile', ext, '-extensions', 'v3', '-out', this.cert,
      ...(by ? ['-CA', by.cert, '-CAkey', by.key, '-CAcreateserial'] : ['-signkey', this.key]))
  }

  // sans: what openssl's subjectAltName takes ("URI:spiffe://…", "DNS:localhost", "IP:127.0.0.1", "DER:30…"). days may be negative:
  // expired; until: a Date, to the second. above: the CAs that are sent with it, as a file has them. more: further lines of extensions.
  leaf (name, { sans = [], days = 2, until, subject = `/CN=${name}`, eku = 'clientAuth', usage = 'critical,digitalSignature', ca = false, above = [], more = [] } = {}) {
    const file = (ext) => path.join(this.dir, `${name}.${ext}`)
    const ext = [`basicConstraints=critical,CA:${ca ? 'TRUE' : 'FALSE'}`, ...more]
    if (usage) ext.push(`keyUsage=${usage}`)
    if (eku) ext.push(`extendedKeyUsage=${eku}`)
    if (sans.length) ext.push(`subjectAltName=${sans.join(',')}`)
    fs.writeFileSync(file('ext'), ext.join('\n') + '\n')
    openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', subject,
      '-keyout', file('key'), '-out', file('csr'))
    if (until) {
      const end = until.toISOString().replace(/[-:T]|\.\d+/g, '')
      this.ca('-batch', '-notext', '-in', file('csr'), '-extfile', file('ext'), '-enddate', end, '-out', file('pem'))
    } else {
      openssl('x509', '-req', '-in', file('csr'), '-CA', this.cert, '-CAkey', this.key, '-CAcreateserial', '-days', String(days),
        '-extfile', file('ext'), '-out', file('pem'))
    }
    fs.chmodSync(file('key'), 0o600)
    const print = thumbprint(file('pem'))
    for (const c of above) fs.appendFileSync(file('pem'), fs.readFileSync(c.cert))
    return { name, cert: file('pem'), key: file('key'), ca: this.cert, thumbprint: print }
  }

  // The openssl command that keeps books.
  ca (...args) {
    const at = (name) => path.join(this.dir, `${this.name}-${name}`)
    if (!fs.existsSync(at('index'))) fs.writeFileSync(at('index'), '')
    fs.writeFileSync(at('crlnumber'), `${(this.number || 1).toString(16).padStart(4, '0')}\n`)
    fs.writeFileSync(at('cnf'), `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index')}\ncrlnumber=${at('crlnumber')}\ndefault_md=sha256\n` +
      `new_certs_dir=${this.dir}\nrand_serial=yes\nunique_subject=no\npolicy=p\n[p]\ncommonName=supplied\n`)
    openssl('ca', '-config', at('cnf'), '-cert', this.cert, '-keyfile', this.key, ...args)
  }

  // Writes a revocation list with these leaves. stale: its nextUpdate is past. number: of it, and of those after it; from, to: its time, Dates.
  crl (file, leaves, { stale = false, number, from, to } = {}) {
    if (stale) [from, to] = [new Date('2020-01-01'), new Date('2020-01-02')]
    if (number) this.number = number
    const text = (d) => d.toISOString().replace(/[-:T]|\.\d+/g, '')
    fs.rmSync(path.join(this.dir, `${this.name}-index`), { force: true })
    for (const l of leaves) this.ca('-revoke', l.cert)
    this.ca('-gencrl', '-out', file, ...(from ? ['-crl_lastupdate', text(from)] : []), ...(to ? ['-crl_nextupdate', text(to)] : ['-crldays', '2']))
  }
}
