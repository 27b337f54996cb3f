"""Sends `authorization` as often as told, which grpc-js cannot: twice.py TIMES. Prints the reason, or the handoff's id."""
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
metadata = [("authorization", "Bearer " + os.environ["BATON_TOKEN"])] * int(sys.argv[1])
try:
    print(stub.Submit(b.SubmitRequest(envelope=envelope), metadata=metadata, timeout=10).handoff_id)
except grpc.RpcError as e:
    print(dict(e.trailing_metadata()).get("baton-reason"), e.code().name)
