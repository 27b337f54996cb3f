// How do tests make memory run out in a running batond, or its clock step? By libraries of tests/preload, which a page of memory that is shared
// through a file tells what to do.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { spawnSync } from 'node:child_process'
import { BUILD, ROOT } from './wire.js'

class Page {
  constructor (library, variable) {
    this.file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'bt-page-')), 'page')
    fs.writeFileSync(this.file, Buffer.alloc(4096), { mode: 0o600 })
    this.fd = fs.openSync(this.file, 'r+')
    // for `new Broker()`; a sanitizer's library wants to be the first otherwise
    this.broker = { env: { LD_PRELOAD: path.join(BUILD, library), [variable]: this.file }, asan: 'verify_asan_link_order=0:' }
  }

  put (at, bytes) { fs.writeSync(this.fd, bytes, 0, bytes.length, at) }
  take (at, n) { const b = Buffer.alloc(n); fs.readSync(this.fd, b, 0, n, at); return b }

  remove () {
    fs.closeSync(this.fd)
    fs.rmSync(path.dirname(this.file), { recursive: true })
  }
}

const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b }
const ARMED = 0; const PASS = 4; const STILL = 8; const CALLS = 12; const FIRED = 16; const TEXT = 20

// One that strikes once at one place, and tells where.
class Striker extends Page {
  // numbers: what follows `armed` in the page
  ready (armed, ...numbers) {
    this.before = this.strikes()
    this.put(PASS, Buffer.concat(numbers.map(u32)))
    this.put(ARMED, u32(armed))
  }

  strikes () { return this.take(FIRED, 4).readUInt32LE() }
  fired () { return this.strikes() > this.before }
  disarm () { this.put(ARMED, Buffer.alloc(12)) }

  // Where it struck last: batond's own functions, innermost first.
  place () {
    const frames = this.take(TEXT, 2000).toString('latin1').split('\0')[0].trim().split('\n').map((l) => l.split('+'))
    return frames.filter(([object]) => object.endsWith('batond')).map(([object, offset]) => {
      const r = spawnSync('addr2line', ['-fpe', object, `0x${(Number(offset) - 1).toString(16)}`], { encoding: 'utf8' })
      return (r.stdout || offset).trim().replace(`${ROOT}/broker/`, '')
    }).join(' < ')
  }
}

// See tests/preload/failalloc.c.
export class FailAlloc extends Striker {
  constructor () { super('failalloc.so', 'BATON_FAILALLOC') }

  // The next allocation at a place that has not failed `each` times fails, after `pass` of them; and `then` more of the same thread.
  arm ({ pass = 0, then = 0, each = 1 } = {}) { this.ready(1, pass, then, each) }
}

// See tests/preload/killat.c.
export class KillAt extends Striker {
  constructor () { super('killat.so', 'BATON_KILLAT') }

  // Stands still before the call that follows `pass` others, of those by which anything leaves the process, until goOn().
  arm (pass) { this.ready(1, pass, 0, 0) }
  still () { return this.take(STILL, 4).readUInt32LE() === 1 }
  goOn () { this.put(STILL, u32(0)) }
  calls () { return this.take(CALLS, 4).readUInt32LE() }
}

// See tests/preload/stepclock.c.
export class StepClock extends Page {
  constructor () { super('stepclock.so', 'BATON_STEPCLOCK') }

  // batond's wall clock is this far ahead of the true one, or behind it; of that so much has passed by its monotonic clock too.
  set (seconds, passed = 0) { const b = Buffer.alloc(16); b.writeBigInt64LE(BigInt(seconds)); b.writeBigInt64LE(BigInt(passed), 8); this.put(0, b) }
}
