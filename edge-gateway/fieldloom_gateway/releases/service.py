"""Answers the boards that ask for a release's files: from the cache, or once the cloud has sent them. (F5)

Nothing of a board is kept but its last request, until that is answered: who hears nothing asks again.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from fieldloom_contract import topics, update
from fieldloom_contract.errors import Rejected
from fieldloom_contract.release import parse_id
from fieldloom_gateway.rate import Rate
from fieldloom_gateway.releases.fetch import Fetcher, NotFetched, Unreachable

log = structlog.get_logger()

RETRY_S = 2.0
PREFETCHED = 2000  # files that may wait for a better link: ten of the largest releases
RATE_BYTES = 512 * 1024  # more than any board takes in a second
LEAST_COST = 512  # of a request, however little it asks for

Send = Callable[[str, str, bytes], Awaitable[None]]


class Request(NamedTuple):
    """A part of a file that a board asks for."""

    release: str
    file: str
    offset: int
    length: int


class Releases:
    """`send(device, verb, payload)` reaches a board that may not be there; `steady` gives seconds."""

    def __init__(self, fetcher: Fetcher, send: Send, steady: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._send = send
        self._steady = steady
        self._rate = Rate(RATE_BYTES)
        self._asked: dict[str, Request] = {}
        self._parked: dict[str, Request] = {}  # what is not here yet
        self._prefetch: dict[tuple[str, str | None], None] = {}
        self._new = asyncio.Event()  # to be fetched
        self._heard = asyncio.Event()
        self.counts: Counter[str] = Counter()

    def hear(self, device: str, wanted: dict[str, Any]) -> None:
        """Take a request of a board, as the contract has parsed it, in the place of one that still waits.

        What is too much for a board is dropped and counted.
        """
        request = Request(**wanted)
        self.counts["requests"] += 1
        if not self._rate.allows(device, max(request.length, LEAST_COST), self._steady()):
            self.counts["over_rate"] += 1
            return
        self._parked.pop(device, None)
        self._asked[device] = request
        self._heard.set()

    def expect(self, release: Any) -> None:
        """Fetch a release before its board asks: an update to it has passed. What is no release's id is ignored."""
        with suppress(Rejected):
            parse_id(release)
            self._want((release, None))

    def figures(self) -> dict[str, int]:
        """Return what was counted since the start; `damaged` are cached files that had lost their hash."""
        return {**self.counts, "damaged": self._fetcher.damaged}

    async def run(self) -> None:
        """Answer and fetch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer_all(), name="releases-answers")
            tasks.create_task(self._fetch_all(), name="releases-fetches")

    async def _answer_all(self) -> None:
        while True:
            await self._heard.wait()
            self._heard.clear()
            while self._asked:
                device = next(iter(self._asked))
                await self._answer(device, self._asked.pop(device))

    async def _answer(self, device: str, request: Request) -> None:
        try:
            body = await self._fetcher.held(request.release, request.file)
        except NotFetched as error:
            await self._refuse(device, request, error.reason)
            return
        if body is not None:
            await self._serve(device, request, body)
        elif device not in self._asked:  # for something else meanwhile
            self._parked[device] = request
            self._new.set()

    async def _fetch_all(self) -> None:
        while True:
            self._new.clear()
            wanted = self._next()
            if wanted is None:
                await self._new.wait()
                continue
            try:
                await self._fetch(*wanted)
            except Unreachable as error:
                for device, request in self._unpark():
                    await self._refuse(device, request, error.reason)
                await self._pause()
            except NotFetched as error:
                log.warning("release_not_fetched", release=wanted[0], file=wanted[1], reason=error.reason)
                self._prefetch.pop(wanted, None)
                for device, request in self._unpark(wanted):
                    await self._refuse(device, request, error.reason)
            else:
                self._prefetch.pop(wanted, None)

    def _next(self) -> tuple[str, str | None] | None:
        """Return what to fetch: first what boards wait for."""
        for request in self._parked.values():
            return request.release, request.file
        return next(iter(self._prefetch), None)

    async def _fetch(self, release: str, file: str | None) -> None:
        if file is None:
            for name in await self._fetcher.fetch_index(release):
                self._want((release, name))
            return
        await self._fetcher.fetch(release, file)
        self.counts["fetched"] += 1
        for device, request in self._unpark((release, file)):
            self._asked.setdefault(device, request)
            self._heard.set()

    def _want(self, wanted: tuple[str, str | None]) -> None:
        if len(self._prefetch) < PREFETCHED:
            self._prefetch[wanted] = None
            self._new.set()

    def _unpark(self, wanted: tuple[str, str | None] | None = None) -> list[tuple[str, Request]]:
        """Return whose requests have waited for a file, or for any, and let them wait no more."""
        found = [one for one in self._parked.items() if wanted in (None, (one[1].release, one[1].file))]
        for device, _ in found:
            del self._parked[device]
        return found

    async def _pause(self) -> None:
        """Wait for a better link, or for a board that has to be told of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await self._new.wait()

    async def _serve(self, device: str, request: Request, body: bytes) -> None:
        if request.offset > len(body):
            await self._refuse(device, request, f"the file has {len(body)} bytes")
            return
        end = min(request.offset + request.length, len(body))
        # A board that asks at the end, as for an empty file, is told the size all the same.
        for at in range(request.offset, max(end, request.offset + 1), update.CHUNK_BYTES):
            data = body[at : min(at + update.CHUNK_BYTES, end)]
            chunk = update.pack_chunk(request.release, request.file, at, len(body), data)
            await self._send(device, topics.UPDATE_CHUNK, chunk)
            self.counts["chunks"] += 1

    async def _refuse(self, device: str, request: Request, reason: str) -> None:
        self.counts["unknown"] += 1
        chunk = update.pack_unknown(request.release, request.file, reason)
        await self._send(device, topics.UPDATE_CHUNK, chunk)
