// What every Node agent shares: copy it once.
const grpc = require('@grpc/grpc-js'), loader = require('@grpc/proto-loader'), fs = require('fs')
const { BATON_ADDR, BATON_CA, BATON_CERT, BATON_KEY, BATON_TOKEN, BATON_PROTO } = process.env
const def = loader.loadSync('baton/v1/handoff.proto', { includeDirs: [BATON_PROTO], longs: Number, enums: String, oneofs: true, keepCase: true })
const creds = grpc.credentials.createSsl(...[BATON_CA, BATON_KEY, BATON_CERT].map(f => fs.readFileSync(f)))
exports.client = new (grpc.loadPackageDefinition(def).baton.v1.HandoffService)(BATON_ADDR, creds)
exports.auth = () => { const m = new grpc.Metadata(); m.set('authorization', 'Bearer ' + BATON_TOKEN); return m }
