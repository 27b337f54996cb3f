// The server's private key in a PKCS#11 token, reached through OpenSSL's provider, and nowhere else: who is served, what is refused, what a reload makes of it.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { execFileSync, spawnSync } from 'node:child_process'
import { test as any, before, after, assert, sleep, until } from './lib/suite.js'
import { Broker, BATOND, BUILD } from './lib/broker.js'
import { Token, Tpm, providerModule, tpmParts } from './lib/hsm.js'
import { Ca, thumbprint } from './lib/pki.js'

const brokers = []
const folders = []
let missing // where neither this Debian nor the next can be reached
before(() => { // in one piece, however long it takes
  try {
    providerModule()
    tpmParts()
  } catch (e) { missing = e.message.split('\n')[0] }
})
const test = (name, fn, ms) => any(name, () => (missing ? console.log(`# not tested here: no provider can be had (${missing})`) : fn()), ms)
after(async () => {
  for (const b of brokers) await b.remove()
  for (const f of folders) fs.rmSync(f, { recursive: true, force: true })
})

// AddressSanitizer's runtime ends who loads a library as the provider does.
const ENV = process.env.SANITIZE ? { LD_PRELOAD: path.join(BUILD, 'nodeepbind.so') } : {}
const ASAN = process.env.SANITIZE ? 'verify_asan_link_order=0:' : ''

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })
const events = (b, event) => b.log().split('\n').filter((l) => l.includes(`"event":"${event}"`)).map((l) => JSON.parse(l))
const series = async (b, re) => Number((await b.http('/metrics')).body.match(re)?.[1] || 0)

// A broker whose server's key is in a token that has a folder of its own, outside of the broker's.
async function made (options = {}, kind) {
  const b = new Broker({ ...options, env: { ...options.env, ...ENV }, asan: ASAN })
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hsm-'))
  folders.push(dir)
  brokers.push(b)
  await b.prepare()
  b.token = new Token(dir)
  if (kind) b.server = certify(b, kind)
  b.keyUri = b.token.take(b.server.key, 'server')
  assert.equal(fs.existsSync(b.server.key), false)
  keyed(b)
  return b
}

// Another kind of key than the kit's, of the same CA.
function certify (b, algorithm, name = 'other') {
  const at = (ext) => b.path('pki', `${name}.${ext}`)
  fs.writeFileSync(at('ext'), 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n')
  openssl('req', '-new', '-newkey', ...algorithm, '-nodes', '-subj', `/CN=${name}`, '-keyout', at('key'), '-out', at('csr'))
  openssl('x509', '-req', '-in', at('csr'), '-CA', b.serverCa.cert, '-CAkey', b.serverCa.key, '-CAcreateserial', '-days', '2', '-extfile', at('ext'), '-out', at('pem'))
  fs.chmodSync(at('key'), 0o600)
  return { cert: at('pem'), key: at('key'), thumbprint: thumbprint(at('pem')) }
}

// Writes the configuration with this key and these providers (lines of YAML's flow style, which JSON is).
function keyed (b, { cert = b.server.cert, key = b.keyUri, rows = [b.token.row()], change = (t) => t } = {}) {
  b.writeConfig((t) => change(t.replace(/  cert: .*\n  key: .*\n/, `  cert: ${JSON.stringify(cert)}\n  key: ${JSON.stringify(key)}\n${rows ? `  providers: ${JSON.stringify(rows)}\n` : ''}`)))
}

function check (b) {
  const r = spawnSync(BATOND, ['--check-config', '--config', b.path('baton.yaml')], { encoding: 'utf8', timeout: 20000, env: { ...process.env, ...ENV, ASAN_OPTIONS: ASAN } })
  return { code: r.status, text: r.stdout + r.stderr }
}

// One handshake as an agent: the protocol and whom it met.
function met (b, { port = b.port, leaf = b.leaves.planner } = {}) {
  return new Promise((yes, no) => {
    const s = tls.connect({ host: '127.0.0.1', port, ca: fs.readFileSync(b.serverCa.cert), ALPNProtocols: ['h2'], ...(leaf ? { cert: fs.readFileSync(leaf.cert), key: fs.readFileSync(leaf.key) } : {}) })
    s.setTimeout(10000, () => s.destroy(new Error('timeout')))
    s.on('error', no)
    s.on('close', () => no(new Error('closed')))
    s.on('data', () => { // SETTINGS of HTTP/2: our certificate was taken
      const print = Buffer.from(s.getPeerCertificate().fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')
      yes({ protocol: s.getProtocol(), print })
      s.destroy()
    })
    s.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0')
  })
}

const withOther = (b, name, id) => {
  const leaf = b.serverCa.leaf(name, { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
  return { ...leaf, uri: b.token.take(leaf.key, name, id) }
}

async function handedOn (b) {
  const [planner, worker] = [await b.agent('planner'), await b.agent('worker')]
  const s = await worker.subscribe()
  const { handoff_id } = await planner.submit()
  const d = await s.delivery()
  assert.equal(d.lease.handoff_id, handoff_id)
  assert.equal((await s.complete(d)).ok, true)
  assert.equal((await planner.get(handoff_id)).state, 'HANDOFF_STATE_COMPLETED')
  await s.leave()
  return planner
}

test('I-5 T3 a server whose key is only in a PKCS#11 token serves agents and operators over TLS 1.3, confined as shipped / who has no certificate, or a foreign one, is not let in', async () => {
  const b = await made({ admin: true })
  assert.deepEqual(check(b), { code: 0, text: `${b.path('baton.yaml')}: fine\n` })
  await b.start()
  const [confined] = events(b, 'confine.done')
  assert.equal(confined.seccomp, 'on')
  assert.notEqual(confined.landlock, 'off')
  await handedOn(b)
  const want = { protocol: 'TLSv1.3', print: b.server.thumbprint }
  assert.deepEqual([await met(b), await met(b, { port: b.adminPort })], [want, want])
  await assert.rejects(met(b, { leaf: null }))
  const foreign = new Ca(b.path('pki'), 'foreign', { uri: 'spiffe://acme.example' }).leaf('stranger', { sans: ['URI:spiffe://acme.example/planner'] })
  await assert.rejects(met(b, { leaf: foreign }))
  const [said] = events(b, 'tls.key_elsewhere')
  assert.equal(said.key, 'pkcs11:token=baton;object=server;type=private')
  assert.ok(said.sign_us > 0)
  assert.equal(said.level, said.sign_us * said.handshakes_per_s > 500000 ? 'warn' : 'info') // what workers would wait for it, of a second
  const seen = ['cmdline', 'environ', 'maps'].map((f) => fs.readFileSync(`/proc/${b.process.pid}/${f}`, 'latin1')).join()
  assert.ok(seen.includes(providerModule()), 'its module is loaded')
  for (const text of [seen, b.log(), fs.readFileSync(b.path('audit.jsonl'), 'utf8'), (await b.http('/metrics')).body]) {
    for (const secret of [b.token.pin, 'pin-source', b.token.pinFile]) assert.ok(!text.includes(secret), secret)
  }
  await b.stop()
})

for (const [name, algorithm] of [['RSA', ['rsa:2048']], ['P-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']]]) {
  test(`I-5 a token's key may be ${name}: agents are served`, async () => {
    const b = await made({}, algorithm)
    await b.start()
    await handedOn(b)
    assert.deepEqual(await met(b), { protocol: 'TLSv1.3', print: b.server.thumbprint })
    await b.stop()
  })
}

test('I-5 a key in a TPM, by a handle and a password: agents are served by several workers at once, a reload changes to it / a wrong password or handle is refused', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tpm-'))
  folders.push(dir)
  const t = await new Tpm(dir).start()
  try {
    const b = new Broker({ workers: 4, env: { LD_LIBRARY_PATH: t.libraries } })
    brokers.push(b)
    await b.prepare()
    const file = b.server
    b.server = b.serverCa.leaf('held', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
    openssl('x509', '-req', '-in', b.path('pki', 'held.csr'), '-CA', b.serverCa.cert, '-CAkey', b.serverCa.key, '-CAcreateserial', '-days', '2', '-extfile', b.path('pki', 'held.ext'),
      '-force_pubkey', t.make('hunter2'), '-out', b.server.cert)
    fs.rmSync(b.server.key)
    b.server.thumbprint = thumbprint(b.server.cert)
    const pin = b.path('pki', 'pin')
    fs.writeFileSync(pin, 'hunter2\n', { mode: 0o600 })
    const key = `handle:0x81000001?pass&pin-source=file:${pin}`
    const rows = [t.row()]
    keyed(b, { cert: file.cert, key: file.key, rows })
    await b.start()
    const planner = await b.agent('planner')
    for (const [change, want] of [
      [{ key: `handle:0x81000009?pass&pin-source=file:${pin}` }, /handle:0x81000009: there is no private key of that name/],
      [{ key: 'handle:0x81000001?pass' }, /handle:0x81000001 wants a PIN/],
      [{ key: `handle:0x81000001?pin-source=file:${pin}` }, /handle:0x81000001: the provider does not sign with it: .* its password right/]
    ]) {
      keyed(b, { rows, ...change })
      assert.match(await b.reloaded('deny'), want)
    }
    keyed(b, { rows, key })
    await b.reloaded()
    await Promise.all(Array.from({ length: 6 }, async () => { for (let i = 0; i < 8; i++) assert.equal((await met(b)).print, b.server.thumbprint) }))
    await planner.submit()
    fs.writeFileSync(pin, 'hunter3\n')
    assert.match(await b.reloaded('deny'), /its password right/)
    fs.writeFileSync(pin, 'hunter2\n')
    await b.reloaded()
    assert.equal((await met(b)).print, b.server.thumbprint)
    for (const text of [b.log(), fs.readFileSync(b.path('audit.jsonl'), 'utf8')]) assert.ok(!/hunter[23]/.test(text))
    await b.stop()
  } finally {
    t.stop()
  }
}, 90000)

test('I-5 T3 what is wrong with a key that a URI names is refused before the start, by the name of the field, what it is and what to do, and never with the query or the PIN / the honest one is fine', async () => {
  const b = await made()
  const t = b.token
  for (const [id, object] of [['02', 'other'], ['03', 'two'], ['04', 'two']]) {
    const leaf = b.serverCa.leaf(`k${id}`, {})
    t.take(leaf.key, object, id)
  }
  const file = b.serverCa.leaf('filed', { sans: ['IP:127.0.0.1'], eku: 'serverAuth' })
  const plain = t.uri('server', '')
  const rows = [
    [{ rows: null }, /baton\.yaml:\d+:\d+: tls\.key: a provider of OpenSSL reads pkcs11: URIs, and tls\.providers names none\. List it: providers: \[\{name: pkcs11\}\]/],
    [{ rows: [{ name: 'tpm9' }] }, /tls\.providers: OpenSSL has no provider tpm9: there is no \/.*\/ossl-modules\/tpm9\.so\. Install it, or name its file/],
    [{ rows: [{ name: 'pkcs11', module: '/nonexistent/pkcs11.so' }] }, /tls\.providers\[0\]\.module: \/nonexistent\/pkcs11\.so: No such file/],
    [{ rows: [t.row({ module: b.server.cert })] }, /tls\.providers: pkcs11: .*server\.pem cannot be loaded as a provider of that name: .*invalid ELF header/],
    [{ rows: [t.row({ module: t.module })] }, /tls\.providers: pkcs11: .*libsofthsm2\.so cannot be loaded .*undefined symbol: OSSL_provider_init/],
    [{ rows: [t.row({ parameters: { 'pkcs11-module-path': '/nonexistent.so' } })] }, /tls\.cert, tls\.key: pkcs11:[^?]*: the provider does not open it \(.*\): look at parameters, environment, reads and writes of tls\.providers/],
    [{ key: t.uri('nothing') }, /tls\.cert, tls\.key: pkcs11:token=baton;object=nothing;type=private: there is no private key of that name: correct the URI/],
    [{ key: `pkcs11:token=elsewhere;object=server?pin-source=file:${t.pinFile}` }, /there is no private key of that name/],
    [{ key: t.uri('two') }, /object=two;type=private names more than one private key: add what tells them apart/],
    [{ key: t.uri('other') }, /object=other;type=private is not the key of the certificate: name the key that tls\.cert was made for/],
    [{ cert: file.cert }, /object=server;type=private is not the key of the certificate/],
    [{ key: 'handle:0x81000001' }, /handle:0x81000001: none of tls\.providers \(pkcs11\) reads handle: URIs: list the one that does/],
    [{ key: plain }, /object=server;type=private wants a PIN: put it into a file of mode 0600, and name that: \?pin-source=file:/],
    [{ key: t.uri('server', t.secret('wrong', '55501234')) }, /the PIN of .*\/wrong was not taken: correct it before the next try/],
    [{ key: t.uri('server', t.secret('open', t.pin, 0o644)) }, /tls\.key: pin-source: .*\/open.* has mode 0644, others can reach it: chmod 0600/],
    [{ key: t.uri('server', '/nonexistent/pin') }, /tls\.key: pin-source: \/nonexistent\/pin: No such file or directory\. Put the file there, mode 0600/],
    [{ key: `${plain}?pin-value=${t.pin}` }, /tls\.key: a PIN or password in the URI would stand in the clear: put it into a file of mode 0600, and name that: \?pin-source=file:/],
    [{ key: `${plain};pin-value=${t.pin}` }, /tls\.key: a PIN or password in the URI would stand in the clear/],
    [{ key: `${plain}?pin-source=|cat%20${t.pinFile}` }, /tls\.key: pin-source is file: and an absolute path/],
    [{ key: `${t.uri('server')}&module-path=${t.module}` }, /tls\.key: a URI does not say which module is loaded/],
    [{ key: `file:${file.key}` }, /tls\.key: a file is named by its path alone/],
    [{ rows: [t.row({ parameters: { 'pkcs11-module-token-pin': t.pin } })] }, /tls\.providers\[0\]\.parameters: a PIN or password would stand in the clear/],
    [{ rows: [t.row({ parameters: { 'pkcs11-module-path': '/x$HOME' } })] }, /tls\.providers\[0\]\.parameters: a value has none of/],
    [{ rows: [t.row({ environment: { LD_PRELOAD: '/x.so' } })] }, /tls\.providers\[0\]\.environment: that variable is not a provider's/],
    [{ rows: [t.row({ environment: { OPENSSL_CONF: '/x.cnf' } })] }, /tls\.providers\[0\]\.environment: that variable is not a provider's/],
    [{ rows: [t.row({ environment: { USER_PIN: t.pin } })] }, /tls\.providers\[0\]\.environment: a PIN or password would stand in the clear/],
    [{ rows: [t.row({ writes: ['/'] })] }, /tls\.providers\[0\]\.writes: an absolute path belongs here, and not all that there is/],
    [{ rows: [t.row({ name: 'default' })] }, /tls\.providers\[0\]\.name: default is OpenSSL's own/],
    [{ rows: [t.row(), t.row()] }, /tls\.providers\[1\]: provider pkcs11 stands in the list twice/]
  ]
  for (const [change, want] of rows) {
    keyed(b, change)
    const said = check(b)
    assert.equal(said.code, 78, said.text)
    assert.match(said.text, want)
    for (const secret of [t.pin, '55501234', `=file:${t.pinFile}`]) assert.ok(!said.text.includes(secret), said.text)
  }
  keyed(b)
  assert.equal(check(b).code, 0)
  keyed(b, { cert: file.cert, key: file.key, rows: null }) // as ever
  assert.equal(check(b).code, 0)
  fs.chmodSync(file.key, 0o644)
  assert.match(check(b).text, /filed\.key.* has mode 0644/)
}, 120000)

test('T3 attack 30: nobody at the terminal is asked for a PIN that no file has / with the file there is nothing to ask', async () => {
  const b = await made()
  const typed = () => spawnSync('script', ['-qec', `${BATOND} --check-config --config ${b.path('baton.yaml')}`, '/dev/null'], { encoding: 'utf8', timeout: 20000, env: { ...process.env, ...ENV, ASAN_OPTIONS: ASAN }, input: `${b.token.pin}\n` })
  keyed(b, { key: b.token.uri('server', '') })
  const r = typed()
  assert.deepEqual([r.status, r.signal], [78, null])
  assert.ok(!/enter/i.test(r.stdout), r.stdout)
  assert.match(r.stdout, /wants a PIN/)
  keyed(b)
  assert.equal(typed().status, 0)
})

test('OPENSSL_CONF and the environment of who starts it decide nothing about providers / what the configuration names does', async () => {
  const b = await made({ env: { OPENSSL_CONF: '/nonexistent.cnf', OPENSSL_MODULES: '/nonexistent', PKCS11_PROVIDER_MODULE: '/nonexistent.so', SOFTHSM2_CONF: '/nonexistent.conf' } })
  await b.start()
  assert.equal((await met(b)).print, b.server.thumbprint)
  await b.stop()
})

test('I-5 R-3 from a file to a token and back, and to another key, while agents stay connected: nothing is cut, new connections meet the new certificate', async () => {
  const b = await made({ workers: 4 })
  const file = b.serverCa.leaf('filed', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
  const next = withOther(b, 'next', '05')
  const asFile = { cert: file.cert, key: file.key }
  keyed(b, asFile)
  await b.start()
  assert.deepEqual(events(b, 'tls.key_elsewhere'), [])
  const planner = await b.agent('planner')
  const worker = await b.agent('worker')
  const s = await worker.subscribe({ max_in_flight: 8 })
  const opened = () => series(b, /^baton_connections_closed_total\{.*\} (\d+)$/m)
  for (const [leaf, change] of [[file, asFile], [b.server, {}], [next, { cert: next.cert, key: next.uri }], [file, asFile], [b.server, {}]]) {
    keyed(b, change)
    await b.reloaded()
    await until('it to be met', async () => (await met(b)).print === leaf.thumbprint)
    const { handoff_id } = await planner.submit()
    const d = await s.delivery()
    assert.equal(d.lease.handoff_id, handoff_id)
    assert.equal((await s.complete(d)).ok, true)
    assert.equal(d.attempt, 1)
  }
  assert.ok(!b.audit().some((r) => r.event === 'handoff.lapsed'))
  assert.ok(await opened() >= 0)
  assert.equal(events(b, 'tls.key_elsewhere').length, 3)
  // the PIN's file is watched as a key's file would be
  const n = events(b, 'config.reloaded').length
  b.token.secret('pin', b.token.pin)
  await until('a reload by itself', () => events(b, 'config.reloaded').length > n)
  assert.equal((await met(b)).print, b.server.thumbprint)
  await s.leave()
  await b.stop()
}, 90000)

test('I-5 a reload to a key that is not there, of another certificate, of no provider, or with other providers changes nothing / the next good one does', async () => {
  const b = await made()
  const file = b.serverCa.leaf('filed', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
  const other = withOther(b, 'next', '05')
  await b.start()
  const planner = await b.agent('planner')
  for (const [change, want] of [
    [{ key: b.token.uri('nothing') }, /tls\.key: pkcs11:token=baton;object=nothing;type=private: there is no private key/],
    [{ key: other.uri }, /is not the key of the certificate/],
    [{ key: 'handle:0x81000001' }, /reads handle: URIs/],
    [{ key: `${b.token.uri('server', '')}?pin-value=${b.token.pin}` }, /in the clear/],
    [{ rows: [b.token.row({ parameters: { 'pkcs11-module-path': b.token.module, 'pkcs11-module-quirks': 'no-deinit' } })] }, /^tls\.providers cannot change while batond runs: put it back, or restart/],
    [{ rows: null, cert: file.cert, key: file.key }, /^tls\.providers cannot change while batond runs/]
  ]) {
    keyed(b, change)
    const said = await b.reloaded('deny')
    assert.match(said, want)
    assert.ok(!said.includes(b.token.pin) && !said.includes('pin-source=file:/tmp'), said)
    assert.equal((await met(b)).print, b.server.thumbprint)
    await planner.submit()
  }
  keyed(b, { cert: other.cert, key: other.uri })
  await b.reloaded()
  assert.equal((await met(b)).print, other.thumbprint)
  await planner.submit()
  for (const text of [b.log(), fs.readFileSync(b.path('audit.jsonl'), 'utf8')]) assert.ok(!text.includes(b.token.pin))
  await b.stop()
}, 90000)

test('I-5 a PIN that the token does not take: the file stays in use, at a reload to the token / with the right one it changes', async () => {
  const b = await made()
  const file = b.serverCa.leaf('filed', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
  const pin = b.token.secret('pin', '55501234')
  keyed(b, { cert: file.cert, key: file.key })
  await b.start()
  keyed(b)
  assert.match(await b.reloaded('deny'), new RegExp(`the PIN of ${pin} was not taken.*correct it`))
  assert.equal((await met(b)).print, file.thumbprint)
  assert.match(await b.reloaded('deny'), new RegExp(`the PIN of ${pin} was not taken, and is not tried again`)) // whatever the reload was for: tokens lock
  fs.utimesSync(pin, new Date(), new Date())
  assert.match(await b.reloaded('deny'), /was not taken.*correct it/)
  b.token.secret('pin', b.token.pin)
  await b.reloaded()
  assert.equal((await met(b)).print, b.server.thumbprint)
  assert.ok(!b.log().includes('55501234'))
  await b.stop()
})

test('Many handshakes on four workers at once, while the key is loaded anew: each is signed, none is wrong', async () => {
  const b = await made({ workers: 4 })
  await b.start()
  let done = 0
  const one = async () => { for (let i = 0; i < 40; i++) { assert.equal((await met(b)).print, b.server.thumbprint); done++ } }
  const all = Promise.all(Array.from({ length: 12 }, one))
  for (let i = 0; i < 4; i++) { await b.reloaded(); await sleep(100) }
  await all
  assert.equal(done, 480)
  assert.equal(await series(b, /^baton_handshakes_total\{.*result="own_key".*\} (\d+)$/m), 0)
  await b.stop()
}, 90000)

test('landlock(7) a token in a folder that is not named is out of the provider\'s reach: batond says so and does not start / with it under writes it serves', async () => {
  const b = await made()
  if (spawnSync(path.join(BUILD, 'confine_probe'), ['landlock'], { encoding: 'utf8' }).stdout.trim() === '0') return console.log('# not tested here: this kernel has no Landlock')
  const beside = fs.mkdtempSync(path.join(os.tmpdir(), 'pin-')) // the folder of the PIN may be read, and so may be what is below
  folders.push(beside)
  const pin = path.join(beside, 'pin')
  fs.writeFileSync(pin, `${b.token.pin}\n`, { mode: 0o600 })
  const conf = path.join(beside, 'softhsm.conf')
  fs.copyFileSync(b.token.conf, conf)
  const row = (change) => b.token.row({ environment: { SOFTHSM2_CONF: conf }, ...change })
  keyed(b, { key: b.token.uri('server', pin), rows: [row({ reads: [], writes: [] })] })
  assert.equal(check(b).code, 0) // who checks is not confined
  b.launch()
  await b.exited
  assert.equal(b.exit.code, 78)
  assert.match(b.log(), /tls\.key: pkcs11:.*(there is no private key|does not open it)/)
  keyed(b, { key: b.token.uri('server', pin), rows: [row({ reads: [] })] })
  await b.start()
  assert.equal((await met(b)).print, b.server.thumbprint)
  await b.stop()
})

test('A token that is taken away: handshakes fail as own_key and are counted, who is connected goes on / a file takes its place at a reload', async () => {
  const b = await made()
  const file = b.serverCa.leaf('filed', { sans: ['DNS:localhost', 'IP:127.0.0.1'], eku: 'serverAuth' })
  await b.start()
  const planner = await b.agent('planner')
  await planner.submit()
  for (const f of fs.readdirSync(b.token.store, { recursive: true })) if (/(?<!token)\.object$/.test(f)) fs.rmSync(path.join(b.token.store, f))
  withOther(b, 'next', '05') // SoftHSM looks again at what there is when something came
  await assert.rejects(met(b))
  await until('it to be counted', async () => await series(b, /^baton_handshakes_total\{.*result="own_key".*\} (\d+)$/m) >= 1) // the alert is out first
  await planner.submit()
  keyed(b, { cert: file.cert, key: file.key })
  await b.reloaded()
  assert.equal((await met(b)).print, file.thumbprint)
  await b.stop()
})
