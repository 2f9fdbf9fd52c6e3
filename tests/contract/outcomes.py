"""What the contract makes of any bytes, on either interpreter: a value, or the field for which it is rejected.

`main(path)` reads a corpus, `[[call, hex], ...]`, and prints the hex of one outcome a line. No typing: boards.
"""

import json
from binascii import hexlify, unhexlify

from fieldloom_contract import batch, documents, messages, release, topics, update
from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain


def _records(kind):
    def call(payload):
        records, faults = messages.parse_records(kind, payload)
        return [records, [[fault.boot, fault.seq, fault.field] for fault in faults]]

    return call


def _heard(parse):
    """What a board hears is a gateway's word, and held against `plain` where it is written: here, afterwards."""
    return lambda payload: plain(parse(payload), "message")


def _batch(payload):
    sent = batch.unpack(payload)
    return [sent.offset, sent.first, sent.covers, len(sent.records)]


def _chunk(payload):
    chunk = update.unpack_chunk(payload)
    return [chunk.place, chunk.offset, chunk.size, len(chunk.data)]


def _manifest(payload):
    manifest = documents.parse_manifest(payload)
    return [list(manifest.head), [list(entry) for entry in manifest.entries]]


CALLS = {
    "telemetry": _records(topics.TELEMETRY),
    "event": _records(topics.EVENT),
    "result": _records(topics.RESULT),
    "reported": _records(topics.REPORTED),
    "state": messages.parse_state,
    "discovery": messages.parse_discovery,
    "ack": _heard(messages.parse_ack),
    "time": _heard(messages.parse_time),
    "command": _heard(messages.parse_command),
    "desired": _heard(messages.parse_desired),
    "update_request": update.parse_request,
    "chunk": _chunk,
    "manifest": _manifest,
    "release_key": lambda payload: list(release.parse_key(payload)[:2]),
    "batch": _batch,
    "batch_head": lambda payload: list(batch.unpack_head(payload)[1:]),
    "batch_ack": lambda payload: batch.unpack_ack(payload)[1],
}


def outcome(call, payload):
    """Return ["value", it], ["rejected", field], or, which no input may bring about, ["crashed", how]."""
    try:
        return ["value", CALLS[call](payload)]
    except Rejected as error:
        return ["rejected", error.field]
    except Exception as error:  # noqa: BLE001 - that there is none is what is tested
        return ["crashed", repr(error)]


def main(path):
    with open(path) as file:  # noqa: PTH123 - boards have no pathlib
        for call, text in json.load(file):
            print(hexlify(json.dumps(outcome(call, unhexlify(text))).encode()).decode())
