// What do the tests know of the contract? The .proto files, loaded as agents load them (grpc-js) and, for hostile bytes, by protobufjs.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'
import protobuf from 'protobufjs'

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..')
export const BUILD = process.env.BATON_BUILDDIR || path.join(ROOT, 'build')
const PROTO = path.join(ROOT, 'proto')
const FILES = ['baton/v1/handoff.proto', 'baton/v1/admin.proto', 'grpc/health/v1/health.proto']
const OPTIONS = { includeDirs: [PROTO], longs: Number, enums: String, oneofs: true, keepCase: true, defaults: true }

export const api = grpc.loadPackageDefinition(loader.loadSync(FILES, OPTIONS))

const root = new protobuf.Root()
root.resolvePath = (_, target) => path.join(PROTO, target)
root.loadSync(FILES, { keepCase: true })

export const type = (name) => root.lookupType(name)
export const encode = (name, value) => Buffer.from(type(name).encode(type(name).fromObject(value)).finish())
export const decode = (name, bytes) => type(name).toObject(type(name).decode(bytes), { enums: String, longs: Number, defaults: true })

// Protobuf by hand (protobuf.dev/programming-guides/encoding), for bytes that no library would write.
export function varint (n) {
  const out = []
  let v = BigInt(n)
  do { out.push(Number(v & 127n) | (v > 127n ? 128 : 0)); v >>= 7n } while (v)
  return Buffer.from(out)
}
export const bytesField = (number, value) => Buffer.concat([varint(number << 3 | 2), varint(value.length), Buffer.from(value)])
export const varintField = (number, value) => Buffer.concat([varint(number << 3), varint(value)])

function * fields (bytes) {
  for (let at = 0; at < bytes.length;) {
    const read = () => { let v = 0n; for (let s = 0n; ; s += 7n) { const b = bytes[at++]; v |= BigInt(b & 127) << s; if (b < 128) return Number(v) } }
    const tag = read()
    if ((tag & 7) === 2) { const n = read(); yield [tag >> 3, bytes.subarray(at, at + n)]; at += n } else yield [tag >> 3, read()]
  }
}

// google.rpc.Status out of grpc-status-details-bin, read without its .proto: code, message, details by type.
export function statusDetails (bytes) {
  const status = { details: {} }
  for (const [n, v] of fields(bytes)) {
    if (n === 1) status.code = v
    if (n === 2) status.message = v.toString()
    if (n === 3) {
      const any = Object.fromEntries(fields(v))
      status.details[any[1].toString().split('/').pop()] = any[2]
    }
  }
  if (status.details['baton.v1.Decision']) status.decision = decode('baton.v1.Decision', status.details['baton.v1.Decision'])
  if (status.details['google.rpc.ErrorInfo']) {
    const all = [...fields(status.details['google.rpc.ErrorInfo'])]
    const info = Object.fromEntries(all)
    const entry = (v) => { const kv = Object.fromEntries(fields(v)); return [kv[1].toString(), kv[2].toString()] }
    status.errorInfo = { reason: info[1].toString(), domain: info[2].toString(), metadata: Object.fromEntries(all.filter(([n]) => n === 3).map(([, v]) => entry(v))) }
  }
  return status
}

export const readText = (file) => { try { return fs.readFileSync(file, 'utf8') } catch { return '' } }
export { grpc }
