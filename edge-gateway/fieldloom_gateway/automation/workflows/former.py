"""The instances of a gateway that had a map of its own come into the one that it shares now. (W8)"""

from collections.abc import Iterator
from itertools import groupby

from fieldloom_gateway.automation.workflows.checkpoints import INSTANCES, QUEUE, decode_kept, decode_queued
from fieldloom_gateway.automation.workflows.inbox import Moves
from fieldloom_gateway.cluster.state.entries import Entries, Entry


def former_instances(entries: Entries) -> list[Moves]:
    """Return what the map of a gateway that was alone has of workflows."""
    instances = [decode_kept(body) for body in _bodies(entries.below(INSTANCES))]
    queued = [decode_queued(body) for body in _bodies(entries.below(QUEUE))]
    return [
        *(Moves(one.instance, one.history) for one in instances),
        *(Moves(one.instance, [], one.number, one.overlap) for one in queued),
    ]


def _bodies(entries: list[Entry]) -> Iterator[bytes]:
    """Give what stands in parts, whether below its partition or not: an older gateway knew none."""
    for _, parts in groupby(entries, key=lambda entry: entry.key.rpartition("/")[0]):
        yield b"".join(entry.value for entry in parts)
