// Do the README's agents run as they stand? deploy/examples in Node (grpc-js) and in Python (grpcio), crosswise, against a real broker.
import fs from 'node:fs'
import path from 'node:path'
import { execFileSync, spawn } from 'node:child_process'
import { test, before, after, assert, until } from './lib/suite.js'
import { Broker, ROOT, BUILD } from './lib/broker.js'
import { readText } from './lib/wire.js'

const b = new Broker()
const NODE = path.join(ROOT, 'deploy/examples/node')
const PYTHON = path.join(ROOT, 'deploy/examples/python')
const running = []

before(() => b.start())
after(async () => {
  for (const p of running) p.child.kill('SIGKILL')
  await b.remove()
})

async function run (agent, command, file, token) {
  const leaf = b.leaves[agent]
  const env = {
    PATH: process.env.PATH, BATON_ADDR: b.addr, BATON_CA: b.serverCa.cert, BATON_CERT: leaf.cert, BATON_KEY: leaf.key,
    BATON_TOKEN: token || await b.issuer.mint(leaf), BATON_PROTO: path.join(ROOT, 'proto'),
    NODE_PATH: path.join(ROOT, 'tests/e2e/node_modules'), PYTHONPATH: path.join(BUILD, 'python'), PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1'
  }
  const p = { child: spawn(command, [file], { env }), text: '' }
  for (const s of [p.child.stdout, p.child.stderr]) s.on('data', (d) => { p.text += d })
  p.done = new Promise((yes) => p.child.on('exit', (code) => { p.code = code; yes(code) }))
  running.push(p)
  return p
}
const node = (agent, file, token) => run(agent, process.execPath, path.join(NODE, file), token)
const python = (agent, file, token) => run(agent, '/usr/bin/python3', path.join(PYTHON, file), token)

async function handOver (serve, send, said) {
  const worker = await serve()
  const sender = await send()
  assert.equal(await sender.done, 0, sender.text + worker.text)
  if (said) await until('the worker\'s line', () => said.test(worker.text))
  worker.child.kill('SIGTERM')
  await worker.done
  return { worker, sender }
}

test('send.js hands a task to serve.js and prints the result', async () => {
  const { sender } = await handOver(() => node('worker', 'serve.js'), () => node('planner', 'send.js'))
  assert.match(sender.text, /handed off \S{27} trace [0-9a-f]{32}/)
  assert.match(sender.text, /drafting for user-ana/)
  assert.match(sender.text, /result \{"refund":"draft","order":"A-1009","amount":25\}/)
})

test('send.py hands a task to serve.py (half-closed Subscribe, Report) and prints the result', async () => {
  const token = await b.issuer.mint(b.leaves.planner, { sub: 'user-ben' })
  const { sender } = await handOver(() => python('worker', 'serve.py'), () => python('planner', 'send.py', token), /settled/)
  assert.match(sender.text, /HANDOFF_STATE_COMPLETED/)
  assert.match(sender.text, /'refund': 'draft'/)
})

test('B4 one trace id through Python sender, Node worker, events and audit', async () => {
  const token = await b.issuer.mint(b.leaves.planner, { sub: 'user-cem' })
  const { sender } = await handOver(() => node('worker', 'serve.js'), () => python('planner', 'send.py', token))
  const traces = [...sender.text.matchAll(/HANDOFF_STATE_\w+ ([0-9a-f]{32})/g)].map((m) => m[1])
  assert.ok(traces.length >= 3)
  assert.equal(new Set(traces).size, 1)
  await b.audited({ event: 'decision', trace_id: traces[0], subject: 'user-cem' })
  await b.audited({ event: 'handoff.completed', trace_id: traces[0] })
})

test('E1 a denial is readable in both: the reason and the trace id', async () => {
  const bad = await b.issuer.mint(b.leaves.planner, { scope: 'orders:read' })
  for (const p of [await node('planner', 'send.js', bad), await python('planner', 'send.py', bad)]) {
    await p.done
    assert.match(p.text, /missing_scope: /)
    assert.match(p.text, /[0-9a-f]{32}/)
  }
})

test('grpcio loads the stubs of all three protos, with each service and method of them', () => {
  const script = `
from baton.v1 import decision_pb2, handoff_pb2, admin_pb2, handoff_pb2_grpc, admin_pb2_grpc
import grpc
channel = grpc.insecure_channel("127.0.0.1:1")
for pb, stubs in ((handoff_pb2, handoff_pb2_grpc), (admin_pb2, admin_pb2_grpc)):
    for name, service in pb.DESCRIPTOR.services_by_name.items():
        stub = getattr(stubs, name + "Stub")(channel)
        assert hasattr(stubs, "add_" + name + "Servicer_to_server"), name
        print(name, *sorted(m.name for m in service.methods if callable(getattr(stub, m.name))))
print(decision_pb2.Reason.Name(decision_pb2.REASON_MISSING_SCOPE))
`
  const text = execFileSync('/usr/bin/python3', ['-c', script], { encoding: 'utf8', env: { PATH: process.env.PATH, PYTHONPATH: path.join(BUILD, 'python'), PYTHONDONTWRITEBYTECODE: '1' } })
  const want = []
  for (const file of ['handoff', 'admin']) {
    const proto = readText(path.join(ROOT, `proto/baton/v1/${file}.proto`))
    for (const [, name, body] of proto.matchAll(/^service (\w+) \{(.*?)^\}/gms)) want.push([name, ...[...body.matchAll(/^  rpc (\w+)\(/gm)].map((m) => m[1]).sort()].join(' '))
  }
  assert.ok(want.length >= 5)
  assert.deepEqual(text.trim().split('\n').sort(), [...want, 'REASON_MISSING_SCOPE'].sort())
})

test('the README shows exactly these files', () => {
  const readme = readText(path.join(ROOT, 'README.md'))
  for (const dir of [NODE, PYTHON]) {
    for (const f of fs.readdirSync(dir).filter((x) => /^(send|serve|baton|baton_client)\.(js|py)$/.test(x))) {
      assert.ok(readme.includes(readText(path.join(dir, f)).trimEnd()), `README.md does not show ${f} as it stands`)
    }
  }
})
