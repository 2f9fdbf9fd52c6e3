"""Calls to web servers: signed by Standard Webhooks, to public or listed addresses, and bounded. (E3)"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from standardwebhooks.webhooks import Webhook

from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.outgoing import configuration
from fieldloom_runtime.outgoing.configuration import Webhooks, origin
from fieldloom_runtime.outgoing.effect import Effect, NotPerformed
from fieldloom_runtime.outgoing.headers import checked
from fieldloom_runtime.outgoing.transport import AddressRefused, Resolve, Transport, resolve

DEADLINE_S = 30.0  # of a call with all its redirects
CONNECT_S = 10.0
MAX_BODY = 262_144  # bytes that are sent
MAX_ANSWER = 4096  # bytes of an answer that are kept; the rest is not read
MAX_REDIRECTS = 3
LONGEST_WAIT_S = 3600.0  # that is waited because the other side says so
AGAIN = frozenset({408, 425, 429})  # and all from 500
SAME_REQUEST = frozenset({307, 308})  # RFC 9110 15.4: the method and the body stay


class _Request(NamedTuple):
    """A call as a rule asks for it."""

    method: str
    url: httpx2.URL
    headers: dict[str, str]
    body: str


class Calls:
    """Performs `http`. `tls` is what servers are verified by, `now` the clock, Unix seconds."""

    def __init__(
        self,
        data: Path,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._data = data
        self._resolve = resolve
        self._tls = tls or httpx2.create_ssl_context()
        self._now = now

    async def perform(self, effect: Effect) -> dict[str, Any]:
        """Make a call, and return status and body of the answer; a long body is cut. Raises NotPerformed."""
        request = _request(effect)
        try:
            settings = configuration.webhooks(self._data)
        except StartFailed as error:
            raise NotPerformed(str(error), again=False) from None
        transport = Transport(settings.allow, self._resolve, self._tls)
        timeout = httpx2.Timeout(DEADLINE_S, connect=CONNECT_S)
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client,
            ):
                return await self._followed(client, settings, effect.id, request)
        except AddressRefused as error:
            raise NotPerformed(str(error), again=False) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise NotPerformed(f"{request.url.host} does not answer in time", again=True) from None
        except httpx2.HTTPError as error:
            raise NotPerformed(f"{request.url.host} can't be called ({error})", again=True) from None

    async def _followed(
        self, client: httpx2.AsyncClient, settings: Webhooks, effect: str, request: _Request
    ) -> dict[str, Any]:
        for _ in range(MAX_REDIRECTS + 1):
            built = self._signed(client, settings, effect, request)
            answer = await client.send(built, stream=True)
            try:
                if not answer.has_redirect_location:
                    return self._result(answer, await _beginning(answer))
                request = _redirected(request, answer)
            finally:
                await answer.aclose()
        raise NotPerformed(f"it was sent on more than {MAX_REDIRECTS} times", again=False)

    def _signed(self, client: httpx2.AsyncClient, settings: Webhooks, effect: str, request: _Request) -> httpx2.Request:
        moment = datetime.fromtimestamp(int(self._now()), UTC)
        asked = origin(request.url)
        headers = httpx2.Headers({"Accept": "*/*", "User-Agent": "Fieldloom", "Accept-Encoding": "identity"})
        headers.update(request.headers)
        headers.update(settings.headers_of(asked))
        headers["Idempotency-Key"] = headers["webhook-id"] = effect
        headers["webhook-timestamp"] = str(int(moment.timestamp()))
        headers["webhook-signature"] = Webhook(settings.secret_of(asked)).sign(effect, moment, request.body)
        return client.build_request(request.method, request.url, headers=headers, content=request.body.encode())

    def _result(self, answer: httpx2.Response, body: str) -> dict[str, Any]:
        if answer.is_success:
            return {"status": answer.status_code, "body": body}
        status = answer.status_code
        again = status in AGAIN or status >= 500
        after_s = self._asked_wait(answer.headers.get("Retry-After")) if again else None
        said = f": {body[:256]}" if body else ""
        raise NotPerformed(f"{answer.request.url.host} answers {status}{said}", again=again, after_s=after_s)

    def _asked_wait(self, told: str | None) -> float | None:
        """Return how long the other side wants to be left alone: a number of seconds, or a date. (RFC 9110 10.2.3)"""
        if told is None:
            return None
        try:
            wait = float(told) if told.isascii() and told.isdigit() else _moment(told) - self._now()
        except ValueError:
            return None
        return min(max(wait, 0.0), LONGEST_WAIT_S)


def _request(effect: Effect) -> _Request:
    """Return what is to be sent. Raises NotPerformed, which names the field."""
    told = effect.parameters
    try:
        url = httpx2.URL(told["url"])
        origin(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise NotPerformed(f"url: {error}", again=False) from None
    if url.userinfo:
        raise NotPerformed("url: must hold no password: give webhooks.yaml a header for its origin", again=False)
    try:
        headers = checked(told.get("headers", {}))
    except ValueError as error:
        raise NotPerformed(f"headers: {error}", again=False) from None
    body = told.get("body")
    if body is None:
        return _Request(told["method"], url, headers, "")
    kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise NotPerformed("body: has a character that is none (a lone surrogate)", again=False) from None
    if size > MAX_BODY:
        raise NotPerformed(f"body: has {size} bytes, more than {MAX_BODY}", again=False)
    if "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = kind
    return _Request(told["method"], url, headers, text)


def _redirected(request: _Request, answer: httpx2.Response) -> _Request:
    """Return the request that a redirect asks for; to another origin go no headers of the rule. Raises NotPerformed."""
    try:
        url = request.url.join(answer.headers["Location"])
        is_same_origin = origin(url) == origin(request.url)
    except (httpx2.InvalidURL, ValueError):
        raise NotPerformed(f"{request.url.host} sends it on to what is no address", again=False) from None
    if url.userinfo:
        raise NotPerformed(f"{request.url.host} sends it on to an address with a password", again=False)
    if answer.status_code not in SAME_REQUEST and request.method != "GET":
        reason = (
            f"{request.url.host} answers {answer.status_code}, which would make a GET of it: name {url.host} itself"
        )
        raise NotPerformed(reason, again=False)
    kept = {name: value for name, value in request.headers.items() if is_same_origin or name.lower() == "content-type"}
    return request._replace(url=url, headers=kept)


async def _beginning(answer: httpx2.Response) -> str:
    """Return the first bytes of an answer as a text that every store can keep."""
    body = b""
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) >= MAX_ANSWER:
            break
    return body[:MAX_ANSWER].decode(errors="replace").replace("\0", "\ufffd")


def _moment(told: str) -> float:
    found = parsedate_to_datetime(told)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
