"""The twin of a device: what is wanted of it (desired), and what it says that it has (reported). Pure. (R4)

Desired has one writer, the gateway that owns the device. Who wants something else sends it a merge patch (RFC 7396)
with an id; the owner applies each id once, in the order in which they come, and counts the version up when the values
change. A device takes what is newer than what it has, keeps it, and reports it. So whatever is lost, repeated or late,
all three end with the same values: the device is sent the newest until it has it, and the cloud hears in its stream.
"""

from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NUMBER, MAX_UP_BYTES

IDS = 64  # of patches that an owner remembers
FLOAT_32 = 2**-22  # the relative error of a number that went through an ESP32


class Desired(NamedTuple):
    """What is wanted, and the newest ids that made it so."""

    version: int = 0
    values: dict[str, Any] = {}  # noqa: RUF012 - nothing here is changed in place
    applied: tuple[str, ...] = ()


class Patch(NamedTuple):
    """What somebody wants to be otherwise, and what he took for the newest version.

    Without an id it wants nothing: it only tells what its sender knows.
    """

    id: str | None
    changes: dict[str, Any]
    known: Desired = Desired()


class Reported(NamedTuple):
    """What a device has of a version: the values that it took, and by path why it did not take others."""

    version: int = 0
    values: dict[str, Any] = {}  # noqa: RUF012 - nothing here is changed in place
    errors: dict[str, str] = {}  # noqa: RUF012
    goes_on: bool = False
    """Whether the rest of it is in the following report: a board's records are short."""


def merge(target: Any, patch: Any) -> Any:
    """Return a JSON value after a merge patch: null removes, an object merges, all else replaces. (RFC 7396)"""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def apply(desired: Desired, patch: Patch, seen: int = 0) -> tuple[Desired, str | None]:
    """Return what an owner wants after a patch, and the reason if it refused it.

    `seen` is the version that the device has. If that, or what the sender knows, is newer than what this gateway has,
    it has lost its disk: it takes over what the sender knows, and counts on above all that was ever told.
    """
    version, values, applied = desired
    if patch.known.version > version:
        version, values = patch.known.version, patch.known.values
    refused = None
    wanted = values
    if patch.id is not None and patch.id not in applied:
        applied = (*applied, patch.id)[-IDS:]
        wanted = merge(values, patch.changes)
        refused = fault(wanted)
        if refused is not None:
            wanted = values
    # By their text: to Python 1 and true are equal, to a device they are not.
    if messages.dumps(wanted) != messages.dumps(values) or seen > version:
        version = max(version, seen) + 1
    return Desired(version, wanted, applied), refused


def meet(desired: Desired, seen: int) -> Desired:
    """Return what an owner wants of a device that it hears of for the first time, and that has version `seen`.

    A device that has so much already has it from another disk: only a higher version tells the two apart.
    """
    return desired._replace(version=seen + 1) if 0 < desired.version <= seen else desired


def fault(values: dict[str, Any]) -> str | None:
    """Return why no device would take these values, None if one would."""
    try:
        messages.desired(MAX_NUMBER, values)
    except Rejected as error:
        return str(error)
    return None


def hear(had: Reported, told: Reported) -> Reported:
    """Return what a device has after its report, which may be the next part of one, as long as that has an end."""
    if not had.goes_on or had.version != told.version:
        return told
    whole = told._replace(values=merge(had.values, told.values), errors={**had.errors, **told.errors})
    return whole if len(messages.dumps(whole)) <= MAX_UP_BYTES else told


def delta(desired: dict[str, Any], reported: dict[str, Any]) -> dict[str, Any]:
    """Return what is wanted and not reported; what a device reports beyond that is its own business."""
    found: dict[str, Any] = {}
    for name, value in desired.items():
        told = reported.get(name)
        if isinstance(value, dict) and isinstance(told, dict):
            if missing := delta(value, told):
                found[name] = missing
        elif name not in reported or not _is_alike(value, told):
            found[name] = value
    return found


def _is_alike(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_alike(one[name], other[name]) for name in one)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) or isinstance(other, float):
        return _is_near(one, other)
    return bool(one == other)


def _is_near(one: Any, other: Any) -> bool:
    if not isinstance(one, (int, float)) or not isinstance(other, (int, float)):
        return False
    return abs(one - other) <= FLOAT_32 * max(abs(one), abs(other))
