// What does a process have in its memory, as root may see it?
import fs from 'node:fs'

// secret: text or bytes.
export function remembers (pid, secret) {
  const mem = fs.openSync(`/proc/${pid}/mem`, 'r')
  try {
    return fs.readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').some((line) => {
      const [, from, to] = line.match(/^([0-9a-f]+)-([0-9a-f]+) r/) ?? []
      if (!from || line.includes('[v') || parseInt(to, 16) - parseInt(from, 16) > 2 ** 31) return false // vdso, vvar; shadow memory of a sanitizer
      const part = Buffer.alloc(parseInt(to, 16) - parseInt(from, 16))
      try { fs.readSync(mem, part, 0, part.length, parseInt(from, 16)) } catch { return false }
      return part.includes(secret)
    })
  } finally { fs.closeSync(mem) }
}
