"""Gathers what stores, registry and gateways know about a window, and has it judged. (T8, ADR 31)"""

from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.completeness.verdict import Drop, Known, Sighting, Verdict, Word, judge
from fieldloom_cloud.ingest import gateways
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.timeseries.asking import answered
from fieldloom_cloud.timeseries.ports import Reader, Seen
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import number
from fieldloom_contract.limits import MAX_AHEAD_MS, MAX_BOOT


class Answer(NamedTuple):
    """A verdict, and how many records without a number were dropped, as reports in the window tell."""

    verdict: Verdict
    unnumbered: int


class Asked(NamedTuple):
    """A device and a window, Unix ms, `end` excluded; `is_connected` if gateways can be heard now."""

    device: str
    start: int
    end: int
    now: int
    is_connected: bool


async def prove(session: AsyncSession, series: Reader, asked: Asked) -> Answer:
    """Return what is proven of a device's records in a window. Raises NotFound and Unavailable."""
    device, start, end = asked.device, asked.start, asked.end
    shown = await registry.device(session, device)
    received = await ingest.received(session, device)
    of_points = await answered(series.seen, device, start, end)
    before, inside, after = _joined(of_points, await ingest.seen_events(session, device, start, end))
    drops, unnumbered = _drops(await ingest.reports_of_drops(session, device, start - MAX_AHEAD_MS), start, end)
    standing = await gateways.standing(session, await registry.gateways_of(session, shown["site"]), device, asked.now)
    keepers = [one._replace(is_online=one.is_online and asked.is_connected) for one in standing]
    named = {*received, *(drop.boot for drop in drops), *(held[0] for one in keepers for held in one.holds)}
    unseen = named - {one.boot for one in (before, after, *(pair[0] for pair in inside)) if one is not None}
    dated = await answered(series.boots_of, device, unseen) if unseen else set()
    dated |= await ingest.boots_of_events(session, device, unseen)
    told = await registry.held(session, device)
    word = Word(shown["status"] == "online" and asked.is_connected, *told) if told else None
    known = Known(received, before, inside, after, dated, drops, word, keepers)
    return Answer(judge(known, start, end), unnumbered)


def _joined(one: Seen, other: Seen) -> tuple[Sighting | None, list[tuple[Sighting, Sighting]], Sighting | None]:
    """Return the sightings of both stores as those of one."""
    befores = [Sighting(*seen.before) for seen in (one, other) if seen.before]
    afters = [Sighting(*seen.after) for seen in (one, other) if seen.after]
    inside: dict[int, tuple[Sighting, Sighting]] = {}
    for boot, low, high, first, last in [*one.inside, *other.inside]:
        lowest, highest = Sighting(boot, low, first), Sighting(boot, high, last)
        if boot in inside:
            lowest, highest = min(lowest, inside[boot][0]), max(highest, inside[boot][1])
        inside[boot] = (lowest, highest)
    by_time = sorted(inside.values(), key=lambda pair: pair[0].ts)
    return max(befores, key=_ts, default=None), by_time, min(afters, key=_ts, default=None)


def _ts(sighting: Sighting) -> int:
    return sighting.ts


def _drops(reports: list[tuple[int, bool, dict[str, Any]]], start: int, end: int) -> tuple[list[Drop], int]:
    """Return what reports name; one that makes no sense names nothing, and is an event like any other."""
    drops: list[Drop] = []
    unnumbered = 0
    for ts, by_gateway, data in reports:
        try:
            if by_gateway and "count" in data:
                unnumbered += number(data, "count", 1) if start <= ts < end else 0
                continue
            first = number(data, "from", 1)
            span = (number(data, "boot", 1, MAX_BOOT), first, number(data, "to", first))
        except Rejected:
            continue
        drops.append(Drop(*span, str(data.get("reason", "")), ts, by_gateway))
    return drops, unnumbered
