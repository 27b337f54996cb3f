// Which loopback port is free? One below those that the kernel gives to connections, which could take it before it is listened on; from a block of the
// process' own, so that two files of tests that run side by side are not given the same.
import net from 'node:net'

const FIRST = 10000
const BLOCK = 100
const BLOCKS = 220
let given = 0

const isFree = (port) => new Promise((done) => {
  const s = net.createServer()
  s.on('error', () => done(false))
  s.listen(port, '127.0.0.1', () => s.close(() => done(true)))
})

export async function freePort () {
  for (;;) {
    const block = (process.pid + Math.floor(given / BLOCK)) % BLOCKS
    const port = FIRST + block * BLOCK + given++ % BLOCK
    if (await isFree(port)) return port
    if (given > BLOCK * BLOCKS) throw new Error('no port is free')
  }
}
