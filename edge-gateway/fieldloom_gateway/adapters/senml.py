"""Sensor measurement lists (SenML, RFC 8428, JSON) as telemetry of the contract.

Names and times are resolved (section 4.6), what was measured at one time becomes one reading, and units are not kept:
a metric's unit is its device type's. A sum is the metric `NAME.sum`. A name that is a URN loses all up to its last
colon, since that says only of which device it is.
"""

import re
from dataclasses import dataclass
from typing import Any

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import decode
from fieldloom_contract.limits import MAX_UP_BYTES, MAX_WHOLE

MEDIA_TYPE = "application/senml+json"
VERSION = 10
RELATIVE_BELOW_S = 2**28  # a smaller time is counted from now (section 4.5.3)
MAX_S = 10**12  # 31,000 years: what is beyond is no time
VALUES = ("v", "vs", "vb", "vd")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]*")  # section 4.5.1

Number = int | float


@dataclass
class _Bases:
    """What holds for a record and for those behind it, until another one says otherwise."""

    name: str = ""
    time: Number = 0
    value: Number = 0
    sum: Number | None = None
    version: int | None = None


def telemetry(payload: bytes, now: int) -> bytes:
    """Return a pack as a telemetry message; `now`, in Unix ms, is what relative times are counted from.

    Raises Rejected with the record's number, from 0, and the field.
    """
    told = messages.dumps(resolve(payload, now))
    if len(told) > MAX_UP_BYTES:
        raise Rejected("payload", f"has {len(told)} bytes once it is resolved, the limit is {MAX_UP_BYTES}")
    return told


def resolve(payload: bytes, now: int) -> list[dict[str, Any]]:
    """Return the readings of a pack, the oldest first; one without any time has none here either. Raises Rejected."""
    pack = decode(payload, MAX_UP_BYTES)
    if not isinstance(pack, list) or not pack:
        raise Rejected("payload", "must be a JSON array of at least one record")
    bases = _Bases()
    readings: dict[int | None, dict[str, Any]] = {}
    for number, record in enumerate(pack):
        try:
            _check(record)
            _rebase(bases, record)
            values = readings.setdefault(_ts(bases, record, now), {})
            for name, value in _values(bases, record).items():
                if name in values:
                    raise Rejected("n", f"{name} is there twice for one time")
                values[name] = value
        except Rejected as error:
            raise Rejected(f"{number}.{error.field}", error.reason) from None
    dated = [{"ts": ts, "values": readings[ts]} for ts in sorted(ts for ts in readings if ts is not None)]
    return dated + ([{"values": readings[None]}] if None in readings else [])


def _check(record: Any) -> None:
    if not isinstance(record, dict):
        raise Rejected("record", "must be a JSON object")
    for field in record:
        if field.endswith("_"):
            raise Rejected(field, "has to be understood, and is not known here")


def _rebase(bases: _Bases, record: dict[str, Any]) -> None:
    version = record.get("bver")
    if version is not None:
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
            raise Rejected("bver", f"must be a whole number up to {VERSION}")
        if bases.version not in (None, version):
            raise Rejected("bver", "must be the same in all records")
        bases.version = version
    bases.name = _text(record, "bn") or (bases.name if record.get("bn") is None else "")
    bases.time = _number(record, "bt", bases.time)
    bases.value = _number(record, "bv", bases.value)
    bases.sum = bases.sum if record.get("bs") is None else _number(record, "bs", 0)


def _ts(bases: _Bases, record: dict[str, Any], now: int) -> int | None:
    time = bases.time + _number(record, "t", 0)
    if abs(time) > MAX_S:
        raise Rejected("t", "is no time")
    if time == 0:
        return None
    ms = round(time * 1000)
    return now + ms if time < RELATIVE_BELOW_S else ms


def _values(bases: _Bases, record: dict[str, Any]) -> dict[str, Any]:
    name = _metric(bases.name + _text(record, "n"))
    told = [field for field in VALUES if record.get(field) is not None]
    if len(told) > 1:
        raise Rejected(told[1], f"stands beside {told[0]}: a record has one value")
    values = {name: _value(bases, record, told[0])} if told else {}
    if bases.sum is not None or record.get("s") is not None:
        values[f"{name}.sum"] = (bases.sum or 0) + _number(record, "s", 0)
    if not values:
        raise Rejected("v", "is missing: a record has a value (v, vs, vb, vd) or a sum (s)")
    return values


def _metric(name: str) -> str:
    if not NAME.fullmatch(name):
        raise Rejected("n", "must be, behind its base, letters, digits and - : . / _, with a letter or digit first")
    metric = name.rpartition(":")[2] if name.startswith("urn:") else name
    if not metric:
        raise Rejected("n", "names a device, and no metric of it")
    return metric


def _value(bases: _Bases, record: dict[str, Any], field: str) -> Any:
    if field == "v":
        return bases.value + _number(record, "v", 0)
    if field == "vb":
        if not isinstance(record["vb"], bool):
            raise Rejected("vb", "must be true or false")
        return record["vb"]
    return _text(record, field)


def _number(record: dict[str, Any], field: str, otherwise: Number) -> Number:
    value = record.get(field)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Rejected(field, "must be a number")
    if isinstance(value, int) and abs(value) > MAX_WHOLE:  # which no float may hold, and no store
        raise Rejected(field, "must be a number of at most 64 bits")
    return value


def _text(record: dict[str, Any], field: str) -> str:
    value = record.get(field)
    if value is not None and not isinstance(value, str):
        raise Rejected(field, "must be a text")
    return value or ""
