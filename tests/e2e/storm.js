// One storm, as tests/storm asks for it.
import { parseArgs } from 'node:util'
import { storm } from './lib/storm.js'

const number = (short) => ({ type: 'string', default: String(short) })
const { values } = parseArgs({
  options: { seconds: number(20), clients: number(40), workers: number(4), seed: number(Date.now() % 1000000), json: { type: 'boolean' } }
})
const { json, ...options } = Object.fromEntries(Object.entries(values).map(([k, v]) => [k, k === 'json' ? v : Number(v)]))
const say = json ? () => {} : console.log

say(`# ${options.seconds} s, ${options.clients} clients, ${options.workers} workers, --seed ${options.seed}`)
const out = await storm(options).catch((e) => {
  say(e.stack)
  process.exitCode = 1
  return e.storm
})
console.log(JSON.stringify(out))
process.exit()
