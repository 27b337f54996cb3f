// One run of containment, as tests/contain asks for it.
import { parseArgs } from 'node:util'
import { Containment, holds } from './lib/contain.js'

const number = (short) => ({ type: 'string', default: String(short) })
const { values } = parseArgs({ options: { nodes: number(3), peers: number(300), rounds: number(10), json: { type: 'boolean' } } })
const { json, ...numbers } = values
const say = json ? () => {} : console.log
const c = new Containment({ ...Object.fromEntries(Object.entries(numbers).map(([k, v]) => [k, Number(v)])), say })

await c.start()
const line = await c.run()
await c.stop()
console.log(JSON.stringify(line))
process.exit(holds(line) ? 0 : 1)
