// Where is a private key that is in no file? In a PKCS#11 token of SoftHSM's, with a folder and a PIN of its own, reached by OpenSSL's PKCS#11 provider.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { ROOT } from './wire.js'

const MODULES = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so']
let provider

// The provider's module; installed when it is not there.
export function providerModule () {
  provider ||= execFileSync('bash', ['-c', '. deploy/packages.sh && pkcs11_provider "$1"', 'bash', path.join(ROOT, 'build', 'pkcs11')], { cwd: ROOT, encoding: 'utf8' }).trim()
  return provider
}

export class Token {
  constructor (dir, label = 'baton', pin = '648219') {
    Object.assign(this, { dir, label, pin })
    this.store = path.join(dir, 'tokens')
    this.conf = path.join(dir, 'softhsm.conf')
    this.module = MODULES.find((m) => fs.existsSync(m))
    fs.mkdirSync(this.store, { recursive: true, mode: 0o700 })
    fs.writeFileSync(this.conf, `directories.tokendir = ${this.store}\nobjectstore.backend = file\nlog.level = ERROR\n`)
    this.util('--init-token', '--free', '--label', label, '--so-pin', '10293847', '--pin', pin)
    this.pinFile = this.secret('pin', pin)
  }

  util (...args) { return execFileSync('softhsm2-util', args, { env: { ...process.env, SOFTHSM2_CONF: this.conf }, stdio: ['ignore', 'pipe', 'pipe'] }) }

  secret (name, text, mode = 0o600) {
    const file = path.join(this.dir, name)
    fs.writeFileSync(file, `${text}\n`, { mode })
    fs.chmodSync(file, mode)
    return file
  }

  // Puts the key of this file under a name; the file is gone afterwards.
  take (file, object, id = '01') {
    const plain = `${file}.p8`
    execFileSync('openssl', ['pkcs8', '-topk8', '-nocrypt', '-in', file, '-out', plain])
    this.util('--import', plain, '--token', this.label, '--label', object, '--id', id, '--pin', this.pin)
    for (const f of [plain, file]) fs.rmSync(f)
    return this.uri(object)
  }

  uri (object, pinFile = this.pinFile) { return `pkcs11:token=${this.label};object=${object};type=private${pinFile ? `?pin-source=file:${pinFile}` : ''}` }

  // An element of tls.providers; `change` overrides members.
  row (change = {}) {
    return { name: 'pkcs11', module: providerModule(), parameters: { 'pkcs11-module-path': this.module }, environment: { SOFTHSM2_CONF: this.conf }, reads: [this.dir], writes: [this.store], ...change }
  }
}
