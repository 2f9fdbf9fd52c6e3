"""What a board and a cloud do in the recorded runs: the same words each time."""

from fieldloom_contract import messages, topics

GATEWAY, DEVICE, BOOT = "gw.site1", "dev-1", 7
START = 1_790_000_000_000
GROUPS = 12
COMMANDS = 3
PATCHES = 4  # of a twin; they come down after the commands
STREAM_DOWN = b"d" * 16


def record(seq: int) -> tuple[str, dict[str, object]]:
    """Return (kind, record): every fifth is an event, the others are telemetry."""
    head = {"boot": BOOT, "seq": seq, "ts": START + seq * 1000}
    if seq % 5 == 0:
        return topics.EVENT, {**head, "type": "door.opened", "data": {"door": seq, "why": "x" * 300}}
    return topics.TELEMETRY, {**head, "values": {"temperature": float(seq), "note": "y" * 300}}


def group(number: int) -> range:
    """Return the seqs that come in together: 1 to 5 of them."""
    sizes = [1 + (n * 7) % 5 for n in range(GROUPS)]
    start = 1 + sum(sizes[:number])
    return range(start, start + sizes[number])


LAST = group(GROUPS - 1)[-1]


def sent_again(first: int, last: int = LAST) -> list[tuple[str, bytes]]:
    """Return the messages (topic, payload) of a board that holds first to last."""
    held = [record(seq) for seq in range(first, last + 1)]
    return [(topics.device(DEVICE, kind), messages.frame([messages.dumps(told)], first)) for kind, told in held]


def as_stored(seq: int) -> dict[str, object]:
    """Return a record as a gateway sends it up."""
    kind, told = record(seq)
    return {"kind": kind, "device": DEVICE, **told, "at": START}


def command(number: int) -> bytes:
    told = {"kind": "command", "device": DEVICE, "id": f"c-{number}", "type": "write"}
    return messages.dumps({**told, "parameters": {"name": "relay", "value": True}, "expires": 4_000_000_000_000})


def patch(number: int) -> bytes:
    told = {"kind": "twin", "device": DEVICE, "version": 0, "values": {}}
    return messages.dumps({**told, "id": f"p-{number}", "changes": {f"key-{number}": "z" * 200}})
