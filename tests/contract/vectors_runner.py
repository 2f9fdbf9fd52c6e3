"""Runs the vectors on either interpreter: `run(cases)` returns what failed, in words. No typing, no pytest: boards."""

from binascii import unhexlify

from fieldloom_contract import documents, messages, release, topics, update
from fieldloom_contract.errors import Rejected


def _manifest(payload):
    manifest = documents.parse_manifest(payload)
    assert documents.pack_manifest(manifest) == payload
    return [manifest.head, manifest.entries]


def _key(payload):
    key = release.parse_key(payload)
    assert documents.pack_key(key) == payload
    return [key.serial, key.expires, f"{key.modulus:x}"]


def _root(payload):
    modulus = release.parse_root(payload)
    assert documents.pack_root(modulus) == payload
    return f"{modulus:x}"


def _signed(payload):
    """A modulus, a digest and a signature."""
    modulus = int.from_bytes(payload[:384], "big")
    return release.is_signed(modulus, payload[384:416], payload[416:])


def _chunk(payload):
    chunk = update.unpack_chunk(payload)
    return [chunk.place, chunk.offset, chunk.size, bytes(chunk.data).decode()]


CALLS = {
    "ack": messages.parse_ack,
    "time": messages.parse_time,
    "command": messages.parse_command,
    "state": messages.parse_state,
    "desired": messages.parse_desired,
    "discovery": messages.parse_discovery,
    "topic": lambda payload: list(topics.parse_device(payload.decode())),
    "gateway_topic": lambda payload: list(topics.parse_gateway(payload.decode())),
    "slot": lambda payload: topics.up(payload.decode()),
    "manifest": _manifest,
    "release_key": _key,
    "root": _root,
    "signed": _signed,
    "release_id": lambda payload: release.parse_id(payload.decode()),
    "update_request": update.parse_request,
    "chunk": _chunk,
}


def run(cases):
    return [case["name"] + ": " + fault for case in cases for fault in [check(case)] if fault]


def check(case):
    payload = unhexlify(case["hex"]) if "hex" in case else case["payload"].encode()
    try:
        if case["call"] == "records":
            return check_records(case, payload)
        result = CALLS[case["call"]](payload)
    except Rejected as error:
        return None if error.field == case.get("rejected") else "rejected for " + str(error)
    return None if "rejected" not in case and plain(result) == case["result"] else "gave " + repr(result)


def plain(value):
    """JSON knows no tuples."""
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def check_records(case, payload):
    records, faults = messages.parse_records(case["kind"], payload)
    if "rejected" in case or records != case["records"]:
        return "gave " + repr(records)
    found = [[fault.boot, fault.seq, fault.field] for fault in faults]
    return None if found == case["faults"] else "faults " + repr(faults)
