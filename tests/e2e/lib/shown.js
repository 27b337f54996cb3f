// Where could a secret stand that nobody was to see? All that a node shows or writes, for a test to look through.
import fs from 'node:fs'
import path from 'node:path'

// The regular files of a folder and of those in it.
export const files = (dir) => fs.readdirSync(dir, { withFileTypes: true }).flatMap((e) => {
  const p = path.join(dir, e.name)
  return e.isDirectory() ? files(p) : e.isFile() ? [p] : []
})

// Nothing, and no rights, of one that was renamed meanwhile: what it held stands in the file that it became.
export const content = (f) => { try { return fs.readFileSync(f) } catch (e) { if (e.code !== 'ENOENT') throw e; return Buffer.alloc(0) } }
export const modeOf = (f) => fs.statSync(f, { throwIfNoEntry: false })?.mode ?? 0

// By where it stands: what these nodes log, audit, measure and keep, and what their Redis does.
export async function shownBy (cluster, nodes) {
  const all = {}
  for (const n of nodes) {
    Object.assign(all, { [`log ${n.name}`]: n.log(), [`audit ${n.name}`]: fs.readFileSync(n.path('audit.jsonl')), [`metrics ${n.name}`]: (await n.http('/metrics')).body, [`ready ${n.name}`]: (await n.http('/readyz')).body })
    for (const f of files(n.path('state'))) all[f] = content(f)
  }
  for (const f of files(cluster.redis.dir)) all[f] = content(f)
  return all
}
