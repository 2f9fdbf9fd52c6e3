"""Who holds an actuator: a slot a priority, and of those that are held the highest acts. Pure. (E9)

An actuator is what a command moves: of a device, what `write` names, else the command's type. Who asks to hold takes
the slot of his priority from whoever had it; a hold that does not act waits in its slot, and is told to the device when
its turn comes. A plain command takes no slot: it passes, or is refused for who holds.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.durations import LATEST_MS
from fieldloom_engine.rules.firing import identity

Priority = Literal["safety", "person", "workflow", "rule", "schedule"]
PRIORITIES: tuple[Priority, ...] = ("safety", "person", "workflow", "rule", "schedule")
"""The highest first."""
WRITE = "write"
MOVES_NOTHING = (
    "read",
    "set_interval",
    "identify",
    "reboot",
    "connect",
    "renew",
    "set_network",
    "update",
    "rollback",
)
"""Commands of every board that are about itself."""
REMEMBERED = 16
"""The newest requests of an actuator, which are known when they come again, and the newest words."""
MAX_REASON = 200

Owner = Annotated[str, Meta(min_length=1, max_length=MAX_REASON)]


class Source(Struct, frozen=True):
    """Who asks, as its tier has found out."""

    priority: Priority
    owner: Owner
    """A person's name, a rule's id, a workflow's with its instance's."""


class Wanted(Struct, frozen=True):
    """That a command is to hold its actuator."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""
    expires: Annotated[int, Meta(ge=0, le=LATEST_MS)] | None = None
    """Unix ms; None: until it is released."""


class Hold(Struct, frozen=True, kw_only=True):
    """A slot that is held, by what command."""

    id: str
    """The command's."""
    source: Source
    type: str
    parameters: dict[str, Any]
    since: int
    """Unix ms, like the other times."""
    until: int
    """After this the command itself is not begun any more."""
    reason: str = ""
    expires: int | None = None


class Word(Struct, frozen=True):
    """What has happened to a hold."""

    what: Literal["held", "refused", "lost", "released"]
    """It acts now; was asked for and does not act; acts no more for another's sake; is gone."""
    hold: Hold
    """Without its parameters."""
    to: Source | None = None
    """Who acts in its place, where it has lost."""
    waits: bool = False
    """Whether it stays in its slot."""
    by: str | None = None
    """Who has released it; None: it has expired."""
    version: int = 0
    """Of the actuator, from then on."""


class Actuator(Struct, frozen=True):
    """The slots of an actuator, and what its last changes have brought."""

    holds: tuple[Hold, ...] = ()
    """By priority: the first acts."""
    version: int = 0
    """Grows with each change, and is its time where that grows."""
    command: str = ""
    """The id of the command by which the device is told what acts."""
    words: tuple[Word, ...] = ()
    taken: tuple[str, ...] = ()
    """Requests that were taken last."""


class Release(Struct, frozen=True):
    """A request that a slot be held no more."""

    id: str
    priority: Priority
    by: str


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Actuator).decode


def asked_by(
    asks: Literal["rule", "workflow"], owner: str, told: Mapping[str, Any] | None, now: int
) -> tuple[Source, Wanted | None]:
    """Return who asks for an action's command, and what its `hold` wants at a time; without one a plain command."""
    if told is None:
        return Source(asks, owner), None
    return Source(told.get("priority") or asks, owner), Wanted(told.get("reason") or "", now + told["for"])


def actuator_of(type_: str, parameters: Mapping[str, Any]) -> str | None:
    """Return which actuator of its device a command moves, None for none."""
    if type_ in MOVES_NOTHING:
        return None
    name = parameters.get("name") if type_ == WRITE else type_
    return name if isinstance(name, str) and 1 <= len(name) <= MAX_NAME else None


def acting(actuator: Actuator, now: int) -> Hold | None:
    """Return the hold that acts at a time."""
    return next((hold for hold in actuator.holds if not _is_over(hold, now)), None)


def keeps_out(actuator: Actuator, source: Source, now: int) -> Hold | None:
    """Return the hold for which a plain command is refused, None if it passes.

    Who holds may go on commanding; another of the same priority may not.
    """
    hold = acting(actuator, now)
    if hold is None or hold.source == source or _rank(hold.source) > _rank(source):
        return None
    return hold


def take(actuator: Actuator, hold: Hold, now: int) -> Actuator:
    """Return the slots once a hold was asked for; a request that comes again changes nothing."""
    if hold.id in actuator.taken:
        return actuator
    others, words = _without_expired(actuator, now)
    if _is_over(hold, now):
        return _changed(actuator, others, [*words, Word("refused", hold)], now, hold.id)
    before = next((one for one in others if one.source.priority == hold.source.priority), None)
    first = others[0] if others else None
    holds = sorted((*(one for one in others if one is not before), hold), key=lambda one: _rank(one.source))
    if before is not None and before.source != hold.source:
        words.append(Word("lost", before, hold.source))
    if holds[0] is not hold:
        words.append(Word("refused", hold, holds[0].source, waits=True))
    elif first is not None and first is not before:
        words.append(Word("lost", first, hold.source, waits=True))
    return _changed(actuator, holds, words, now, hold.id)


def release(actuator: Actuator, request: Release, now: int) -> Actuator:
    """Return the slots once one was released: what waits highest acts then."""
    held = next((one for one in actuator.holds if one.source.priority == request.priority), None)
    if held is None or request.id in actuator.taken:
        return actuator
    others, words = _without_expired(actuator, now)
    if held in others:
        others.remove(held)
        words.append(Word("released", held, by=request.by))
    return _changed(actuator, others, words, now, request.id)


def elapse(actuator: Actuator, now: int) -> Actuator:
    """Return the slots without those that have expired."""
    others, words = _without_expired(actuator, now)
    return _changed(actuator, others, words, now) if words else actuator


def next_expiry(actuator: Actuator) -> int | None:
    """Return when a slot expires next, Unix ms."""
    return min((hold.expires for hold in actuator.holds if hold.expires is not None), default=None)


def refusal(hold: Hold, name: str) -> str:
    """Return for people why a command is refused: who holds the actuator of this name, until when, and why."""
    until = "released" if hold.expires is None else datetime.fromtimestamp(hold.expires / 1000, UTC).isoformat()
    why = f": {hold.reason}" if hold.reason else ""
    return f"{hold.source.owner} ({hold.source.priority}) holds {name} until {until}{why}"


def _changed(before: Actuator, holds: list[Hold], words: list[Word], now: int, request: str | None = None) -> Actuator:
    """Return the slots after a change, and let the device be told where another hold acts than before."""
    version = max(before.version + 1, now)
    command = before.command if holds else ""
    if holds and holds[0] not in before.holds[:1]:
        # A command's id is used once: one that acts again is told by another, which follows from what has happened.
        command = holds[0].id if holds[0].id == request else identity(holds[0].id, version)
        words = [*words, Word("held", holds[0])]
    told = [replace(word, hold=replace(word.hold, parameters={}), version=version) for word in words]
    taken = before.taken if request is None else (*before.taken, request)
    return Actuator(tuple(holds), version, command, (*before.words, *told)[-REMEMBERED:], taken[-REMEMBERED:])


def _without_expired(actuator: Actuator, now: int) -> tuple[list[Hold], list[Word]]:
    gone = [Word("released", hold) for hold in actuator.holds if _is_over(hold, now)]
    return [hold for hold in actuator.holds if not _is_over(hold, now)], gone


def _is_over(hold: Hold, now: int) -> bool:
    return hold.expires is not None and hold.expires <= now


def _rank(source: Source) -> int:
    return PRIORITIES.index(source.priority)
