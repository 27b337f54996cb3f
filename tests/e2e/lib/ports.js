// Which loopback port is free? One that the kernel just gave and took back.
import net from 'node:net'

export function freePort () {
  return new Promise((yes, no) => {
    const s = net.createServer()
    s.on('error', no)
    s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => yes(port)) })
  })
}
