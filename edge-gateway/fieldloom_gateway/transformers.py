"""The chains of transformers in a gateway's data folder: read, checked, taken into use while it runs. (T1)

They are read at the start and when they are asked to be, never by watching the file: so a file that is half written is
not read, and who reloads is told what is wrong with it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import structlog
from fastapi import FastAPI, Header

from fieldloom_engine.transformers.chains import Chains, compiled
from fieldloom_gateway.ingest.store import Store
from fieldloom_gateway.local import Refused, admit
from fieldloom_runtime.definitions import Unreadable, read
from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()

FILE = "transformers.yaml"


class BadChains(Exception):  # noqa: N818 - it reads as what happened
    """A text that makes no chains; `faults` name line, path and reason each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def compile_text(text: str) -> Chains | None:
    """Return the chains of a text, None if it is empty. Raises BadChains."""
    if not text.strip():
        return None
    try:
        told = read(text)
    except Unreadable as error:
        raise BadChains([str(error)]) from None
    chains, faults = compiled(told.value, time.perf_counter_ns)
    if faults:
        raise BadChains([f"line {told.line(fault.path)}: {fault}" for fault in faults])
    return chains


class Prepared(NamedTuple):
    """Chains that are ready to be used, and the text that they are of."""

    text: str
    chains: Chains | None


class Transformers:
    """What a gateway has of its chains: those in use, and what is wrong with a newer file."""

    def __init__(self, data: Path, store: Store, now: Callable[[], int]) -> None:
        self._path = data / FILE
        self._store = store
        self._now = now
        self._faults: list[str] = []

    def start(self) -> None:
        """Take the file into use; a bad one leaves the chains of the last run in use. Raises StartFailed."""
        try:
            prepared = self.prepare()
        except BadChains as error:
            last_good = self._store.chains_text()
            if not last_good:
                raise StartFailed(f"{self._path}: {error}", "correct the file, or remove it") from None
            prepared = Prepared(last_good, compile_text(last_good))
        self._store.use_chains(prepared.chains, prepared.text, self._now())

    def prepare(self) -> Prepared:
        """Return the chains of the file. Raises BadChains; then those in use stay, and `status` tells why."""
        try:
            text = self._text()
            return Prepared(text, compile_text(text))
        except BadChains as error:
            self._faults = error.faults
            log.error("transformers_refused", file=str(self._path), faults=error.faults)  # noqa: TRY400
            raise

    def use(self, prepared: Prepared) -> dict[str, Any]:
        """Take chains into use, and return the status; on the thread that has the disk."""
        self._store.use_chains(prepared.chains, prepared.text, self._now())
        self._faults = []
        return self.status()

    def status(self) -> dict[str, Any]:
        """Return what `status` tells."""
        transforming = self._store.transforming
        return {"faults": self._faults, "open_windows": transforming.open_windows, "stages": transforming.figures()}

    def _text(self) -> str:
        try:
            return self._path.read_text()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadChains([f"the file can't be read: {error}"]) from None


def add_reload(app: FastAPI, token: str, transformers: Transformers, in_store: Callable[..., Awaitable[Any]]) -> None:
    """Add `POST /api/v1/transformers/reload` to an interface."""

    @app.post("/api/v1/transformers/reload")
    async def reload(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(authorization, token)
        try:
            prepared = await asyncio.to_thread(transformers.prepare)  # units and expressions take a second to load
        except BadChains as error:
            raise Refused(
                422,
                "Bad content",
                f"{FILE} is not taken, the chains before it stay in use",
                [{"path": FILE, "reason": fault} for fault in error.faults],
            ) from None
        told: dict[str, Any] = await in_store(transformers.use, prepared)
        return told
