"""From a message of devices that are not ours to messages of the contract: pure, and refuses by Rejected alone. (T1)

A payload that is JSON is read as JSON, any other one is a text. A path is a plain one, by dots: what it has to find are
single values, and a query language (RFC 9535) would find lists and need a library.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import decode
from fieldloom_contract.limits import MAX_DEPTH, MAX_UP_BYTES
from fieldloom_contract.topics import EVENT, STATE, TELEMETRY
from fieldloom_gateway.adapters.foreign import definition
from fieldloom_gateway.adapters.foreign.definition import DEVICE, ISO, UNIX, UNIX_MS, Command, Path, State, Time, Topic
from fieldloom_gateway.adapters.foreign.naming import ours_of
from fieldloom_gateway.adapters.foreign.patterns import fill
from fieldloom_gateway.adapters.foreign.presets import expanded

MS_FROM = 10**11  # in seconds it is the year 5138
SESSION = "mqtt"
BOOT = 1


class Canonical(NamedTuple):
    """What is told in the contract's words."""

    verb: str
    payload: bytes


class Found(NamedTuple):
    """A device that a topic names; `name` is its own one."""

    device: str
    name: str
    commands: Sequence[Command]
    topics: Sequence[tuple[Topic, dict[str, str]]]
    """With the parts of the topic."""

    def read(self, payload: bytes, *, is_retained: bool = False) -> list[Canonical]:
        """Return what a message says; of a retained one only a state, since nobody knows of when the rest is.

        Raises Rejected.
        """
        topics = [pair for pair in self.topics if pair[0].state is not None or not is_retained]
        if not topics or not payload:
            return []
        value = _value(payload)
        said = [canonical for topic, parts in topics for canonical in _read(topic, parts, value)]
        if not said and any(topic.required for topic, _ in topics):
            raise Rejected("payload", "holds none of the values that are mapped")
        return said


class Mappings:
    """The mappings of an adapter, compiled."""

    def __init__(self, told: Sequence[definition.Mapping]) -> None:
        self._mappings = [(mapping, *expanded(mapping)) for mapping in told]
        topics = [topic for _, topics, _ in self._mappings for topic in topics]
        self.filters = list(dict.fromkeys(topic.topic.filter for topic in topics))
        """To be subscribed to."""

    def named(self) -> dict[str, tuple[str, Sequence[Command]]]:
        """Return the devices that are named one by one: their own names, and the commands that they know."""
        return {
            ours: (theirs, commands)
            for mapping, _, commands in reversed(self._mappings)
            for theirs, ours in mapping.devices.items()
        }

    def find(self, topic: str) -> Found | None:
        """Return the device of a topic, None for one that no mapping names. Raises Rejected for no possible device."""
        for mapping, topics, commands in self._mappings:
            matches = [(one, parts) for one in topics if (parts := one.topic.match(topic)) is not None]
            for name in dict.fromkeys(parts[DEVICE] for _, parts in matches):
                ours = ours_of(mapping, name)
                if ours is not None:
                    said = [pair for pair in matches if pair[1][DEVICE] == name]
                    return Found(ours, name, commands, said)
        return None


def _value(payload: bytes) -> Any:
    try:
        return decode(payload, MAX_UP_BYTES)
    except Rejected:
        if len(payload) > MAX_UP_BYTES or payload.lstrip()[:1] in (b"{", b"["):
            raise
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Rejected("payload", "is neither JSON nor a text") from None


def _read(topic: Topic, parts: dict[str, str], value: Any) -> Iterator[Canonical]:
    if topic.state is not None:
        is_online = _is_online(topic.state, value)
        yield Canonical(STATE, messages.dumps({"online": is_online, "boot": BOOT, "session": SESSION}))
        return
    values = {name: _boolean(topic, one) for name, one in _values(topic, parts, value)}
    if not values or (topic.event is not None and not any(value not in (None, "") for value in values.values())):
        return
    ts = None if topic.time is None else _moment(topic.time, value)
    record: dict[str, Any] = {} if ts is None else {"ts": ts}
    if topic.event is None:
        yield _checked(TELEMETRY, {**record, "values": values})
    else:
        yield _checked(EVENT, {**record, "type": fill(topic.event, parts), "data": values})


def _checked(verb: str, record: dict[str, Any]) -> Canonical:
    payload = messages.dumps(record)
    messages.parse_records(verb, payload)
    return Canonical(verb, payload)


def _is_online(state: State, value: Any) -> bool:
    told = value if isinstance(value, str) else _at(value, state.path, value)
    word = told if isinstance(told, str) else messages.dumps(told).decode()
    if word not in state.online and word not in state.offline:
        raise Rejected("state", f"must be one of {', '.join(state.online + state.offline)}")
    return word in state.online


def _values(topic: Topic, parts: dict[str, str], value: Any) -> Iterator[tuple[str, Any]]:
    if topic.values == "all":
        yield from _leaves(value, "", frozenset(topic.skip), MAX_DEPTH)
        return
    for name, path in (topic.values or {}).items():
        found = _at(value, path, _MISSING)
        if found is not _MISSING:
            yield str(fill(name, parts)), found


def _leaves(value: Any, name: str, skip: frozenset[str], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield all single values, each with its path as its name."""
    if name in skip:
        return
    if not isinstance(value, (dict, list)):
        yield name or "value", value
        return
    if not depth:
        raise Rejected(name, "is nested too deeply")
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(part, f"{name}.{key}" if name else str(key), skip, depth - 1)


_MISSING = object()


def _at(value: Any, path: Path, otherwise: Any) -> Any:
    """Return what lies at a path; in a list a step is a number, from 0."""
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return otherwise
    return value


def _boolean(topic: Topic, value: Any) -> Any:
    return topic.booleans.get(value, value) if isinstance(value, str) else value


def _moment(time: Time, value: Any) -> int | None:
    """Return Unix ms, None where nothing is told."""
    told = _at(value, time.path, None)
    if told is None:
        return None
    try:
        return _unix_ms(time, told)
    except (ValueError, OverflowError):
        raise Rejected(".".join(time.path) or "payload", f"is no time as {time.format}") from None


def _unix_ms(time: Time, told: Any) -> int:
    if isinstance(told, bool) or not isinstance(told, (int, float, str)):
        raise ValueError(told)  # noqa: TRY004 - the caller tells one kind of fault
    if time.format in (UNIX, UNIX_MS) or not isinstance(told, str):
        if time.format not in (UNIX, UNIX_MS, definition.AUTO):
            raise ValueError(told)
        number = float(told)
        is_ms = time.format == UNIX_MS or (time.format == definition.AUTO and abs(number) >= MS_FROM)
        return round(number if is_ms else number * 1000)
    if time.format in (ISO, definition.AUTO):
        moment = datetime.fromisoformat(told)
    else:
        moment = datetime.strptime(told, time.format)  # noqa: DTZ007 - the zone follows
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=time.zone or UTC)
    return round(moment.timestamp() * 1000)
