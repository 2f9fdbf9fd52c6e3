"""Batches and acknowledgements between gateway and cloud, and the records in them. (T5)"""

from fieldloom_cloud.ingest.checked import opened, parsed
from fieldloom_contract import batch
from fieldloom_contract.errors import Rejected
from fieldloom_runtime.compression import deflate
from fuzz.target import Target, chosen, numbered

NOW = 1_790_000_000_000
STREAM = b"s" * 16
TAIL = b'"device":"dev-1","ts":1732380000123,"at":1732380000999,"boot":7,"seq":3'
RECORDS = [
    b'{"kind":"telemetry",' + TAIL + b',"values":{"a":1.5},"tags":{"a":{"unit":"degC"}},"clock":"gateway"}',
    b'{"kind":"event",' + TAIL + b',"type":"door.opened","data":{"a":[1,{"b":null}]}}',
    b'{"kind":"result",' + TAIL + b',"id":"c1","status":"failed","result":{},"error":"no"}',
    b'{"kind":"reported",' + TAIL + b',"version":4,"values":{},"errors":{"led":"no"},"more":true}',
    b'{"kind":"desired",' + TAIL + b',"version":4,"values":{},"patch":"p","error":"no"}',
    b'{"kind":"state",' + TAIL + b',"online":true,"session":"s","facts":{"up":1}}',
    b'{"kind":"expired",' + TAIL + b',"id":"c1"}',
    b'{"kind":"certificate_request",' + TAIL + b',"csr":"MAA="}',
    b'{"kind":"dead_letter",' + TAIL + b',"reason":"no","topic":"t","payload":"","length":3,"was":{"a":1}}',
]
COVERS = [["dev-1", 7, 1, 3], ["dev-2", 1, 5, 5]]


def opened_now(data: bytes) -> object:
    return opened(data, NOW)


def parsed_now(data: bytes) -> object:
    """A record never raises: a dead letter takes its place."""
    try:
        return parsed(data, NOW)
    except Rejected as error:
        raise AssertionError("a record that is refused holds up its stream") from error


SEEDS = [
    [
        batch.pack(STREAM, 17, 3, COVERS, RECORDS),
        batch.pack(STREAM, 1, 1, [], [b"0"]),
        batch.pack(STREAM, 17, 3, COVERS, RECORDS, deflate),
    ],
    [batch.pack_ack(STREAM, 17)],
    RECORDS,
]
TARGET = Target(chosen([opened_now, batch.unpack_ack, parsed_now]), numbered(SEEDS), (Rejected,))
