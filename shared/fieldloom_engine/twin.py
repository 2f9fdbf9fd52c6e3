"""The twin of a device: what is wanted of it (desired), and what it says that it has (reported). Pure. (R4)

Desired is one thing for a whole site (ADR 67). Who wants something else sends a merge patch (RFC 7396) with an id; the
site applies each id once, one after the other, and counts the version up when the values change. A device takes what is
newer than what it has, keeps it, and reports it. So whatever is lost, repeated or late, all end with the same values:
the device is sent the newest until it has it, and the cloud hears in its stream.
"""

from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NUMBER, MAX_UP_BYTES

IDS = 64
"""Patches of the cloud that are known when they come again; so many wait in the cloud at most."""
OF_SITE = 16
"""Patches of the site that are known: its people ask again soon."""
STALE = f"it is older than the {IDS} patches of the cloud that the site remembers: read the twin and ask again"
FLOAT_32 = 2**-22  # the relative error of a number that went through an ESP32


class Answer(NamedTuple):
    """What became of a patch, for when it comes again."""

    id: str
    error: str | None = None
    """Why it was refused, if it was."""
    known: int | None = None
    """The version that the cloud knew when it made it; None for a patch of the site."""


class Desired(NamedTuple):
    """What is wanted, and of the newest patches what became of them."""

    version: int = 0
    values: dict[str, Any] = {}  # noqa: RUF012 - nothing here is changed in place
    answers: tuple[Answer, ...] = ()
    is_met: bool = False
    """Whether the device was heard of since this began: what version it has is of this, and of no lost disk's."""


class Patch(NamedTuple):
    """What somebody wants to be otherwise, and, of the cloud, what it took for the newest version.

    Without an id it wants nothing: it only tells what its sender knows.
    """

    id: str | None
    changes: dict[str, Any] = {}  # noqa: RUF012
    known: Desired | None = None


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


def apply(desired: Desired, patch: Patch, seen: int | None = None) -> tuple[Desired, str | None]:
    """Return what is wanted after a patch, and the reason if it is refused.

    `seen` is the version that the device has, None where that is not known. If that, or what the cloud knows, is newer
    than what is wanted, disks were lost: what the cloud knows is taken over, and counted on above all that was ever
    told. So it is when a device is heard of for the first time that has so high a version already.
    """
    known = patch.known or Desired()
    is_known_better = known.version > desired.version
    version, values = known[:2] if is_known_better else desired[:2]
    if patch.id is None and not version:
        return desired, None  # nobody wants anything yet
    wanted, answers, refused = _patched(desired._replace(values=values), patch)
    is_stranger = seen == desired.version > 0 and not desired.is_met and not is_known_better
    # By their text: to Python 1 and true are equal, to a device they are not.
    if messages.dumps(wanted) != messages.dumps(values) or (seen or 0) > version or is_stranger:
        version = max(version, seen or 0) + 1
    return Desired(version, wanted, answers, desired.is_met or seen is not None), refused


def _patched(desired: Desired, patch: Patch) -> tuple[dict[str, Any], tuple[Answer, ...], str | None]:
    """Return values, answers and the reason after a patch; one that came before is answered as it was then."""
    values, answers = desired.values, desired.answers
    if patch.id is None:
        return values, answers, None
    for answer in answers:
        if answer.id == patch.id:
            return values, answers, answer.error
    if _is_stale(answers, patch):
        return values, answers, STALE  # and not remembered, since so old a one would make the next count as newer
    wanted = merge(values, patch.changes)
    refused = fault(wanted)
    known = None if patch.known is None else patch.known.version
    answers = _newest(*answers, Answer(patch.id, refused, known))
    return (wanted if refused is None else values), answers, refused


def _is_stale(answers: tuple[Answer, ...], patch: Patch) -> bool:
    """Whether a patch may have been applied so long ago that its id is forgotten: at most `IDS` wait in the cloud."""
    remembered = [answer.known for answer in answers if answer.known is not None]
    return patch.known is not None and len(remembered) >= IDS and patch.known.version < min(remembered)


def _newest(*answers: Answer) -> tuple[Answer, ...]:
    """Return the newest answers to the site and to the cloud."""
    of_cloud = [answer for answer in answers if answer.known is not None]
    of_site = [answer for answer in answers if answer.known is None]
    return (*of_site[-OF_SITE:], *of_cloud[-IDS:])


def adopt(desired: Desired, former: Desired) -> Desired:
    """Return what a site wants that takes over what one of its gateways has wanted by itself.

    The higher version wins; where two differ under one version nobody may take the one for the other.
    """
    ids = {answer.id for answer in desired.answers}
    answers = _newest(*(answer for answer in former.answers if answer.id not in ids), *desired.answers)
    version, values = max(desired[:2], former[:2], key=lambda one: one[0])
    differ = messages.dumps(desired.values) != messages.dumps(former.values)
    if differ and desired.version == former.version:
        version += 1
    return Desired(version, values, answers, desired.is_met or former.is_met)


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
