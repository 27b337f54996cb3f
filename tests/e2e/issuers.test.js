// Whose tokens count, and has the broker their keys? As operators see it: of the configuration, of a provider that is up, down, and up again.
import { spawnSync } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, BATON, ROUTE, profile } from './lib/broker.js'
import { Idp } from './lib/idp.js'
import { refused } from './lib/agent.js'
import { Operator } from './lib/operator.js'
import { STATIC_ISSUER } from './lib/tokens.js'

const b = new Broker({
  admin: true,
  profiles: { [ROUTE]: profile(ROUTE) },
  idp: async (x) => new Idp({ ca: x.serverCa.cert, agentsCa: x.acme.cert, server: x.server, agents: [x.leaves.planner] }).start()
})
const made = []
let local, idp

before(async () => {
  await b.prepare()
  idp = b.idp
  await b.start()
  local = new Operator(b.adminSocket)
  made.push(local)
})
after(async () => { for (const o of made) o.close(); await b.remove() })

const baton = (...args) => spawnSync(BATON, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: b.dir, BATON_ADMIN_ADDR: `unix:${b.adminSocket}`, ASAN_OPTIONS: 'exitcode=99' } })
const says = (...args) => { const r = baton(...args); assert.equal(r.status, 0, r.stdout + r.stderr); return r.stdout }
const get = async (op, name, more) => (await op.call('Get', { kind: 'issuer', name, ...more })).issuer
const list = async (op, more) => (await op.call('List', { kind: 'issuer', ...more })).resources.map((r) => r.issuer.name)

test('I-2 list and show say whose tokens count for whom, and how many keys there are until when', async () => {
  await until('the keys', async () => (await get(local, 'corp')).keys)
  assert.match(says('issuer', 'list'), /^static +https:\S+ +acme,globex +\d+ +static$/m)
  assert.match(says('issuer', 'list', '--utc', '-o', 'wide'), new RegExp(`^corp +${idp.url} +acme +1 +20\\d\\d-\\S+.* +ES256 +certificate$`, 'm'))
  assert.doesNotMatch(says('issuer', 'list', '--tenant', 'globex'), /^corp/m)
  const show = says('issuer', 'show', 'corp')
  for (const line of [/^url: +https:/m, /^tenants: +acme$/m, /^max lifetime: +3600 s$/m, /^keys: +1$/m, /^version: +static: /m]) assert.match(show, line)
  const json = JSON.parse(says('issuer', 'show', 'static', '-o', 'json'))
  assert.deepEqual([json.is_static, json.issuer.url, json.issuer.tenants], [true, STATIC_ISSUER, ['acme', 'globex']])
  const none = baton('issuer', 'show', 'nobody')
  assert.equal(none.status, 1)
  assert.match(none.stderr, /no such issuer.*\n.*baton issuer list/s)
})

test('An issuer whose provider is away has no keys / when it is back it has, and the time until which they are good goes on', async () => {
  await b.stop()
  await idp.stop()
  b.process = null
  const up = b.start().catch((e) => e)
  await until('the admin socket', () => get(local, 'static').then(() => true, () => false))
  assert.deepEqual([(await get(local, 'corp')).keys, Number((await get(local, 'corp')).keys_good_until_ms)], [0, 0])
  assert.match(says('issuer', 'show', 'corp'), /^keys: +none yet: its tokens are refused$/m)
  await idp.restart()
  await until('its keys', async () => (await get(local, 'corp')).keys === 1, 30000)
  assert.ok(Number((await get(local, 'corp')).keys_good_until_ms) > Date.now())
  assert.equal(await up, b)
})

test('Page by page, and what is no page of it is refused', async () => {
  const first = await local.call('List', { kind: 'issuer', page_size: 1 })
  assert.equal(first.resources.length, 1)
  const second = await local.call('List', { kind: 'issuer', page_size: 1, page_token: first.next_page_token })
  assert.deepEqual([first.resources[0].issuer.name, second.resources[0].issuer.name, second.next_page_token], ['static', 'corp', ''])
  assert.match((await refused(local.call('List', { kind: 'issuer', page_token: 'nobody' }))).message, /page_token: /)
  assert.match((await refused(local.call('List', { kind: 'issuer', page_size: 201 }))).message, /page_size: /)
  assert.deepEqual(await list(local, { labels: { a: 'b' } }), [])
})

test('They are changed in the configuration file alone, and that is said', async () => {
  const issuer = { name: 'corp', url: 'https://evil.example' }
  const { message } = await refused(local.call('Apply', { resources: [{ issuer }], reason: 'x' }))
  assert.match(message, /configuration file/)
  const gone = await refused(local.call('Delete', { ref: { kind: 'issuer', tenant: 'acme', name: 'corp' }, version: '1', reason: 'x' }))
  assert.match(gone.message, /configuration file; send SIGHUP/)
  assert.match((await refused(local.call('History', { kind: 'issuer', name: 'corp' }))).message, /no history/)
  assert.match((await refused(local.call('List', { kind: 'banana' }))).message, /kind: .*`issuer`/)
  assert.equal((await get(local, 'corp')).url, idp.url)
})

test('B1 An operator of one tenant sees the issuers that speak for it, and of their tenants that one; the others look as if they were not there', async () => {
  await local.init(b.person('root').spiffe)
  const root = new Operator(b.adminAddr, b.person('root'))
  made.push(root)
  await root.grant('theirs', ['auditor'], b.person('guest').spiffe, { tenant: 'globex' })
  const guest = new Operator(b.adminAddr, b.person('guest'))
  made.push(guest)
  assert.deepEqual(await list(root), ['static', 'corp'])
  assert.deepEqual(await list(guest), ['static'])
  assert.deepEqual((await get(guest, 'static')).tenants, ['globex'])
  const seen = (name, more) => get(guest, name, more).then((m) => JSON.stringify(m), (e) => `${e.code} ${e.details}`)
  assert.equal(await seen('corp'), await seen('nobody'))
  assert.equal(await seen('static', { tenant: 'acme' }), await seen('static', { tenant: 'nowhere' }))
  assert.match(await seen('corp'), /^5 not_found: /)
})
