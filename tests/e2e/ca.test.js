// Does a CA of one's own hold up? The README's five commands as they stand, a real batond on what they make, agents that hand work over, one of them revoked,
// the intermediate rotated.
import fs from 'node:fs'
import path from 'node:path'
import { execFileSync, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BUILD, ROOT, BATON } from './lib/broker.js'
import { Agent, refused } from './lib/agent.js'
import { thumbprint } from './lib/pki.js'
import { readText } from './lib/wire.js'

const at = (...p) => b.path('own', ...p)
const b = new Broker({
  config: (t) => t.replace(/\{domain: acme\.example, bundle: [^}]*\}/, `{domain: acme.example, bundle: ${JSON.stringify(at('ca', 'bundle.pem'))}, crl: ${JSON.stringify(at('ca', 'crl.pem'))}}`)
    .replace(/\{domain: globex\.example, bundle: [^}]*\}/, `{domain: globex.example, bundle: ${JSON.stringify(at('ca', 'bundle.pem'))}}`) // by mistake: the same root
})
const README = readText(path.join(ROOT, 'README.md')).match(/```sh\n(baton ca init[^`]*)```/)[1].trim().split('\n')
const env = { PATH: `${BUILD}:${process.env.PATH}`, BROKER: 'localhost', HOME: '/nonexistent', ASAN_OPTIONS: 'exitcode=99' }
const openssl = (...args) => execFileSync('openssl', args, { cwd: at(), stdio: ['ignore', 'pipe', 'pipe'] })
const root = (to) => fs.renameSync(at(to === 'away' ? 'ca/root' : 'root-offline'), at(to === 'away' ? 'root-offline' : 'ca/root'))

function run (program, args) {
  const child = spawn(program, args, { cwd: at(), env })
  const p = { out: '', err: '' }
  child.stdout.on('data', (d) => { p.out += d })
  child.stderr.on('data', (d) => { p.err += d })
  child.stdin.end()
  return new Promise((yes) => child.on('close', (code) => yes({ ...p, code })))
}
const baton = (...args) => run(BATON, ['ca', ...args])
async function well (promise) {
  const r = await promise
  assert.equal(r.code, 0, r.err)
  return r
}
// The README's command of that verb, the nth.
const command = (verb, nth = 0) => well(run('bash', ['-ec', README.filter((l) => l.startsWith(`baton ca ${verb} `))[nth]]))
const id = (name, domain = 'acme.example') => `spiffe://${domain}/${name}`

// A request as somebody makes it: names is a subjectAltName, more further extensions, each as openssl has it.
function request (name, { names, more = [], key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`], digest = '-sha256' } = {}) {
  const ext = [...(names ? [`subjectAltName=${names}`] : []), ...more].flatMap((e) => ['-addext', e])
  openssl('req', '-new', ...key, digest, '-subj', '/CN=somebody', ...ext, '-out', `${name}.csr`)
  return `${name}.csr`
}

const leafOf = (name, file = name) => ({ name, tenant: 'acme', spiffe: id(name), cert: at(`${file}.pem`), key: at(`${file}.key`), thumbprint: thumbprint(at(`${file}.pem`)) })
async function agent (leaf) {
  const a = new Agent({ ...leaf, trust: at('ca', 'bundle.pem') }, b.addr, {
    token: await b.issuer.mint(leaf), options: { 'grpc.ssl_target_name_override': 'localhost', 'grpc.initial_reconnect_backoff_ms': 60000, 'grpc.max_reconnect_backoff_ms': 60000 }
  })
  b.made ||= []
  b.made.push(a)
  return a
}

async function handOver (from, to) {
  const sub = await to.subscribe()
  const { handoff_id } = await from.submit()
  for (let done; done !== handoff_id;) { // what others submitted may come first
    const d = await sub.delivery()
    await sub.complete(d)
    done = d.lease.handoff_id
  }
  await sub.leave()
  return handoff_id
}

const GRPCIO = `
import grpc, sys
read = lambda name: open(name, "rb").read()
creds = grpc.ssl_channel_credentials(read("ca/bundle.pem"), read("worker.key"), read("worker.pem"))
channel = grpc.secure_channel(sys.argv[1], creds, [("grpc.ssl_target_name_override", "localhost")])
grpc.channel_ready_future(channel).result(10)
channel.close()`

before(async () => {
  await b.prepare()
  fs.mkdirSync(at(), { mode: 0o700 })
  request('planner')
  await command('init')
  root('away') // nothing but the rotation needs it
  await command('issue', 0)
  await command('issue', 1)
  await well(baton('issue', 'ca', '--spiffe-id', id('worker'), '--out', 'worker.pem', '--ttl', '1h'))
  await well(baton('issue', 'ca', '--spiffe-id', id('auditor'), '--out', 'auditor.pem'))
  b.server = { cert: at('batond.pem'), key: at('batond.key') }
  b.writeConfig()
  await b.start()
})
after(() => b.remove())

test('I-5 B4 a CA of your own in five commands: server, agents and list are of it, and two agents hand work over', async () => {
  const [planner, worker] = [await agent(leafOf('planner')), await agent(leafOf('worker'))]
  await handOver(planner, worker)
  assert.equal((await planner.whoami()).agent.name, 'planner')
  await well(run('/usr/bin/python3', ['-c', GRPCIO, b.addr])) // another TLS library believes the chain too
  const cert = new X509Certificate(fs.readFileSync(at('planner.pem')))
  assert.equal(cert.subjectAltName, `URI:${id('planner')}`)
  assert.equal(cert.subject || '', '', 'nothing of the request but its key')
  assert.ok(cert.checkPrivateKey((await import('node:crypto')).createPrivateKey(fs.readFileSync(at('planner.key')))))
  const lives = Date.parse(cert.validTo) - Date.now()
  assert.ok(lives > 23.9 * 3600e3 && lives <= 24 * 3600e3, `${lives} ms`)
  assert.ok(Date.now() - Date.parse(cert.validFrom) < 10 * 60e3)
  openssl('verify', '-x509_strict', '-crl_check_all', '-CRLfile', 'ca/crl.pem', '-CAfile', 'ca/bundle.pem', '-untrusted', 'planner.pem', 'planner.pem')
  openssl('verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'localhost', '-CAfile', 'ca/bundle.pem', '-untrusted', 'batond.pem', 'batond.pem')
})

test('I-5 attack 4: a request for another agent\'s name, or that its key did not sign, or that asks for more, gets no certificate / an honest one does', async () => {
  const forged = openssl('req', '-in', request('forged'), '-outform', 'DER')
  forged[forged.length - 1] ^= 1
  fs.writeFileSync(at('forged.csr'), forged)
  const bad = [
    ['forged.csr', /does not hold the key/],
    [request('other', { names: `URI:${id('auditor')}` }), /another URI/],
    [request('foreign', { names: `URI:${id('planner', 'globex.example')}` }), /another URI/],
    [request('two', { names: `URI:${id('planner')},URI:${id('auditor')}` }), /2 URIs/],
    [request('dns', { names: `URI:${id('planner')},DNS:localhost` }), /another kind of name/],
    [request('ca', { more: ['basicConstraints=critical,CA:TRUE'] }), /basicConstraints/],
    [request('usage', { more: ['keyUsage=keyCertSign'] }), /keyUsage/],
    [request('weak', { key: ['-newkey', 'rsa:1024', '-nodes', '-keyout', 'weak.key'] }), /weak/],
    [request('old', { digest: '-sha1' }), /SHA-256/],
    ['planner.pem', /request/]
  ]
  const issued = readText(at('ca', 'issued'))
  for (const [file, why] of bad) {
    const r = await baton('issue', 'ca', '--spiffe-id', id('planner'), '--csr', file, '--out', 'none.pem')
    assert.equal(r.code, 77, `${file}: ${r.err}`)
    assert.match(r.err, why, file)
  }
  assert.ok(!fs.existsSync(at('none.pem')))
  assert.equal(readText(at('ca', 'issued')), issued)
  for (const names of [undefined, `URI:${id('planner')}`]) {
    const r = await well(baton('issue', 'ca', '--spiffe-id', id('planner'), '--csr', request('honest', { names })))
    assert.equal(r.out.match(/BEGIN CERTIFICATE/g).length, 2, 'leaf and intermediate')
    assert.equal(new X509Certificate(r.out).subjectAltName, `URI:${id('planner')}`)
  }
})

test('I-5 what the CA may not vouch for it does not issue: ids, domains, servers and times / what it may, it does', async () => {
  const no = async (code, why, ...args) => {
    const r = await baton('issue', 'ca', '--out', 'no.pem', ...args)
    assert.equal(r.code, code, r.err)
    assert.match(r.err, why)
    assert.ok(!fs.existsSync(at('no.pem')) && !fs.existsSync(at('no.key')))
  }
  for (const bad of [id('*'), id('pl\u0430nner'), id('plan\nner'), id('../x'), id('x'.repeat(2048)), 'planner', 'https://acme.example/x', 'spiffe://acme.example']) await no(77, /SPIFFE id|path|workload/, '--spiffe-id', bad)
  await no(77, /another trust domain/, '--spiffe-id', id('gplanner', 'globex.example'))
  await no(77, /name constraints/, '--spiffe-id', id('batond2'), '--dns', 'bank.example')
  await no(77, /name constraints/, '--spiffe-id', id('batond2'), '--ip', '127.0.0.1')
  await no(77, /no DNS name/, '--spiffe-id', id('batond2'), '--dns', '*.localhost')
  await no(64, /at most 30d/, '--spiffe-id', id('planner'), '--ttl', '31d')
  await no(64, /needs --spiffe-id/)
  const before = Date.now()
  await well(baton('issue', 'ca', '--spiffe-id', id('x'.repeat(2048 - 22)), '--out', 'long.pem'))
  assert.ok(Date.parse(new X509Certificate(fs.readFileSync(at('long.pem'))).validFrom) + 5 * 60e3 >= before, 'not of before an agent that was registered a moment ago')
  await well(baton('issue', 'ca', '--spiffe-id', id('batond2'), '--dns', 'localhost,a.localhost', '--out', 'second.pem', '--ttl', '30d'))
  assert.match(new X509Certificate(fs.readFileSync(at('second.pem'))).subjectAltName, /DNS:localhost, DNS:a\.localhost/)
  await well(baton('init', 'brief', '--trust-domain', 'acme.example', '--intermediate-days', '1'))
  const late = await baton('issue', 'brief', '--spiffe-id', id('planner'), '--ttl', '25h', '--out', 'no.pem')
  assert.equal(late.code, 77)
  assert.match(late.err, /longer than the intermediate, which ends .*--ttl \d+s at most, or baton ca rotate/)
})

test('I-8 the keys of the CA stand in files of mode 0600 and nowhere else; nothing is overwritten, nothing half made', async () => {
  const files = execFileSync('find', ['.', '-type', 'f', '-printf', '%m %p\n'], { cwd: at() }).toString().trim().split('\n').map((l) => l.split(' '))
  const secret = (p) => /PRIVATE KEY/.test(readText(at(p)))
  for (const [mode, p] of files.filter(([, p]) => !/^\.\/(forged|other|foreign|two|dns|ca|usage|weak|old|honest|planner)\.key$/.test(p))) if (secret(p)) assert.equal(mode, '600', p)
  assert.ok(!files.some(([, p]) => p.endsWith('.tmp')))
  assert.equal(fs.statSync(at('ca')).mode & 0o777, 0o700)
  const tree = () => execFileSync('sh', ['-c', 'find . -type f -exec sha256sum {} + | sort'], { cwd: at() }).toString()
  const before = tree()
  for (const [args, why] of [[['init', 'ca', '--trust-domain', 'acme.example'], /something is there already/], [['init', 'planner.pem', '--trust-domain', 'acme.example'], /something is there already/],
    [['init', 'new', '--trust-domain', 'ACME.example'], /trust domain/], [['init', 'new', '--trust-domain', 'acme.example', '--dns', 'a_b'], /no DNS name/],
    [['init', 'new', '--trust-domain', 'acme.example', '--root-days', '30'], /longer than the CA/],
    [['issue', 'ca', '--spiffe-id', id('worker'), '--out', 'worker.pem'], /no key is overwritten/], [['issue', 'none', '--spiffe-id', id('worker'), '--out', 'w.pem'], /there is no CA/]]) {
    const r = await baton(...args)
    assert.ok([66, 77, 78].includes(r.code), `${args}: ${r.code}`)
    assert.match(r.err, why)
    assert.ok(!/PRIVATE/.test(r.out + r.err))
  }
  assert.equal(tree(), before)
})

test('Twelve at once are all issued, each under its own serial number and a whole line of the record', async () => {
  const all = await Promise.all(Array.from({ length: 12 }, (_, i) => well(baton('issue', 'ca', '--spiffe-id', id(`many${i}`), '--out', `many${i}.pem`, '-o', 'json'))))
  const lines = readText(at('ca', 'issued')).trim().split('\n').map((l) => l.split(' '))
  for (const [i, r] of all.entries()) {
    const said = JSON.parse(r.out)
    const line = lines.filter(([serial]) => serial === said.serial)
    assert.deepEqual(line.map((l) => l.slice(2)), [[said.not_after, said.sha256, id(`many${i}`)]])
    assert.equal(Buffer.from(thumbprint(at(`many${i}.pem`)), 'base64url').toString('hex'), said.sha256)
  }
  assert.equal(new Set(lines.map(([serial]) => serial)).size, lines.length)
})

test('T5 I-5 the intermediate\'s key alone makes no agent of another trust domain, though its root is trusted there / of its own domain it does', async () => {
  const current = `ca/intermediates/${readText(at('ca', 'current'))}`
  const forge = (name, domain) => {
    request(name)
    fs.writeFileSync(at(`${name}.ext`), `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectAltName=URI:${id(name, domain)}\n`)
    openssl('x509', '-req', '-in', `${name}.csr`, '-CA', `${current}.pem`, '-CAkey', `${current}.key`, '-set_serial', '77', '-days', '1', '-extfile', `${name}.ext`, '-out', `${name}.pem`)
    fs.appendFileSync(at(`${name}.pem`), fs.readFileSync(at(`${current}.pem`)))
    fs.chmodSync(at(`${name}.key`), 0o600)
    return { ...leafOf(name), tenant: domain.split('.')[0] }
  }
  const count = async () => Number((await b.http('/metrics')).body.match(/^baton_handshakes_total\{.*result="certificate:untrusted_chain".*\} (\d+)/m)?.[1] || 0)
  const n = await count()
  const stranger = await agent(forge('gplanner', 'globex.example'))
  assert.equal((await refused(stranger.submit({}, { timeout: 20000 }))).code, 'UNAVAILABLE')
  stranger.close()
  await until('the refusal to be counted', async () => await count() > n)
  assert.equal((await (await agent(forge('bystander', 'acme.example'))).whoami()).agent.name, 'bystander')
})

test('I-7 R-3 attack 12: a certificate that baton ca crl revokes: its connection closes, it is refused on new ones / its neighbours go on', async () => {
  const number = async () => JSON.parse((await well(baton('crl', 'ca', '-o', 'json'))).out)
  const [planner, auditor] = [await agent(leafOf('planner')), await agent(leafOf('auditor'))]
  const mine = planner.watch((await planner.submit()).handoff_id)
  const other = auditor.watch((await auditor.submit()).handoff_id)
  for (const w of [mine, other]) await w.take('the first event')
  const was = await number()
  assert.equal(was.revoked, '0')
  await command('crl')
  await b.reloaded()
  await until('the open connection to close', () => mine.ended)
  assert.match((await b.http('/metrics')).body, /baton_connections_closed_total\{.*why="certificate:revoked"\} [1-9]/)
  const again = await agent(leafOf('planner'))
  assert.equal((await refused(again.submit({}, { timeout: 20000 }))).code, 'UNAVAILABLE')
  assert.equal(other.ended, null)
  await auditor.submit()
  const now = await number()
  assert.ok(BigInt(now.number) > BigInt(was.number))
  assert.equal(now.revoked, '1', 'it stays on the next list')
  const serial = readText(at('ca', 'issued')).split('\n').find((l) => l.endsWith('/auditor')).split(' ')[0]
  for (const [name, why] of [['00'.repeat(16), /was issued here/], ['none.pem', /none\.pem/], [b.leaves.planner.cert, /of this CA|issued here/], ['ca/bundle.pem', /the root/]]) {
    const r = await baton('crl', 'ca', '--revoke', serial, '--revoke', name)
    assert.equal(r.code, 1, r.err)
    assert.match(r.err, why)
  }
  assert.equal((await number()).revoked, '1', 'all that is named, or nothing')
  const copy = await well(baton('crl', 'ca', '--revoke', serial.toUpperCase(), '--revoke', 'planner.pem', '--reason', 'superseded', '--days', '3', '--out', 'copy.pem', '-o', 'json'))
  assert.equal(JSON.parse(copy.out).revoked, '2')
  assert.equal(readText(at('copy.pem')), readText(at('ca', 'crl.pem')))
  await b.reloaded()
  await until('the second to be closed', () => other.ended)
})

test('I-5 I-7 baton ca rotate: leaves of the new intermediate and of the old are served by the same bundle, and can be revoked / without the root nothing changes', async () => {
  const bundle = readText(at('ca', 'bundle.pem'))
  const old = readText(at('ca', 'current'))
  const none = await baton('rotate', 'ca')
  assert.equal(none.code, 66)
  assert.match(none.err, /root's key is offline: ca\/root\/root\.key is not there/)
  assert.equal(readText(at('ca', 'current')), old)
  const worker = await agent(leafOf('worker'))
  const standing = await worker.subscribe()
  root('back')
  await command('rotate')
  root('away')
  assert.notEqual(readText(at('ca', 'current')), old)
  assert.equal(readText(at('ca', 'bundle.pem')), bundle)
  await well(baton('issue', 'ca', '--spiffe-id', id('planner'), '--out', 'planner2.pem', '--csr', request('planner2')))
  await well(baton('issue', 'ca', '--spiffe-id', id('batond'), '--dns', 'localhost', '--out', 'batond2.pem')) // may vouch for what the old one might
  await b.reloaded()
  assert.equal(standing.ended, null, 'nobody is cut')
  await standing.leave()
  const planner = await agent(leafOf('planner', 'planner2'))
  await handOver(planner, worker)
  b.server = { cert: at('batond2.pem'), key: at('batond2.key') }
  b.writeConfig()
  await b.reloaded()
  await handOver(await agent(leafOf('planner', 'planner2')), await agent(leafOf('worker')))
  const mine = planner.watch((await planner.submit()).handoff_id)
  await mine.take('the first event')
  await well(baton('crl', 'ca', '--revoke', 'planner2.pem', '--revoke', 'many0.pem')) // of both
  await b.reloaded()
  await until('the connection to close', () => mine.ended)
  await (await agent(leafOf('worker'))).whoami()
  root('back')
  await well(baton('crl', 'ca', '--revoke', `ca/intermediates/${old}.pem`)) // all that the old one issued, at once
  root('away')
  await b.reloaded()
  assert.equal((await refused((await agent(leafOf('worker'))).unary('WhoAmI', {}, { timeout: 20000 }))).code, 'UNAVAILABLE')
  await well(baton('issue', 'ca', '--spiffe-id', id('auditor'), '--out', 'auditor2.pem'))
  assert.equal((await (await agent(leafOf('auditor', 'auditor2'))).whoami()).agent.name, 'auditor')
})
