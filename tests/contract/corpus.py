"""Bad input by seed: good messages of every kind with a field spoilt, bytes changed, cut off or put in."""

import json
import random

from fieldloom_contract import batch, documents, update
from fieldloom_contract.release import Entry, Head, Key

GOOD = {
    "telemetry": [
        {"boot": 7, "seq": 9, "first": 2, "ts": 1732380000123, "values": {"t": 21.5, "on": True, "mode": "auto"}},
        {"values": {"t": 1}},
        [{"boot": 7, "seq": 1, "up": 5, "values": {"t": None}}, {"boot": 7, "seq": 2, "values": {"t": 2}}],
    ],
    "event": [{"boot": 1, "seq": 1, "ts": 5, "type": "door.opened", "data": {"door": {"id": [1, 2]}}}],
    "result": [{"boot": 1, "seq": 1, "ts": 5, "id": "c1", "status": "failed", "error": "no relay", "result": {"a": 1}}],
    "reported": [
        {"boot": 1, "seq": 1, "ts": 5, "version": 4, "values": {"interval": 5}, "errors": {"led": "no"}, "more": True}
    ],
    "state": [{"online": True, "boot": 7, "session": "9f3a", "up": 5120, "firmware": "1.4.0", "heap": {"free": 1}}],
    "discovery": [{"request_id": "r1", "device": {"type": "pump"}}],
    "ack": [{"boot": 7, "seq": 1201}, {"boot": None, "seq": None, "error": "payload: is not JSON", "refused": 99}],
    "time": [{"ts": 1732380000123}],
    "command": [
        {"id": "c1", "type": "write", "parameters": {"name": "relay", "value": True}, "expires": 1732380000123}
    ],
    "desired": [{"version": 4, "values": {"interval": 5}}],
    "update_request": [{"release": "esp32-generic-1.4.0", "file": "files/lib/a.mpy", "offset": 0, "length": 8192}],
}
ENTRIES = [Entry("0a" * 32, 0, "lib/a.mpy"), Entry("ff" * 32, 4711, "release.json")]
GOOD_BYTES = {
    "manifest": documents.pack_manifest(
        documents.Manifest(Head("esp32-generic", (1, 4, 0), "6.3", 1795651200, (1, 2, 0)), ENTRIES)
    ),
    "release_key": documents.pack_key(Key(3, 1795651200, 2**3071 + 1)),
    "chunk": update.pack_chunk("esp32-generic-1.4.0", "key", 2048, 2053, b"hello"),
}
PAIR = r'"\ud83d\ude00"'  # one character, escaped as JSON escapes what is beyond 16 bits
# JSON texts, and some that only look like it.
SPOILT = (
    *("null", "true", "false", "0", "-1", "1", "1.0", "1.5", "-0", "2147483648", "9007199254740992", "1e5", "1E999"),
    *("-1e999", "1e-999", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + "0" * 400),
    *('""', '"x"', '"' + "n" * 64 + '"', '"' + "n" * 65 + '"', r'"\u0000"', r'"\ud800"', r'"\udfff x"', '"\u20ac"'),
    *('"\U0001f600"', r'"caf\u00e9"', PAIR, "[]", "{}", "[1]", "[[]]", '{"a":1}', '{"a":{"b":[1,{"c":2}]}}', '{"":1}'),
    *('{"' + "k" * 65 + '":1}', r'{"\u0000":1}', r'{"\ud800":1}', '{"a":1e999}', '{"a":"\\ud800"}', '{"a":[1]}'),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "01",
        "1.",
        "+1",
        "tru",
        "'x'",
        '"\\x41"',
        '{"a":1,"a":2}',
        "{1:2}",
        "[1,]",
    ),
    "{" + ",".join(f'"m{number}":{number}' for number in range(256)) + "}",
    "{" + ",".join(f'"m{number}":{number}' for number in range(257)) + "}",
    "[" * 16 + "]" * 16,
    "[" * 17 + "]" * 17,
    '{"a":' * 17 + "1" + "}" * 17,
)
MARK = "\x1a"


def cases(seed: int, count: int) -> list[list[str]]:
    """Return [call, hex of a payload] `count` times, the same for the same seed."""
    rng = random.Random(seed)
    makers = random.Random(seed).choices((_json_case, _batch_case, _bytes_case), (80, 12, 8), k=count)
    return [make(rng) for make in makers]


def _json_case(rng: random.Random) -> list[str]:
    call = rng.choice(list(GOOD))
    payload = _spoil_field(rng, rng.choice(GOOD[call])).encode()
    if rng.random() < 0.25:
        payload = _spoil_bytes(rng, payload)
    return [call, payload.hex()]


def _bytes_case(rng: random.Random) -> list[str]:
    call = rng.choice(list(GOOD_BYTES))
    payload = GOOD_BYTES[call]
    return [call, (_spoil_bytes(rng, payload) if rng.random() < 0.8 else payload).hex()]


def _spoil_field(rng: random.Random, good: object) -> str:
    """Put a spoilt value in the place of a field of a message, of what a field holds, of a record or of it all."""
    message = json.loads(json.dumps(good))
    place = message
    while isinstance(place, (dict, list)) and place and rng.random() < 0.9:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not place[key] or not isinstance(place[key], (dict, list)) or rng.random() < 0.5:
            place[key] = MARK
            break
        place = place[key]
    return json.dumps(message, ensure_ascii=False).replace(json.dumps(MARK), rng.choice(SPOILT))


def _spoil_bytes(rng: random.Random, payload: bytes) -> bytes:
    at = rng.randrange(len(payload) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return payload[:at]
    if kind == 1:
        return payload[:at] + rng.randbytes(rng.randrange(1, 4)) + payload[at:]
    if kind == 2:
        return (
            payload[:at]
            + rng.choice((b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\0", b"\n", b",", b"}", b'"'))
            + payload[at:]
        )
    return payload[:at] + payload[at + 1 :]


def _batch_case(rng: random.Random) -> list[str]:
    call = rng.choice(("batch", "batch_head", "batch_ack"))
    number = rng.choice((0, 1, 5, 2**31, 2**53 - 1, 2**53, 2**63, 2**64 - 1))
    if call == "batch_ack":
        return [call, _spoil_bytes(rng, batch.pack_ack(b"s" * 16, number)).hex()]
    spoilt = rng.choice((1, 0, -1, True, 1.5, "dev", None, [], 2**31, 2**53, 2**70))
    cover = ["dev-1", 7, 3, 9]
    cover[rng.randrange(4)] = spoilt
    covers = rng.choice(
        ([], [["dev-1", 7, 3, 9]], [cover], [cover[:3]], [["dev-1", 7, 9, 3]], [["gw.x", 1, 1, 1]], [7])
    )
    records = [b'{"seq":%d}' % index for index in range(rng.randrange(4))]
    payload = batch.pack(b"s" * 16, number, rng.choice((0, 1, number)), covers, records)
    return [call, (_spoil_bytes(rng, payload) if rng.random() < 0.5 else payload).hex()]
