// How is a file of tests run? Each test(name, fn) in turn, with a time limit; one line each, details of failures, a closing line.
// `node FILE [WORDS]` runs only the tests whose names contain WORDS. tests/run starts one process a file.
import assert from 'node:assert/strict'
import { Worker } from 'node:worker_threads'

process.noDeprecation = true // a TLS server name that is an address

const tests = []
const befores = []
const afters = []
const LIMIT_MS = Number(process.env.BATON_TEST_LIMIT_MS || 40000)

export { assert }
export const test = (name, fn, limit) => tests.push({ name, fn, limit }) // limit in ms
export const before = (fn) => befores.push(fn)
export const after = (fn) => afters.unshift(fn)
// As long as that, where a sanitizer makes everything slower too: for a bound that an honest product never comes near.
export const patience = (ms) => Math.round(ms * LIMIT_MS / 40000)
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

// Waits until fn() answers something truthy and returns that; an exception in fn counts as "not yet" until the time is over.
export async function until (what, fn, ms = 10000) {
  const end = Date.now() + patience(ms)
  let last, late = false
  for (;;) {
    try {
      last = undefined
      const got = await fn()
      if (got) return got
    } catch (e) {
      last = e
    }
    if (late) throw new Error(`waited ${patience(ms)} ms for: ${what}${last ? ` (${last.message})` : ''}`)
    late = Date.now() > end // asked once more: what came while this process stood still is read before that
    await sleep(20)
  }
}

function limited (fn, ms, what) {
  let timer
  const limit = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`${what} took longer than ${ms} ms`)), ms) })
  return Promise.race([Promise.resolve().then(fn), limit]).finally(() => clearTimeout(timer))
}

function show (e) {
  return String((e && e.stack) || e).split('\n').map((l) => '    ' + l).join('\n')
}

async function main () {
  const words = process.argv.slice(2).join(' ')
  const chosen = tests.filter((t) => t.name.includes(words))
  let passed = 0
  let failed = 0
  const step = async (name, fn, counted, ms) => {
    const begun = Date.now()
    try {
      await limited(fn, ms, name)
      if (counted) { passed++; console.log(`ok ${name} (${Date.now() - begun} ms)`) }
      return true
    } catch (e) {
      failed++
      console.log(`not ok ${name} (${Date.now() - begun} ms)\n${show(e)}`)
      return false
    }
  }
  let up = true
  for (const fn of befores) up = up && await step('set-up', fn, false, 60000)
  for (const t of up ? chosen : []) await step(t.name, t.fn, true, t.limit || LIMIT_MS)
  for (const fn of afters) await step('take-down', fn, false, 60000)
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed || !passed ? 1 : 0)
}

// Node 20 can put empty DATA frames into memory without end when a stream is reset (Http2Stream::SubmitRstStream), and hears of nothing meanwhile: it is
// aborted before it has all memory, and tests/run runs the file once more.
const MEMORY_MAX = 4e9
new Worker(`setInterval(() => { if (process.memoryUsage.rss() > ${MEMORY_MAX}) process.kill(process.pid, 'SIGABRT') }, 500)`, { eval: true }).unref()

process.on('unhandledRejection', (e) => { console.log(`not ok unhandled rejection\n${show(e)}`); process.exitCode = 1 })
setImmediate(() => tests.length && main())
