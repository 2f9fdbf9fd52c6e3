"""Backtests over HTTP: a line of JSON a piece of news, as it is found. (E6)"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from fieldloom_cloud.auth.dependencies import Transaction, Viewer
from fieldloom_cloud.automation import checking, history, schemas, service
from fieldloom_cloud.automation.backtest import Run, Trial
from fieldloom_cloud.automation.routes import milliseconds
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import BadContent, TooManyRequests, described
from fieldloom_cloud.strict import StrictRoute
from fieldloom_cloud.timeseries.ports import SeriesError
from fieldloom_engine import rules
from fieldloom_engine.durations import milliseconds as duration

router = APIRouter(prefix="/api/v1", tags=["rules"], route_class=StrictRoute)

AT_A_TIME = 2
MAX_EVENTS = 5_000_000
NDJSON = "application/x-ndjson"
DAY_MS = 86_400_000
_LINES: dict[int | str, dict[str, Any]] = {
    200: {"content": {NDJSON: {"schema": {"type": "string"}}}},
    404: described(404),
    429: described(429),
}


@router.post("/rules/backtest", response_class=StreamingResponse, responses=_LINES)
async def backtest_rule(
    body: schemas.Backtest, request: Request, transaction: Transaction, _: Viewer
) -> StreamingResponse:
    """Replay what is stored through a rule, and another version beside it, and tell when each would have fired.

    The answer is a JSON object a line: `firing` with the values that caused it, `progress`, and at last `summary`.
    """
    span = _span(body)
    trials = await _trials(transaction, body)
    running: set[object] = request.app.state.backtests
    if len(running) >= AT_A_TIME:
        raise TooManyRequests(f"{AT_A_TIME} backtests run already: wait until one is over")
    lines = _lines(request, Run(trials), span)

    async def told() -> AsyncIterator[str]:
        running.add(lines)
        try:
            async for line in lines:
                yield line.model_dump_json() + "\n"
        finally:
            running.discard(lines)
            await lines.aclose()

    return StreamingResponse(told(), media_type=NDJSON)


async def _lines(request: Request, run: Run, span: history.Span) -> AsyncGenerator[BaseModel]:
    state, error = request.app.state, None
    try:
        async for events in history.replay(state.database, state.series, span):
            if run.events + len(events) > MAX_EVENTS:
                error = f"there are more than {MAX_EVENTS} events: name devices, or a shorter time"
                break
            for told in await asyncio.to_thread(run.feed, events):
                yield _fired(told)
            at = events[-1].ts
            share = (at - span.start) / (span.end - span.start)
            yield schemas.Progress(at=from_ms(at), share=round(share, 4), events=run.events)
    except SeriesError as failed:
        error = str(failed)
    if error is None:
        for told in await asyncio.to_thread(run.end, span.end):
            yield _fired(told)
    only = dict(run.difference())
    yield schemas.Summary(events=run.events, fired=run.fired, only=only, complete=error is None, error=error)


def _fired(told: dict[str, Any]) -> schemas.Fired:
    return schemas.Fired.model_validate({**told, "at": from_ms(told["at"])})


async def _trials(transaction: Transaction, body: schemas.Backtest) -> list[Trial]:
    if (body.rule is None) == (body.document is None):
        raise _fault("rule", "or document must be there")
    if body.rule is None and (body.version or body.against_version):
        raise _fault("rule", "must be there for a version of it")
    first = (
        await service.version_of(transaction, body.rule, body.version)
        if body.rule is not None
        else await asyncio.to_thread(checking.checked, body.document)
    )
    trials = [await _trial(transaction, "rule", first)]
    if body.rule is not None and body.against_version is not None:
        other = await service.version_of(transaction, body.rule, body.against_version)
        trials.append(await _trial(transaction, "against", other))
    elif body.against is not None:
        other = await asyncio.to_thread(checking.checked, body.against)
        trials.append(await _trial(transaction, "against", other))
    return trials


async def _trial(transaction: Transaction, name: str, rule: rules.Rule) -> Trial:
    if rule.devices is None:
        return Trial(name, rule, None)
    return Trial(name, rule, frozenset(await service.matching(transaction, rule.devices)))


def _span(body: schemas.Backtest) -> history.Span:
    now = time.time_ns() // 1_000_000
    if body.since is not None and (body.start or body.end):
        raise _fault("since", "stands for start and end: leave those out")
    end = milliseconds(body.end) if body.end else now
    start = end - _length(body.since) if body.since else milliseconds(body.start) if body.start else end - DAY_MS
    if start >= end:
        raise _fault("start", "must be before end")
    return history.Span(body.devices, start, end)


def _length(since: str) -> int:
    try:
        return duration(since)
    except ValueError as unusable:
        raise _fault("since", str(unusable)) from None


def _fault(path: str, reason: str) -> BadContent:
    return BadContent("The backtest makes no sense.", [{"path": path, "reason": reason}])
