// One run of chaos, as tests/chaos asks for it.
import { parseArgs } from 'node:util'
import { chaos, FAULTS } from './lib/chaos.js'

const number = (short) => ({ type: 'string', default: String(short) })
const { values } = parseArgs({ options: { seconds: number(60), nodes: number(3), seed: number(Date.now() % 1000000), only: { type: 'string' }, json: { type: 'boolean' } } })
const { json, only, ...numbers } = values
const options = Object.fromEntries(Object.entries(numbers).map(([k, v]) => [k, Number(v)]))
if (only) options.only = only.split(',')
for (const name of options.only || []) {
  if (FAULTS[name]) continue
  console.error(`tests/chaos: --only ${name}: the faults are ${Object.keys(FAULTS).join(' ')}`)
  process.exit(64)
}
const say = json ? () => {} : console.log

say(`# ${options.seconds} s, ${options.nodes} nodes, --seed ${options.seed}`)
const { line, checks, bad, kept, seen } = await chaos({ ...options, say })
const tell = json ? console.error : console.log
say(`# ${JSON.stringify(seen)}`)
for (const [name, against] of json ? bad : checks) {
  tell(`${against && !against.length ? 'ok' : 'not ok'} ${name}`)
  for (const one of (against || ['not looked at']).slice(0, 10)) tell(`    ${one}`)
}
for (const dir of kept) tell(`# kept ${dir}`)
console.log(JSON.stringify(line))
say(`${checks.length - bad.length} passed, ${bad.length} failed`)
process.exit(bad.length ? 1 : 0)
