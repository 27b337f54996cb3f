// Where is a private key that is in no file? In a PKCS#11 token of SoftHSM's, with a folder and a PIN of its own, reached by OpenSSL's PKCS#11 provider; or in a
// TPM, that is a program, swtpm, reached by the provider for TPMs.
import { execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { freePort } from './ports.js'
import { until } from './suite.js'
import { ROOT } from './wire.js'

const MODULES = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so']
let provider

const inPackages = (fn, dir) => execFileSync('bash', ['-c', `. deploy/packages.sh && ${fn} "$1"`, 'bash', dir], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()

// The provider's module; installed when it is not there.
export function providerModule () {
  return (provider ||= inPackages('pkcs11_provider', path.join(ROOT, 'build', 'pkcs11')))
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

const TPM = path.join(ROOT, 'build', 'tpm')
// Unpacked when they are not there.
export const tpmParts = () => inPackages('tpm_parts', TPM)

export class Tpm {
  constructor (dir) {
    this.dir = dir
    this.root = TPM
    const lib = fs.readdirSync(path.join(this.root, 'usr/lib')).map((d) => path.join(this.root, 'usr/lib', d)).find((d) => fs.existsSync(path.join(d, 'ossl-modules/tpm2.so')))
    this.module = path.join(lib, 'ossl-modules/tpm2.so')
    this.libraries = `${lib}:${path.join(lib, 'swtpm')}` // LD_LIBRARY_PATH of whoever loads the module
  }

  // Its second port is the first plus one: those who speak to it expect it there.
  async start () {
    for (let next = 0; next !== this.port + 1; next = await freePort()) this.port = await freePort()
    this.process = spawn(path.join(this.root, 'usr/bin/swtpm'), ['socket', '--tpm2', '--tpmstate', `dir=${this.dir}`, '--server', `type=tcp,port=${this.port}`,
      '--ctrl', `type=tcp,port=${this.port + 1}`, '--flags', 'not-need-init,startup-clear'], { env: { LD_LIBRARY_PATH: this.libraries }, stdio: 'ignore' })
    await until('the TPM', () => { this.tool('getrandom', '-Q', '4', '-o', 'random'); return true })
    return this
  }

  tool (name, ...args) {
    execFileSync(path.join(this.root, 'usr/bin', `tpm2_${name}`), args, { cwd: this.dir, env: { PATH: `${this.root}/usr/bin`, LD_LIBRARY_PATH: this.libraries, TPM2TOOLS_TCTI: `swtpm:port=${this.port}` }, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  // Makes a key in it that this password opens, under a handle: the file of its public half.
  make (password, handle = '0x81000001') {
    const pub = path.join(this.dir, 'pub.pem')
    this.tool('createprimary', '-Q', '-C', 'o', '-c', 'primary')
    this.tool('create', '-Q', '-G', 'ecc256:ecdsa', '-C', 'primary', '-u', 'k.pub', '-r', 'k.priv', '-p', password)
    this.tool('flushcontext', '-t')
    this.tool('load', '-Q', '-C', 'primary', '-u', 'k.pub', '-r', 'k.priv', '-c', 'k')
    this.tool('evictcontrol', '-Q', '-C', 'o', '-c', 'k', handle)
    this.tool('flushcontext', '-t')
    this.tool('readpublic', '-Q', '-c', handle, '-f', 'pem', '-o', pub)
    return pub
  }

  row () { return { name: 'tpm2', module: this.module, environment: { TPM2OPENSSL_TCTI: `swtpm:port=${this.port}` }, reads: [this.root] } }

  stop () { this.process?.kill() }
}
