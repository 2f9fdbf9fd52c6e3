"""The cloud's HTTP interface as the command uses it."""

import json
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from fieldloom_cli.errors import CommandFailed, NotFound, Refused, Unreachable

DEFAULT_DATA = Path("data")
TIMEOUT_S = 30.0


class Api:
    """A client of one cloud. `data` is the folder of a demo, whose demo.json tells address and token.

    `FIELDLOOM_API` and `FIELDLOOM_TOKEN` come first, so that a script needs no file. Raises CommandFailed.
    """

    def __init__(self, data: Path | None) -> None:
        self.data = data or DEFAULT_DATA
        url, token = os.environ.get("FIELDLOOM_API"), os.environ.get("FIELDLOOM_TOKEN")
        if not (url and token):
            told = self.demo()
            url, token = told["api"], told["token"]
        self._client = httpx2.Client(
            base_url=url.rstrip("/").removesuffix("/api/v1") + "/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            verify=not url.startswith("http://"),  # which shows no certificate: the roots would be read for nothing
        )
        weakref.finalize(self, self._client.close)  # no command has to say that it asks nothing more

    def demo(self) -> dict[str, Any]:
        """Return what the running demo told of itself. Raises CommandFailed."""
        path = self.data / "demo.json"
        try:
            told: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            raise CommandFailed(
                f"no demo.json in {self.data}: start one by `fieldloom demo --data {self.data}`, "
                "or set FIELDLOOM_API and FIELDLOOM_TOKEN to a cloud's address and token"
            ) from None
        return told

    def call(self, method: str, path: str, **request: Any) -> Any:
        """Return the decoded answer. Raises CommandFailed with what the cloud said."""
        try:
            response = self._client.request(method, path, **request)
        except httpx2.TransportError as error:
            raise Unreachable(
                f"the cloud at {self._client.base_url} does not answer ({error}): is it running?"
            ) from None
        if response.is_success:
            return response.json() if response.content else None
        raise _failure(response)

    def stream(self, path: str, **params: Any) -> Iterator[bytes]:
        """Yield an answer's body as it comes in. Raises CommandFailed with what the cloud said."""
        with self._streamed("GET", path, params=params) as response:
            yield from response.iter_bytes()

    def lines(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Post something and yield the answer, an object a line, as it comes in. Raises CommandFailed."""
        with self._streamed("POST", path, json=body) as response:
            yield from map(json.loads, response.iter_lines())

    @contextmanager
    def _streamed(self, method: str, path: str, **request: Any) -> Iterator[httpx2.Response]:
        try:
            with self._client.stream(method, path, **request) as response:
                if not response.is_success:
                    response.read()
                    raise _failure(response)
                yield response
        except httpx2.TransportError as error:
            raise Unreachable(f"the cloud at {self._client.base_url} went away ({error})") from None

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page by page."""
        cursor = None
        while True:
            page = self.call("GET", path, params={**params, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return


def _failure(response: httpx2.Response) -> CommandFailed:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    said = problem.get("detail") or problem.get("title") or response.reason_phrase
    said += "".join(f"; {fault['path']}: {fault['reason']}" for fault in problem.get("errors", []))
    kinds = {401: Refused, 403: Refused, 404: NotFound}
    return kinds.get(response.status_code, CommandFailed)(f"{said} ({response.status_code})")
