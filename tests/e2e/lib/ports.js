// Which loopback port is free? One below those that the kernel gives to connections, which could take it before it is listened on; from a block that is the
// process' own as long as it listens on the block's first port, so that two files of tests that run side by side are not given the same.
import net from 'node:net'

const FIRST = 10000
const BLOCK = 100
const BLOCKS = 220
let block = process.pid, given = BLOCK // of the block before the first
let turn = Promise.resolve()

const listen = (port) => new Promise((done) => {
  const s = net.createServer()
  s.unref().on('error', () => done(null))
  s.listen({ port, host: '127.0.0.1', exclusive: true }, () => done(s))
})

async function nextBlock () {
  for (let tried = 0; tried < BLOCKS; tried++) {
    block = (block + 1) % BLOCKS
    given = 1
    if (await listen(FIRST + block * BLOCK)) return
  }
  throw new Error('no ports are free')
}

async function next () {
  for (;;) {
    if (given === BLOCK) await nextBlock()
    const port = FIRST + block * BLOCK + given++
    const s = await listen(port)
    if (s) return new Promise((done) => s.close(() => done(port)))
  }
}

export function freePort () {
  return (turn = turn.then(next))
}
