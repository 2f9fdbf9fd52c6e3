"""Points as InfluxDB's line protocol, which every generation of InfluxDB and VictoriaMetrics take. (S1, ADR 37)

A point is `fieldloom,device=D,metric=M,tag_NAME=VALUE value=1.5 MS`, one of a downsampling rule has the measurement
`fieldloom_rolled`, and each numbered record leaves `fieldloom_record,device=D,boot=B seq=S MS` for the proof of
completeness. All fields are floats: one of another type would have a server refuse part of a batch. What the protocol
can't say (a backslash before a comma, a line's end) is percent-encoded in names and values of tags.
"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from fieldloom_cloud.timeseries.ports import Point, Tags, Tier
from fieldloom_runtime.records import Telemetry

MEASUREMENTS = {Tier.RAW: "fieldloom", Tier.ROLLED: "fieldloom_rolled"}
RECORD = "fieldloom_record"
FIELD, SEQ = "value", "seq"
TAG = "tag_"

_UNSAID = re.compile(r"[%\\\x00-\x1f\x7f]")
_SPECIAL = re.compile(r"([,= ])")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/-]*").fullmatch


def coded(text: str) -> str:
    """Return a text as a server has it as the name or value of a tag."""
    return text if _PLAIN(text) else _UNSAID.sub(lambda found: f"%{ord(found[0]):02X}", text)


def decoded(text: str) -> str:
    """Return what was coded."""
    return unquote(text)


def tags_of(labels: dict[str, str]) -> Tags:
    """Return our tags among a server's labels; InfluxDB gives empty ones for those that a series does not have."""
    ours = {name: value for name, value in labels.items() if name.startswith(TAG) and value}
    return tuple(sorted((decoded(name.removeprefix(TAG)), decoded(value)) for name, value in ours.items()))


def of_points(points: Iterable[Point], tier: Tier) -> bytes:
    """Return points as lines, and a line for each numbered record that they are of."""
    lines = [_line(point, MEASUREMENTS[tier]) for point in points]
    records = {(point.device, point.boot, point.seq, point.ts) for point in points if tier is Tier.RAW}
    lines += [_record(*record) for record in sorted(records, key=str) if None not in record]
    return "\n".join(lines).encode()


def of_records(records: Iterable[Telemetry]) -> tuple[bytes, int]:
    """Return the numbers of telemetry as lines, and how many points they are; texts are state and not series."""
    lines: list[str] = []
    points = 0
    for record in records:
        before = len(lines)
        start = f"{MEASUREMENTS[Tier.RAW]},device={_said(record.device)},metric="
        for metric, value in record.values.items():
            if isinstance(value, (int, float)):
                tags = record.tags.get(metric) if record.tags else None
                told = _told(sorted(tags.items())) if tags else ""
                lines.append(f"{start}{_said(metric)}{told} {FIELD}={float(value)!r} {record.ts}")
        points += len(lines) - before
        if len(lines) > before and record.boot is not None and record.seq is not None:
            lines.append(_record(record.device, record.boot, record.seq, record.ts))
    return "\n".join(lines).encode(), points


def _line(point: Point, measurement: str) -> str:
    series = f"{measurement},device={_said(point.device)},metric={_said(point.metric)}{_told(point.tags)}"
    return f"{series} {FIELD}={float(point.value)!r} {point.ts}"


def _record(device: Any, boot: Any, seq: Any, ts: Any) -> str:
    return f"{RECORD},device={_said(device)},boot={boot} {SEQ}={float(seq)!r} {ts}"


def _told(tags: Iterable[tuple[str, str]]) -> str:
    return "".join(f",{TAG}{_said(name)}={_said(value)}" for name, value in tags)


def _said(text: str) -> str:
    return text if _PLAIN(text) else _SPECIAL.sub(r"\\\1", coded(text))
