// Does the broker stand a storm? A short one; tests/storm makes longer ones, with every sanitizer.
import { test } from './lib/suite.js'
import { storm } from './lib/storm.js'

test('attack 29: a storm of kicks, reconnects, subscriptions and cancels while Redis, policies and certificates go and come: nothing is lost or left', async () => {
  const seed = Number(process.env.SEED || Date.now() % 1000000)
  console.log(`# storm: SEED=${seed}`)
  console.log(`# storm: ${JSON.stringify(await storm({ seconds: 10, clients: 30, workers: 3, seed }))}`)
}, 120000)
