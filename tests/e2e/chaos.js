// One run of chaos, as tests/chaos asks for it.
import { parseArgs } from 'node:util'
import { chaos } from './lib/chaos.js'

const number = (short) => ({ type: 'string', default: String(short) })
const { values } = parseArgs({ options: { seconds: number(60), nodes: number(3), seed: number(Date.now() % 1000000), json: { type: 'boolean' } } })
const { json, ...options } = Object.fromEntries(Object.entries(values).map(([k, v]) => [k, k === 'json' ? v : Number(v)]))
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
