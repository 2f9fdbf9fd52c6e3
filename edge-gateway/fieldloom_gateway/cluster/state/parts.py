"""What is longer than a value of the map may be stands in parts below its key, written and removed together. (D2)"""

from collections.abc import Iterator, Sequence

from fieldloom_gateway.cluster.state.commands import Delete, Operation, Set
from fieldloom_gateway.cluster.state.entries import Entry

PART_BYTES = 60_000


def part(key: str, number: int) -> str:
    """Return the key of a part, from 0."""
    return f"{key}/{number:02}"


def whole(entry: Entry) -> str:
    """Return the key of which an entry is a part."""
    return entry.key.rpartition("/")[0]


def split(body: bytes) -> list[bytes]:
    """Return a body in parts, one at least."""
    return [body[at : at + PART_BYTES] for at in range(0, max(len(body), 1), PART_BYTES)]


def written(key: str, parts: Sequence[bytes], had: int, ttl_ms: int = 0) -> Iterator[Operation]:
    """Give what writes parts in place of those that there were; none: what removes them."""
    for number, content in enumerate(parts):
        yield Set(part(key, number), content, ttl_ms)
    for number in range(len(parts), had):
        yield Delete(part(key, number))
