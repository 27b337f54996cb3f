// What if batond, its Redis or both are killed in the middle of one handoff? Before each call in turn by which anything leaves batond while it is
// submitted, delivered and completed: what was acknowledged is done once, and the same bytes sent again are the same handoff.
// ALL=1 tries every call; without it a share of the time is spent, in an order that SEED repeats.
import { test, assert, sleep, until } from './lib/suite.js'
import { Chaos, judged } from './lib/chaos.js'
import { Sender, Worker } from './lib/chaosclient.js'
import { KillAt } from './lib/faults.js'
import { choices } from './lib/stormclient.js'

const ALL = Boolean(process.env.ALL)
const SHARE_MS = ALL ? 30 * 60000 : 12000
const seed = Number(process.env.SEED || Date.now() % 1000000)
const NEVER = 2 ** 31
const PLAIN = { below: () => 0, chance: () => false, pick: (list) => list[0], among: (list) => list[0][1] } // one client that only does its work

class Points extends Chaos {
  constructor (who, page) {
    super({ seconds: 3000, nodes: 1, seed, only: [], broker: page.broker })
    Object.assign(this, { who, page, places: new Map(), kills: 0 })
  }

  load () {
    this.senders = [new Sender(this.home, 'planner', 0)]
    this.workers = this.names().map((name, i) => new Worker(this.workerHome, name, i + 1))
    for (const c of [...this.senders, ...this.workers]) c.r = PLAIN
    this.sending = []
    this.working = this.workers.map((w) => w.run().catch((e) => { this.broken ||= e }))
  }

  names () { return ['worker'] }
  envelope () { return this.senders[0].envelope() }
  async isDone (id) { return (await this.senders[0].insist((a) => a.get(id))).state === 'HANDOFF_STATE_COMPLETED' }

  async rage () {
    await this.handoff(NEVER)
    await this.handoff(NEVER)
    this.calls = this.page.calls()
    const order = choices(seed)
    const left = Array.from({ length: this.calls + 4 }, (_, i) => i)
    const end = Date.now() + SHARE_MS
    while (left.length && Date.now() < end) await this.handoff(ALL ? left.shift() : left.splice(order.below(left.length), 1)[0])
    this.untried = left.length
  }

  // One from its submission to its end, with a death before the call that follows `pass` others.
  async handoff (pass) {
    const [sender] = this.senders
    const envelope = this.envelope()
    const { redis, first: node } = this.cluster
    this.page.arm(pass)
    const over = { yet: false }
    const mending = this.mend(over)
    try {
      await sender.submit(envelope)
      const id = this.ledger.keys.get(envelope.idempotency_key)
      await until(`the end of ${id}, pass ${pass}`, async () => await this.isDone(id, envelope) && this.workers.every((w) => !w.held.size), 30000)
      if (this.page.fired()) {
        const place = this.page.place()
        this.kills++
        this.places.set(place, (this.places.get(place) || 0) + 1)
        await until('the mending', () => !this.dead())
        await node.ready(30000)
      }
    } finally {
      this.page.disarm()
      over.yet = true
      await mending
    }
  }

  // Somebody is, or is about to be.
  dead () { return this.page.still() || this.cluster.redis.process.signalCode || this.cluster.first.exit }

  // Kills them when batond stands still at the point. Whoever was killed comes back.
  async mend (over) {
    const { redis, first: node } = this.cluster
    while (!over.yet || this.dead()) {
      if (this.page.still()) {
        const dying = this.who.map((name) => ({ batond: node, redis })[name])
        for (const one of dying) one.signal('SIGKILL')
        await Promise.all(dying.map((one) => one.exited))
        this.page.goOn()
      }
      if (redis.process.signalCode) { await redis.exited; await redis.start() }
      if (node.exit) {
        if (node.exit.signal !== 'SIGKILL') throw new Error(`batond ended: ${JSON.stringify(node.exit)}\n${node.log().slice(-3000)}`)
        node.launch()
      }
      await sleep(2)
    }
  }
}

// The same of a broadcast, to two agents.
class News extends Points {
  names () { return this.home.readers }
  envelope () {
    const envelope = { ...super.envelope(), route: this.home.news }
    this.ledger.publish(envelope, this.home.readers)
    return envelope
  }

  async isDone (id, envelope) {
    for (const w of this.workers) {
      const copy = this.ledger.news[envelope.idempotency_key].copies[w.name]
      if (!copy || (await w.insist((a) => a.get(copy))).state !== 'HANDOFF_STATE_COMPLETED') return false
    }
    return true
  }
}

for (const [Kind, what, who] of [[Points, 'handoff', ['batond']], [Points, 'handoff', ['redis']], [Points, 'handoff', ['batond', 'redis']], [News, 'broadcast', ['batond', 'redis']]]) {
  test(`attack 34: ${who.join(' and ')} killed at each point of a ${what}: what was acknowledged is done once, the same bytes are the same handoff`, async () => {
    const page = new KillAt()
    const points = new Kind(who, page)
    try {
      const { bad, kept } = await judged(points)
      console.log(`# ${what}, ${who.join(' and ')}: SEED=${seed}, ${points.kills} deaths at ${points.calls} calls and after, ${points.untried} not tried, ${points.places.size} places`)
      if (ALL) for (const [place, n] of points.places) console.log(`#   ${n} × ${place}`)
      if (bad.length) console.log(`# kept ${kept.join(' ')}`)
      assert.deepEqual(bad.map(([what, against]) => [what, against?.slice(0, 3)]), [])
      assert.ok(points.kills > 0)
    } finally {
      page.remove()
    }
  }, SHARE_MS + 300000)
}
