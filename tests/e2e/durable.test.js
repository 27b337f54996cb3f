// Which routes may run on a store that can lose acknowledged work? Those whose tools all read. A profile with any other tool is refused by
// --check-config, at the start and at a reload, while store.fsync is everysec.
import fs from 'node:fs'
import { spawnSync } from 'node:child_process'
import { test, before, after, assert } from './lib/suite.js'
import { Broker, BATOND, profile } from './lib/broker.js'
import { denied, read } from './lib/agent.js'

const reads = { allowed: ['orders.lookup'], spec: { 'orders.lookup': { scopes: ['orders:read'], side_effect: 'read' } } }
const withTool = (name, spec, list = 'allowed') => ({ ...reads, [list]: [...(reads[list] || []), name], spec: { ...reads.spec, ...(spec && { [name]: { scopes: [], ...spec } }) } })
const b = new Broker({ fsync: 'everysec', profiles: { only: profile('only', { tools: reads }) } })
let planner, worker

before(async () => { [planner, worker] = await b.startWith('planner', 'worker') })
after(() => b.remove())

const write = (tools) => fs.writeFileSync(b.path('profiles', 'only.json'), JSON.stringify(profile('only', { tools })))
const batond = (...more) => spawnSync(BATOND, [...more, '--config', b.path('baton.yaml')], { encoding: 'utf8', env: { PATH: process.env.PATH }, timeout: 20000 })
const check = () => batond('--check-config')

for (const [what, tools, pinned] of [
  ['drafts', withTool('x.y', { side_effect: 'draft' }), 'draft'],
  ['writes', withTool('x.y', { side_effect: 'write' }), 'write'],
  ['sends', withTool('x.y', { side_effect: 'external_send' }), 'external_send'],
  ['says nothing of what it does', withTool('x.y'), 'write (it has no spec)'],
  ['drafts once it is approved', withTool('x.y', { side_effect: 'draft' }, 'approval_required'), 'draft']
]) {
  test(`--check-config: a tool that ${what} is refused under everysec, with profile, tool, key and fix / under always it is taken`, () => {
    write(tools)
    const bad = check()
    assert.equal(bad.status, 78)
    assert.match(bad.stderr, new RegExp(`profiles/only\\.json: tools: x\\.y is pinned ${pinned.replace(/[()]/g, '\\$&')}, and store\\.fsync is everysec.*Set store\\.fsync: always, or tools\\.spec\\.x\\.y\\.side_effect: read`))
    b.writeConfig((t) => t.replace('fsync: everysec', 'fsync: always'))
    const always = check()
    b.writeConfig()
    assert.equal(always.status, 0, always.stderr)
    write(withTool('x.y', { side_effect: 'read' }))
    assert.equal(check().status, 0)
    write(reads)
    assert.equal(check().status, 0)
  })
}

test('A start under everysec with a tool that drafts ends with the same words, and accepts nothing', async () => {
  const other = new Broker({ fsync: 'everysec' })
  try {
    await other.prepare()
    const r = spawnSync(BATOND, ['--config', other.path('baton.yaml')], { encoding: 'utf8', env: { PATH: process.env.PATH }, timeout: 20000 })
    assert.equal(r.status, 78)
    assert.match(r.stderr, /batond: .*support_refund_assistant\.json: tools: .*store\.fsync is everysec/)
  } finally {
    await other.remove()
  }
})

test('Under everysec what only reads is served; a reload that adds a tool that drafts keeps the old configuration / one that adds a reading tool is taken', async () => {
  const cycle = async (more) => {
    await planner.submit(read('only', more))
    const s = await worker.subscribe({ routes: ['only'] })
    assert.equal((await s.complete(await s.delivery())).ok, true)
    await s.leave()
  }
  await cycle()
  write(withTool('notes.draft', { side_effect: 'draft' }))
  assert.match(await b.reloaded('deny'), /only\.json: tools: notes\.draft is pinned draft, and store\.fsync is everysec/)
  await denied(planner.submit({ route: 'only', tool: 'notes.draft' }), 'tool_denied')
  await cycle()
  write(withTool('notes.show', { side_effect: 'read' }))
  await b.reloaded()
  await cycle({ tool: 'notes.show' })
  write(reads)
})
