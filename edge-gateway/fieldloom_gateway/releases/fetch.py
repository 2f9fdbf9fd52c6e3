"""Brings a release's files from the cloud into the cache, a piece at a time; what is there already is not asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from fieldloom_gateway.releases.cache import Cache
from fieldloom_runtime.decoding import UNREADABLE
from fieldloom_runtime.pieces import INDEX, Entry, Piece, Unknown, Wanted, decode_answer, encode

log = structlog.get_logger()

ANSWER_S = 3.0
ATTEMPTS = 3

Ask = Callable[[bytes], Awaitable[bool]]


class NotFetched(Exception):  # noqa: N818 - it reads as what happened
    """A file did not come; `reason` is what a board is told."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreachable(NotFetched):
    """The cloud can't be asked now."""


class Fetcher:
    """One file at a time. `ask` sends a question, and says whether there was a link to send it on.

    The cache has a thread of its own: what a board waits for must not wait for the ingest's commits.
    """

    def __init__(self, cache: Cache, ask: Ask) -> None:
        self._cache = cache
        self._disk = ThreadPoolExecutor(1, "releases")
        self._ask = ask
        self._asked: Wanted | None = None
        self._answer: asyncio.Future[Piece | Unknown] | None = None

    @property
    def damaged(self) -> int:
        """How many files had lost their hash."""
        return self._cache.damaged

    def hear(self, payload: bytes) -> None:
        """Take an answer of the cloud; one that nobody waits for any more says nothing."""
        try:
            told = decode_answer(payload)
        except UNREADABLE as error:
            log.warning("unreadable_piece", error=str(error))
            return
        asked, answer = self._asked, self._answer
        if asked is None or answer is None or answer.done() or (told.release, told.file) != (asked.release, asked.file):
            return
        if isinstance(told, Unknown) or told.offset == asked.offset:
            answer.set_result(told)

    async def held(self, release: str, file: str) -> bytes | None:
        """Return a file that is in the cache already. Raises NotFetched when the disk does not let it be read."""
        body: bytes | None = await self._on_disk(self._cache.read, release, file)
        return body

    async def fetch(self, release: str, file: str) -> None:
        """Have a file in the cache. Raises NotFetched and Unreachable."""
        index = await self._on_disk(self._cache.index, release)
        if index is None:
            await self.fetch_index(release)
            index = await self._on_disk(self._cache.index, release)
        if file not in index:
            raise NotFetched(f"{release} has no such file")
        if await self._on_disk(self._cache.content, index[file].sha256) is None:
            await self._fetch_content(release, file, index[file])

    async def fetch_index(self, release: str) -> list[str]:
        """Have the newest index of a release in the cache, and return the files in it. The same is raised."""
        body = b""
        while True:
            piece = await self._piece(Wanted(release, INDEX, len(body)))
            body += piece.data
            if len(body) >= piece.size or not piece.data:
                break
        try:
            await self._on_disk(self._cache.keep_index, release, body)
        except UNREADABLE as error:
            raise NotFetched(f"the index of {release} can't be read: {error}") from None
        return list(await self._on_disk(self._cache.index, release))

    async def _fetch_content(self, release: str, file: str, entry: Entry) -> None:
        for _ in range(ATTEMPTS):
            while (had := await self._on_disk(self._cache.progress, entry)) < entry.size:
                piece = await self._piece(Wanted(release, file, had))
                if piece.size != entry.size or not piece.data:
                    raise NotFetched(f"{release} has changed in the cloud: send the update anew")
                await self._on_disk(self._cache.append, entry, piece.data)
            if await self._on_disk(self._cache.finish, entry):
                return
        raise NotFetched(f"{file} of {release} comes damaged from the cloud")

    async def _piece(self, wanted: Wanted) -> Piece:
        for _ in range(ATTEMPTS):
            self._asked, self._answer = wanted, asyncio.get_running_loop().create_future()
            if not await self._ask(encode(wanted)):
                raise Unreachable("the gateway has not got it, and can't reach the cloud")
            try:
                async with asyncio.timeout(ANSWER_S):
                    answer = await self._answer
            except TimeoutError:
                continue
            finally:
                self._asked = self._answer = None
            if isinstance(answer, Unknown):
                raise NotFetched(answer.reason)
            return answer
        raise Unreachable("the gateway has not got it, and the cloud does not answer")

    async def _on_disk(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, call, *arguments)
        except OSError as error:
            log.error("release_cache_refused", error=str(error))  # noqa: TRY400
            raise NotFetched(f"the gateway's disk refuses it ({error.strerror})") from None
