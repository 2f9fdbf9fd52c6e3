"""Does what rules have asked for and what is no row of the gateway's database: after the commit, at least once. (E3)

Each is tried again with growing pauses as long as that may help; one that fails does not hold up the others.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from fieldloom_gateway.automation.effects import DONE, FAILED, Again, Due, Outcome
from fieldloom_runtime.outgoing import KINDS, NotPerformed, Outgoing

log = structlog.get_logger()

AT_ONCE = 64
LOOK_EVERY_S = 1.0

Handler = Callable[[Due], Awaitable[dict[str, Any] | None]]
"""Does an effect and returns its result. Raises NotPerformed. The same effect may come again after a crash."""


Settle = Callable[[Due, Outcome | Again], Awaitable[bool]]
"""Keeps what became of an effect, or that it is to be tried again; False when the disk refuses."""


class Performer:
    """Does what is due by the handler of its kind. `due(n)` returns at most so many."""

    def __init__(
        self, handlers: Mapping[str, Handler], due: Callable[[int], Awaitable[list[Due]]], settle: Settle
    ) -> None:
        self._handlers = handlers
        self._due = due
        self._settle = settle
        self._woken = asyncio.Event()
        self._in_hand: set[str] = set()

    def wake(self) -> None:
        """Look at once at what is due."""
        self._woken.set()

    async def run(self) -> None:
        """Do what is due until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._woken.clear()
                for one in await self._due(AT_ONCE):
                    if one.id not in self._in_hand:
                        self._in_hand.add(one.id)
                        tasks.create_task(self.perform(one), name=f"effect-{one.id}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._woken.wait()

    async def perform(self, one: Due) -> None:
        """Do an effect once, and keep what became of it, as soon as the disk takes it."""
        try:
            outcome = await self._outcome(one)
            while not await self._settle(one, outcome):  # noqa: ASYNC110 - nobody tells that a disk has room
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._in_hand.discard(one.id)

    async def _outcome(self, one: Due) -> Outcome | Again:
        try:
            return Outcome(DONE, await self._handlers[one.kind](one))
        except NotPerformed as error:
            if error.again:
                return Again(str(error), round((error.after_s or 0) * 1000))
            return Outcome(FAILED, error=str(error))
        except Exception as error:
            # A fault of a handler stops neither the other actions nor the process.
            log.exception("handler_failed", kind=one.kind, effect=one.id)
            return Outcome(FAILED, error=f"its handler failed: {error!r}")


def handlers_of(data: Path, publish: Callable[[str, bytes], Awaitable[bool]]) -> dict[str, Handler]:
    """Return the handler of each kind, by the files of a data folder. Raises StartFailed when one has a fault."""
    return {
        "log": write_log,
        "publish": Publishing(publish).publish,
        **dict.fromkeys(KINDS, Outgoing(data).perform),
    }


async def write_log(one: Due) -> None:
    """Write a line into the gateway's log."""
    level, message = one.parameters["level"], one.parameters["message"]
    getattr(log, level)("rule_says", rule=one.rule, device=one.device, message=message)


class Publishing:
    """Publishes at the gateway's own broker: `publish(topic, payload)` says whether there was a connection."""

    def __init__(self, publish: Callable[[str, bytes], Awaitable[bool]]) -> None:
        self._publish = publish

    async def publish(self, one: Due) -> None:
        """Publish a text as it is, and all else as JSON. Raises NotPerformed."""
        topic, payload = one.parameters["topic"], one.parameters["payload"]
        if (reason := _unfit(topic)) is not None:
            raise NotPerformed(f"topic: {reason}", again=False)
        body = payload.encode() if isinstance(payload, str) else json.dumps(payload, separators=(",", ":")).encode()
        if not await self._publish(topic, body):
            raise NotPerformed("the gateway's broker can't be reached", again=True)


def _unfit(topic: str) -> str | None:
    """Return why a rule may not publish to a topic."""
    if topic.startswith(("fl/", "$")):
        return "what begins with fl/ or $ speaks for others"
    if any(sign in topic for sign in "+#\0") or len(topic.encode()) > 1024:
        return "must have no + and no #, and at most 1024 bytes"
    return None
