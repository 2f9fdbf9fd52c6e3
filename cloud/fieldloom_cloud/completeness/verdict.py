"""Whether all records of a device in a window are stored, and where those are that are not. Pure. (T8, ADR 31)

Times in Unix ms. A record is known by (boot, seq); within a boot, ts grows with seq.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from fieldloom_cloud.ingest.standing import Standing
from fieldloom_contract.ranges import Ranges

Status = Literal["complete", "incomplete", "open"]
Where = Literal["not_sent", "in_gateway", "dropped", "lost", "unknown"]

COMPLETE: Status = "complete"
INCOMPLETE: Status = "incomplete"
OPEN: Status = "open"
NOT_SENT: Where = "not_sent"
IN_GATEWAY: Where = "in_gateway"
DROPPED: Where = "dropped"
LOST: Where = "lost"
UNKNOWN: Where = "unknown"
FINAL = (DROPPED, LOST)

SLACK_MS = 60_000
"""So far may the clocks of a site be apart, a state that is on its way included."""

Span = tuple[int, int]


class Sighting(NamedTuple):
    """A stored record whose time is known."""

    boot: int
    seq: int
    ts: int


class Drop(NamedTuple):
    """What an event `records.dropped` names."""

    boot: int
    first: int
    last: int
    reason: str
    at: int
    """When it was told."""
    by_gateway: bool = False


class Word(NamedTuple):
    """What a device has told of itself."""

    is_online: bool
    at: int
    """When its gateway heard the newest state."""
    waiting: int
    """Records that it held then."""
    quiet_at: int | None
    """When it held none, as far as it has told."""


class Known(NamedTuple):
    """All that is known of a device about a window."""

    received: dict[int, list[list[int]]]
    """Spans of seq by boot."""
    before: Sighting | None
    """The last one before the window."""
    inside: list[tuple[Sighting, Sighting]]
    """Of each boot the lowest and the highest seq in the window, in the order of time."""
    after: Sighting | None
    """The first one at or beyond the window's end."""
    dated: set[int]
    """Of the boots that were not seen about the window, those of which any record's time is known."""
    drops: list[Drop]
    word: Word | None
    keepers: list[Standing]


class Missing(NamedTuple):
    """Numbers that are not stored, and where they are; `last` is None where nobody knows how many there are."""

    boot: int
    first: int
    last: int | None
    where: Where
    reason: str = ""
    gateway: str | None = None


class Verdict(NamedTuple):
    """`settled`: up to when the answer is final, None if it is nowhere; `reasons`: why it is open."""

    status: Status
    missing: list[Missing]
    reasons: list[str]
    settled: int | None


class _Stretch(NamedTuple):
    boot: int
    low: int
    high: int


def judge(known: Known, start: int, end: int) -> Verdict:
    """Return what is proven of the records from `start` to before `end`."""
    stretches = list(_stretches(known))
    missing = [one for stretch in stretches for one in _missing(known, stretch, start)]
    reasons = list(_unproven(known, start, end))
    if known.after is None and (tail := _tail(known)) is not None:
        missing.append(tail)
    if any(one.where not in FINAL for one in missing):
        reasons.append("what is missing may still come")
    if not reasons:
        return Verdict(INCOMPLETE if missing else COMPLETE, missing, [], end)
    newest = known.inside[-1][1] if known.inside else known.before
    is_only_young = reasons == [_NOT_SETTLED] and newest is not None
    return Verdict(OPEN, missing, reasons, newest.ts if is_only_young and newest is not None else None)


_NOT_SETTLED = "nothing is known yet from beyond the end"


def _has_boundary(known: Known) -> bool:
    """Whether another boot than the one that was seen before the window may lie in it."""
    seen = {one.boot for pair in known.inside for one in pair}
    seen |= {one.boot for one in (known.before, known.after) if one is not None}
    return known.before is None or len(seen) > 1 or known.after is None


def _stretches(known: Known) -> Iterator[_Stretch]:
    """Yield the ranges of numbers that the window consists of."""
    chain = {pair[0].boot: (pair[0].seq, pair[1].seq) for pair in known.inside}
    before, after = known.before, known.after
    boots = dict.fromkeys([*([before.boot] if before else []), *chain, *([after.boot] if after else [])])
    for boot in boots:
        seen = chain.get(boot)
        low = before.seq + 1 if before and before.boot == boot else 1
        high = after.seq - 1 if after and after.boot == boot else _highest(known, boot)
        yield _Stretch(boot, min(low, seen[0]) if seen else low, max(high, seen[1]) if seen else high)
    if _has_boundary(known):
        named = {*known.received, *(drop.boot for drop in known.drops)}
        named |= {boot for keeper in known.keepers for boot, _, _ in keeper.holds}
        for boot in sorted(named - boots.keys() - known.dated):
            yield _Stretch(boot, 1, _highest(known, boot))


def _highest(known: Known, boot: int) -> int:
    """Return the highest seq of a boot that anybody has named."""
    received = known.received.get(boot)
    ends = [received[-1][1]] if received else []
    ends += [drop.last for drop in known.drops if drop.boot == boot]
    ends += [last for keeper in known.keepers for held, _, last in keeper.holds if held == boot]
    return max(ends, default=0)


def _missing(known: Known, stretch: _Stretch, start: int) -> Iterator[Missing]:
    """Yield what of a stretch is not stored."""
    boot, low, high = stretch
    given_up = [drop for drop in known.drops if drop.boot == boot]
    received = [(first, last) for first, last in known.received.get(boot, [])]
    rest: list[Span] = [(low, high)] if low <= high else []
    for drop in given_up:
        if drop.by_gateway:
            taken, rest = _split(rest, [(drop.first, drop.last)])
            for span in taken:
                yield Missing(boot, *span, DROPPED, drop.reason)
    _, rest = _split(rest, received)
    for drop in given_up:
        taken, rest = _split(rest, [(drop.first, drop.last)])
        for span in taken:
            yield Missing(boot, *span, DROPPED, drop.reason)
    for keeper in known.keepers:
        taken, rest = _split(rest, [(first, last) for held, first, last in keeper.holds if held == boot])
        for span in taken:
            yield Missing(boot, *span, IN_GATEWAY, gateway=keeper.id)
    for span in rest:
        yield _located(known, boot, span, start)


def _located(known: Known, boot: int, span: Span, start: int) -> Missing:
    """Return where numbers are that nobody has named: they were given before a later record that is known."""
    until = _numbered_before(known, boot, span[1])
    if until is not None and _delivered(known, start) >= until:
        return Missing(boot, *span, LOST, "the device holds it no more, and no gateway has it")
    for keeper in known.keepers:
        if not keeper.is_online:
            return Missing(boot, *span, UNKNOWN, "the gateway is away", keeper.id)
        if keeper.is_behind:
            return Missing(boot, *span, UNKNOWN, "the gateway is behind", keeper.id)
    if known.word is not None and known.word.is_online:
        return Missing(boot, *span, NOT_SENT)
    return Missing(boot, *span, UNKNOWN, "the device is away")


def _numbered_before(known: Known, boot: int, seq: int) -> int | None:
    """Return a time by which a number had been given: that of a record or of a report after it, None without one."""
    chain = [*([known.before] if known.before else []), *(one for pair in known.inside for one in pair)]
    chain += [known.after] if known.after else []
    is_passed = False
    for one in chain:
        if (one.boot == boot and one.seq > seq) or (is_passed and one.boot != boot):
            return one.ts
        is_passed = is_passed or one.boot == boot
    return min((drop.at for drop in known.drops if drop.boot == boot and drop.last > seq), default=None)


def _delivered(known: Known, start: int) -> int:
    """Return the time before which all records of the device's are stored or given up, 0 if that is not known."""
    quiet = known.word.quiet_at if known.word else None
    if quiet is None or not known.keepers:
        return 0
    for keeper in known.keepers:
        if keeper.settled is None or keeper.settled < quiet + SLACK_MS:
            return 0
        if keeper.since is not None and keeper.since > start - SLACK_MS:
            return 0
    return quiet - SLACK_MS


def _unproven(known: Known, start: int, end: int) -> Iterator[str]:
    """Yield what would have to be known before the window could be called complete."""
    delivered = _delivered(known, start)
    before, after = known.before, known.after
    if before and after and before.boot == after.boot and before.seq >= after.seq:
        yield "the device's times are not in the order of its numbers"
    if after is None and delivered < end:
        yield _NOT_SETTLED
    chain = [pair[0] for pair in known.inside] + ([after] if after else [])
    boot = before.boot if before else None
    for one in chain:
        if one.boot != boot and delivered < one.ts:
            what = f"boot {boot}" if boot is not None else "what was before"
            yield f"boot {one.boot} followed, and it is not proven that {what} had all been delivered"
        boot = one.boot


def _tail(known: Known) -> Missing | None:
    """Return what the device has told to hold beyond all that is known."""
    word = known.word
    last = known.inside[-1][1] if known.inside else known.before
    if word is None or not word.is_online or not word.waiting or last is None or word.at <= last.ts:
        return None
    return Missing(last.boot, _highest(known, last.boot) + 1, None, NOT_SENT)


def _split(spans: list[Span], by: Iterable[Span]) -> tuple[list[Span], list[Span]]:
    """Return what of some spans is in others, and what is not."""
    others = Ranges([list(span) for span in by]).spans
    inside: list[Span] = []
    outside: list[Span] = []
    for low, high in spans:
        at = low
        for first, last in others:
            if last < at or first > high:
                continue
            if first > at:
                outside.append((at, first - 1))
            inside.append((max(first, at), min(last, high)))
            at = last + 1
        if at <= high:
            outside.append((at, high))
    return inside, outside
