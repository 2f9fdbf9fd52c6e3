"""The parts of a process, started in order of dependence and stopped in reverse, within a deadline. (V3)"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

import structlog

from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()

STOP_DEADLINE_S = 10.0

Part = tuple[str, AbstractAsyncContextManager[Any]]


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; call it once, inside the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run(parts: Sequence[Part], stop: asyncio.Event, deadline_s: float = STOP_DEADLINE_S) -> None:
    """Enter the parts one after the other, wait for `stop`, and leave them in reverse.

    A part that can't start ends the others and raises StartFailed with its name; what is not left by the deadline is
    cancelled, and said.
    """
    stack = AsyncExitStack()
    try:
        for name, part in parts:
            await _enter(stack, name, part)
            log.info("part_started", part=name)
        await stop.wait()
    finally:
        try:
            async with asyncio.timeout(deadline_s):
                await stack.aclose()
        except TimeoutError:
            log.error("stop_deadline_passed", seconds=deadline_s)  # noqa: TRY400 - the trace would say nothing more


async def _enter(stack: AsyncExitStack, name: str, part: AbstractAsyncContextManager[Any]) -> None:
    try:
        await stack.enter_async_context(part)
    except StartFailed:
        raise
    except OSError as error:
        raise StartFailed(
            f"{name} does not start ({error.strerror or error})", "see the line above in the log"
        ) from error


class Background:
    """A part that is one coroutine: runs as a named task from start to stop, and stops the process if it fails."""

    def __init__(self, name: str, work: Any, stop: asyncio.Event) -> None:
        self._name = name
        self._work = work
        self._stop = stop
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Background":
        self._task = asyncio.create_task(self._guard(), name=self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _guard(self) -> None:
        try:
            await self._work()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("part_failed", part=self._name)
            self._stop.set()
            raise
