// Can whoever registers a tenant's agents fill every node's memory with their cards? Two nodes, a cap of a few cards.
import { test, before, after, assert } from './lib/suite.js'
import { ROUTE } from './lib/broker.js'
import { Cluster } from './lib/cluster.js'
import { denied } from './lib/agent.js'
import { Operator } from './lib/operator.js'

const CAP = 100000, SIZE = 30000
const cluster = new Cluster(2, { config: (n, t) => `${t}limits: {card_bytes_per_tenant: ${n.cap ?? CAP}}\n` })
let one, two

before(async () => {
  await cluster.start()
  ;[one, two] = cluster.nodes.map((n) => new Operator(n.adminSocket))
}, 60000)
after(async () => { one?.close(); two?.close(); await cluster.remove() })

// A card of so many bytes, as it is kept.
function card (size, mark = 'x') {
  const of = (description) => JSON.stringify({
    name: 'Carded', description, version: '1', capabilities: {}, defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'], skills: [],
    supportedInterfaces: [{ url: 'https://agents.acme.example/carded', protocolBinding: 'JSONRPC', protocolVersion: '1.0' }]
  })
  return Buffer.from(of(mark.repeat(size - of('').length)))
}
const agent = (name, size, tenant = 'acme', more = {}) => ({ tenant, name, spiffe_id: `spiffe://${tenant}.example/${name}`, owner: 'team-c', may_call: [ROUTE], card: size ? card(size) : Buffer.alloc(0), ...more })
const apply = (agents, op = one, version = '') => op.call('Apply', { resources: [].concat(agents).map((a) => ({ version, agent: a })), reason: 'a test' })
const get = (name, op = one) => op.call('Get', { kind: 'agent', tenant: 'acme', name })
// What is there under the name, changed.
async function change (name, more, op = one) { const { agent, version } = await get(name, op); return apply({ ...agent, ...more }, op, version) }
async function retire (name, op = one) { return op.call('Delete', { ref: { kind: 'agent', tenant: 'acme', name }, version: (await get(name, op)).version, reason: 'a test' }) }
async function tooMuch (call, bytes, place = 0) {
  const r = await denied(call, 'quota_exceeded', 'RESOURCE_EXHAUSTED')
  assert.match(r.message, new RegExp(`resources\\[${place}\\]\\.agent\\.card: with it the cards of tenant acme have ${bytes} bytes, and no more than ${CAP} may \\(limits\\.card_bytes_per_tenant\\): shorten it`))
}
async function kept () {
  let bytes = 0
  for (let token = ''; ;) {
    const page = await one.call('List', { kind: 'agent', tenant: 'acme', page_token: token })
    for (const r of page.resources) bytes += r.agent?.card?.length || 0
    token = page.next_page_token
    if (!token) return bytes
  }
}

test('A-5 the cards of a tenant have a cap together: the one that is too much is refused by its field, on each node, also in one call / agents without one, another tenant, and what fits to the byte are taken', async () => {
  await apply([agent('a', SIZE), agent('b', SIZE), agent('c', SIZE)])
  await tooMuch(apply(agent('d', SIZE)), 4 * SIZE)
  await tooMuch(apply(agent('d', SIZE), two), 4 * SIZE)
  await apply(agent('e', 0), two)
  await tooMuch(apply([agent('f', 6000), agent('g', 4001)]), CAP + 1, 1)
  await denied(get('f'), 'not_found') // all or none
  await apply([agent('f', 6000), agent('g', 4000)], two)
  assert.equal(await kept(), CAP)
  await tooMuch(apply(agent('h', 400)), CAP + 400)
  await apply(agent('d', SIZE, 'globex'))
})

test('A-5 at the cap an agent is quarantined, changed and given a smaller card, and one takes what another gives in one call / a larger card is refused; a quarantined agent is in memory too, a retired one makes room', async () => {
  await change('a', { status: 'AGENT_STATUS_QUARANTINED' })
  await tooMuch(change('b', { card: card(SIZE + 1) }), CAP + 1)
  await change('b', { card: card(SIZE, 'y'), rate_per_s: 7 })
  await change('b', { card: card(SIZE - 1000) })
  await change('c', { card: card(SIZE + 1000) }, two)
  await tooMuch(apply(agent('h', 400)), CAP + 400)
  const [c, f] = [await get('c'), await get('f')]
  await one.call('Apply', { resources: [{ version: c.version, agent: { ...c.agent, card: card(SIZE) } }, { version: f.version, agent: { ...f.agent, card: card(7000) } }], reason: 'a test' })
  assert.equal(await kept(), CAP)
  await retire('a')
  assert.equal((await get('a')).agent.card.length, 0)
  await apply(agent('h', SIZE), two)
  await tooMuch(apply(agent('a', 400)), CAP + 400)
  await retire('h', two)
  await apply(agent('a', SIZE))
  await retire('a')
})

test('A-5 of calls at once on two nodes so many are done as fit, never more / the others are told, and done again fit or are refused', async () => {
  const names = Array.from({ length: 24 }, (_, i) => `r${i}`)
  const at = (i) => (i % 2 ? one : two)
  for (let round = 0; round < 4; round++) {
    const done = await Promise.allSettled(names.map((n, i) => apply(agent(n, SIZE / 3), at(i))))
    assert.ok(done.filter((d) => d.status === 'fulfilled').length <= 3)
    assert.ok(await kept() <= CAP)
    await Promise.allSettled(names.map((n) => retire(n)))
  }
  let fit = 0
  for (const [i, n] of names.entries()) fit += await apply(agent(n, SIZE / 3), at(i)).then(() => 1, () => 0)
  assert.equal(fit, 3)
  await tooMuch(apply(agent('late', SIZE / 3), two), CAP + SIZE / 3)
  for (const n of names) await retire(n).catch(() => {})
})

test('A-5 a cap that is lowered takes nothing away, and more is refused / raised by a reload, or 0, more is taken, on the node that was told', async () => {
  const [n] = cluster.nodes
  const tell = async (cap) => { n.cap = cap; n.writeConfig(); await n.reloaded() }
  await tell(1000)
  assert.ok(await kept() > 1000)
  assert.match((await denied(apply(agent('low', 400)), 'quota_exceeded')).message, /no more than 1000 may/)
  await change('b', { rate_per_s: 8 })
  for (const cap of [0, 1 << 20]) {
    await tell(cap)
    await apply(Array.from({ length: 4 }, (_, i) => agent(`more${cap}-${i}`, SIZE)))
  }
  await denied(apply(agent('low', 400), two), 'quota_exceeded')
})

test('A-5 a card that an agent had in an older version is set back within the cap alone: beyond it the rollback is refused whole / once there is room it is taken', async () => {
  const globex = (name, size) => agent(name, size, 'globex')
  const there = (name) => one.call('Get', { kind: 'agent', tenant: 'globex', name })
  await apply([globex('p', SIZE), globex('q', SIZE), globex('r', SIZE)])
  const p = await there('p')
  await apply({ ...p.agent, card: Buffer.alloc(0), rate_per_s: 9 }, one, p.version)
  await apply(globex('s', SIZE))
  await apply(globex('t', 5000))
  const back = () => two.call('Rollback', { ref: { kind: 'agent', tenant: 'globex', name: 'p' }, to_version: p.version, reason: 'a test' })
  const before = await there('d').then(() => SIZE, () => 0)
  const r = await denied(back(), 'quota_exceeded', 'RESOURCE_EXHAUSTED')
  assert.match(r.message, new RegExp(`: agent\\.card: with it the cards of tenant globex have ${before + 4 * SIZE + 5000} bytes`))
  assert.deepEqual([(await there('p')).agent.rate_per_s, (await there('p')).agent.card.length], [9, 0])
  for (const name of ['s', 't']) await one.call('Delete', { ref: { kind: 'agent', tenant: 'globex', name }, version: (await there(name)).version, reason: 'a test' })
  if (before) await one.call('Delete', { ref: { kind: 'agent', tenant: 'globex', name: 'd' }, version: (await there('d')).version, reason: 'a test' })
  await back()
  assert.deepEqual([(await there('p')).agent.rate_per_s, (await there('p')).agent.card.length], [0, SIZE])
})
