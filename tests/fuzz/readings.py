"""The quick way to read telemetry takes nothing that the contract refuses, and reads the rest as it does. (T1)"""

from fieldloom_contract import messages, topics
from fieldloom_gateway.ingest import readings
from fuzz.messages import READING
from fuzz.target import Target

FIELDS = ("boot", "seq", "ts", "values", "first")


def parse(data: bytes) -> None:
    quick = readings.decode(data)
    if quick is None:
        return
    records, faults = messages.parse_records(topics.TELEMETRY, data)
    assert not faults
    told = [{name: getattr(one, name) for name in FIELDS} for one in quick]
    assert told == [{name: record[name] for name in FIELDS} for record in records]


SHORT = b'{"boot":1,"seq":1,"ts":1,"values":{"a":null}}'
TARGET = Target(parse, [READING, b"[" + READING + b", " + READING + b"]", SHORT])
