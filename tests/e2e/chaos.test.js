// Do several nodes keep their promises while they, their Redis and their network fail? One short run; tests/chaos makes longer ones.
import { test, assert } from './lib/suite.js'
import { chaos } from './lib/chaos.js'

test('Three nodes on one Redis, killed, stopped, parted and drained for a minute: nothing is lost, done twice or taken twice', async () => {
  const seed = Number(process.env.SEED || Date.now() % 1000000)
  const said = []
  const { line, bad, kept } = await chaos({ seconds: 60, nodes: 3, seed, say: (text) => said.push(text) })
  console.log(`# chaos: ${JSON.stringify(line)}`)
  if (bad.length) console.log(`# chaos: SEED=${seed}, kept ${kept.join(' ')}\n${said.join('\n')}`)
  assert.deepEqual(bad.map(([name, against]) => [name, against?.slice(0, 3)]), [])
}, 600000)
