"""Sends `authorization` once for each argument, which grpc-js cannot, TOKEN in it standing for the honest token. Prints the reason, or the
handoff's id."""
import os
import sys
import time
import uuid

import grpc
from baton.v1 import handoff_pb2 as b, handoff_pb2_grpc as g


def read(name):
    with open(os.environ[name], "rb") as f:
        return f.read()


creds = grpc.ssl_channel_credentials(read("BATON_CA"), read("BATON_KEY"), read("BATON_CERT"))
stub = g.HandoffServiceStub(grpc.secure_channel(os.environ["BATON_ADDR"], creds))
envelope = b.TaskEnvelope(route="support_refund_assistant", tool="orders.lookup", side_effect=b.SIDE_EFFECT_READ, payload=b"{}",
                          nonce=str(uuid.uuid4()), issued_at_ms=int(time.time() * 1000))
token = os.environ["BATON_TOKEN"]
metadata = [("authorization", value.replace("TOKEN", token)) for value in sys.argv[1:]]
request = b.SubmitRequest(envelope=envelope, access_token=token if os.environ.get("BATON_BESIDE") else "")
try:
    print(stub.Submit(request, metadata=metadata, timeout=10).handoff_id)
except grpc.RpcError as e:
    print(dict(e.trailing_metadata()).get("baton-reason"), e.code().name)
