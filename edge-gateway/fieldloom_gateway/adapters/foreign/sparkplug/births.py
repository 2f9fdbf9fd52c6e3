"""What a birth has told of metrics, and what becomes of later ones by it. Pure. (C6, T1)"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_METRICS, MAX_NAME
from fieldloom_contract.plain import check_names, plain
from fieldloom_gateway.adapters.base import Fault
from fieldloom_gateway.adapters.foreign.sparkplug.payload import Metric, NoReading, reading

BD_SEQ = "bdSeq"
CONTROLS = ("Node Control/", "Device Control/")
MAX_TEXT = 16_384
"""Characters of one value."""
MESSAGE_BYTES = 32_768
"""From so many on a message is full; with the value that passes it, it is still one that the contract takes."""


class Definition(NamedTuple):
    """A metric, as its birth has told it."""

    name: str
    alias: int | None
    datatype: int | None


class Unborn(Rejected):
    """A metric can't be read without a birth that nobody has told."""


@dataclass
class Birth:
    """The metrics of a node or device."""

    by_name: dict[str, Definition] = field(default_factory=dict)
    by_alias: dict[int, Definition] = field(default_factory=dict)

    def add(self, metric: Metric) -> None:
        """Take note of a metric of the birth. Raises Rejected for an alias that two metrics have."""
        if metric.name is None:
            return  # a fault where it is read
        told = Definition(metric.name, metric.alias, metric.datatype)
        if told.alias is not None:
            other = self.by_alias.setdefault(told.alias, told)
            if other.name != told.name:
                raise Rejected("alias", f"{told.alias} is of {other.name[:MAX_NAME]} already")
        self.by_name[told.name] = told

    def find(self, metric: Metric) -> Definition:
        """Return what a metric is. Raises Unborn for what no birth has told, Rejected for what no birth can tell."""
        if metric.name is not None:
            known = self.by_name.get(metric.name)
            datatype = metric.datatype or (known.datatype if known else None)
            if datatype is None:
                raise Unborn("datatype", "is told by no birth: one is asked for")
            return Definition(metric.name, metric.alias, datatype)
        if metric.alias is None:
            raise Rejected("name", "is missing, and so is the alias")
        if metric.alias not in self.by_alias:
            raise Unborn("alias", f"{metric.alias} is told by no birth: one is asked for")
        return self.by_alias[metric.alias]


class Reading(NamedTuple):
    """A value at a time, Unix ms; None: not told."""

    ts: int | None
    name: str
    value: Any


@dataclass
class Said:
    """What the metrics of a message say."""

    readings: list[Reading] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Metrics, each with its type, that hold what no reading can."""
    is_unborn: bool = False
    """Whether something was not read for want of a birth."""


def read(metrics: Sequence[Metric], ts: int | None, birth: Birth) -> Said:
    """Return what metrics say; `ts` is that of those that tell none."""
    said = Said()
    for place, metric in enumerate(metrics):
        try:
            told = birth.find(metric)
            if told.name == BD_SEQ or told.name.startswith(CONTROLS):
                continue
            value = _checked(told, metric)
        except NoReading as what:
            said.left_out.append(f"{told.name[:MAX_NAME]} ({what})")
        except Rejected as error:
            said.is_unborn |= isinstance(error, Unborn)
            named = f" of {metric.name[:MAX_NAME]}" if metric.name else ""
            said.faults.append(Fault(f"metrics.{place}.{error.field}", error.reason + named))
        else:
            said.readings.append(Reading(metric.ts or ts, told.name, value))
    return said


def telemetry(readings: Iterable[Reading]) -> Iterator[bytes]:
    """Yield the readings as messages of the contract, those of one time in one record."""
    by_time: dict[int | None, dict[str, Any]] = {}
    for one in readings:
        by_time.setdefault(one.ts, {})[one.name] = one.value
    message: list[bytes] = []
    for ts, values in by_time.items():
        head = {} if ts is None else {"ts": ts}
        for part in _parts(values):
            message.append(messages.dumps({**head, "values": part}))
            if sum(map(len, message)) >= MESSAGE_BYTES:
                yield messages.frame(message, None)
                message = []
    if message:
        yield messages.frame(message, None)


def _checked(told: Definition, metric: Metric) -> Any:
    if told.datatype is None:
        raise Rejected("datatype", "is missing in the birth")
    if len(told.name) > MAX_NAME:
        raise Rejected("name", f"has more than {MAX_NAME} characters")
    check_names({told.name: None}, "name")
    value = reading(metric, told.datatype)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise Rejected("value", f"has more than {MAX_TEXT} characters")
    if isinstance(value, float) and value - value != 0:
        return None  # what is not finite is null, as everywhere
    return plain(value, "value")


def _parts(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the values of a record in parts that a record can hold."""
    part: dict[str, Any] = {}
    size = 0
    for name, value in values.items():
        part[name] = value
        size += len(messages.dumps([name, value]))
        if len(part) == MAX_METRICS or size >= MESSAGE_BYTES // 2:
            yield part
            part, size = {}, 0
    if part:
        yield part
