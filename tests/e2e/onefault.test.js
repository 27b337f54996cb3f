// What if one thing fails and nothing else? Each fault of chaos by itself, again and again while good clients work on two nodes: what was
// acknowledged is done, once, and nothing of it is left behind.
import { test, assert } from './lib/suite.js'
import { chaos } from './lib/chaos.js'

const SECONDS = 3
const FAULTS = {
  redis_kill: 'Redis killed: the connection is refused until it is there again',
  redis_loading: 'Redis loads its log for seconds, and says so to everybody',
  redis_readonly: 'Redis is a replica all at once and takes no writes',
  redis_full: 'Redis is out of memory',
  redis_stop: 'Redis hangs',
  redis_rewrite: 'Redis killed while it writes its log anew',
  store_slow: 'Redis is 300 ms farther away each way',
  store_hole: 'The network swallows what goes to Redis and back',
  store_deaf: 'Redis does what it is told and no answer comes back',
  store_reset: 'Connections to Redis are cut, and new ones too',
  node_kill: 'A node is killed',
  node_stop: 'A node hangs'
}

for (const [only, what] of Object.entries(FAULTS)) {
  test(`${what} (${only}): nothing that was acknowledged is lost, done twice or taken twice`, async () => {
    const seed = Number(process.env.SEED || Date.now() % 1000000)
    const said = []
    const { line, bad, kept } = await chaos({ seconds: SECONDS, nodes: 2, seed, only: [only], say: (text) => said.push(text) })
    console.log(`# ${JSON.stringify(line)}`)
    if (bad.length) console.log(`# SEED=${seed}, kept ${kept.join(' ')}\n${said.join('\n')}`)
    assert.deepEqual(bad.map(([name, against]) => [name, against?.slice(0, 3)]), [])
    assert.ok(line.faults[only] > 0)
  }, 180000)
}
