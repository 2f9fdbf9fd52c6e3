"""HTTP devices: a POST is answered once what it brought is on the disk. (C5)"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from pydantic import Field, ValidationInfo, field_validator
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fieldloom_contract.limits import MAX_NAME, MAX_UP_BYTES
from fieldloom_contract.topics import EVENT, RESULT, TELEMETRY, device
from fieldloom_gateway.adapters import formats
from fieldloom_gateway.adapters.base import (
    BUSY,
    AdapterMetrics,
    AdapterSettings,
    Fault,
    Kind,
    Message,
    Outcome,
    Site,
    Verdict,
    key_of,
)
from fieldloom_gateway.adapters.callers import Callers
from fieldloom_gateway.adapters.formats import JSON
from fieldloom_gateway.adapters.inbox import Inbox
from fieldloom_gateway.rate import Rate
from fieldloom_runtime.door import LIST
from fieldloom_runtime.http import serving
from fieldloom_runtime.tls import server_context

CONTENT_TYPE = "Content-Type"
LOOPBACK = ("127.0.0.1", "localhost")
PATHS = {"": TELEMETRY, "/event": EVENT, "/command/result": RESULT}
STOP_GRACE_S = 2
BODY_WITHIN_S = 30.0
SETTLED_WITHIN_S = 30.0
RETRY_AFTER_S = 5
MAX_WAIT_S = 60
LOOK_EVERY_S = 0.5


class HttpSettings(AdapterSettings):
    """A server for devices."""

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    tls: bool = Field(default=True, description="With the gateway's own certificate.")
    requests_per_second: int = Field(default=50, ge=1, description="Of one device; so many at once too.")

    @field_validator("tls")
    @classmethod
    def _is_safe(cls, value: bool, others: ValidationInfo) -> bool:
        if not value and others.data.get("host") not in LOOPBACK:
            raise ValueError("plain HTTP is served on loopback alone")
        return value


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """A request that is not done; `faults` say by path what is wrong with it."""

    def __init__(self, status: int, detail: str, *faults: Fault) -> None:
        super().__init__(detail)
        self.status, self.faults = status, faults


class HttpAdapter:
    """A ProtocolAdapter that serves."""

    def __init__(self, settings: HttpSettings, site: Site) -> None:
        self.metrics = AdapterMetrics()
        self._settings = settings
        self._site = site
        self._callers = Callers(site.credentials, site.data / "broker" / LIST)
        self._rate = Rate(settings.requests_per_second)
        self._inbox = Inbox()
        self.receive = self._inbox.receive
        self.pending = self._inbox.pending
        self._open: AsyncExitStack | None = None
        self.app = self._application()
        """What it serves, which the gateway's page on loopback takes too."""

    @property
    def is_connected(self) -> bool:
        """Whether it serves now."""
        return self._open is not None

    async def subscribe(self, topics: list[str]) -> None:
        """Nothing: a server receives what it serves."""

    async def connect(self) -> None:
        """Begin to serve. Raises StartFailed."""
        own, site = self._settings, self._site
        tls = server_context(site.ca, site.cert, site.key, ssl.TLSVersion.TLSv1_2) if own.tls else None
        if tls is not None:
            tls.verify_mode = ssl.CERT_OPTIONAL  # who has a token need not have one
        name = f"the adapter {own.name or own.protocol}"
        async with AsyncExitStack() as opening:
            way_out = "free the port or set another one"
            await opening.enter_async_context(serving(self.app, name, (own.host, own.port), way_out, STOP_GRACE_S, tls))
            self._open = opening.pop_all()

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:  # noqa: ARG002 - the interface's
        """Return False: a device that only makes requests can't be called."""
        return False

    async def close(self) -> None:
        """End what is served."""
        opened, self._open = self._open, None
        if opened is not None:
            await opened.aclose()

    def _application(self) -> Starlette:
        routes = [
            Route("/ingest/{device}" + path, self._taking(verb), methods=["POST"]) for path, verb in PATHS.items()
        ]
        routes.append(Route("/command/{device}", self._give_commands, methods=["GET"]))
        handlers: dict[Any, Any] = {Refused: _refused, HTTPException: _unserved}
        return Starlette(routes=routes, exception_handlers=handlers)

    def _taking(self, verb: str) -> Callable[[Request], Awaitable[Response]]:
        async def take(request: Request) -> Response:
            self.metrics.messages_received += 1
            try:
                name = self._admit(request)
                await self._deliver(name, verb, request)
            except Refused:
                self.metrics.errors += 1
                raise
            self.metrics.acks += 1
            return Response(status_code=202)

        return take

    async def _give_commands(self, request: Request) -> Response:
        """Answer with the commands that wait, as soon as there is one, at the latest after `wait` seconds."""
        try:
            name, ends = self._admit(request), time.monotonic() + _wait(request)
        except Refused:
            self.metrics.errors += 1
            raise
        while not (waiting := await self._site.waiting(name)) and time.monotonic() < ends:  # noqa: ASYNC110 - the store calls nobody
            await asyncio.sleep(LOOK_EVERY_S)
        body = b"[" + b",".join(waiting) + b"]"
        self.metrics.messages_sent += len(waiting)
        self.metrics.bytes_sent += len(body)
        return Response(body, media_type=JSON)

    def _admit(self, request: Request) -> str:
        """Return the device of a request that is its own. Raises Refused."""
        shown = getattr(request.state, "certificate", None)
        caller = self._callers.device(request.headers.get("authorization", ""), shown)
        if caller is None:
            way = "send `Authorization: Bearer TOKEN`, or over TLS a certificate that is not revoked"
            raise Refused(401, way)
        if caller != request.path_params["device"]:
            raise Refused(403, f"{caller} may not speak for another device")
        if not self._rate.allows(caller, 1, time.monotonic()):
            limit = self._settings.requests_per_second
            raise Refused(429, f"a device makes at most {limit} a second: send arrays of records")
        return caller

    async def _deliver(self, name: str, verb: str, request: Request) -> None:
        """Return when all that a request brings is on the disk. Raises Refused."""
        body = await _body(request)
        self.metrics.bytes_received += len(body)
        status, payload, fault = _read(request, verb, body)
        mark = request.headers.get("idempotency-key")
        if mark is not None and not 1 <= len(mark) <= MAX_NAME:
            fault = Fault("Idempotency-Key", f"must have 1 to {MAX_NAME} characters")
        key = None if mark is None else key_of(mark, body)
        outcome = await self._settled(Message(device(name, verb), payload, None, fault, key))
        if outcome.verdict is Verdict.BUSY:
            raise Refused(503, "there is no room now: send it again later")
        if outcome.verdict is Verdict.REFUSED:
            kept = "what is wrong lies with the dead letters, the rest was taken: do not send it again"
            raise Refused(status, kept, *outcome.faults)

    async def _settled(self, message: Message) -> Outcome:
        settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if not settled.done():  # who asked may have gone
                settled.set_result(outcome)

        if not self._inbox.put(message._replace(settle=settle)):
            self.metrics.dropped += 1
            return BUSY
        try:
            async with asyncio.timeout(SETTLED_WITHIN_S):
                return await settled
        except TimeoutError:
            return BUSY


def _wait(request: Request) -> int:
    text = request.query_params.get("wait", "0")
    if not (len(text) <= 2 and text.isascii() and text.isdecimal() and int(text) <= MAX_WAIT_S):
        raise Refused(422, "the wait can't be understood", Fault("wait", f"must be 0 to {MAX_WAIT_S} seconds"))
    return int(text)


async def _body(request: Request) -> bytes:
    """Return what a request brings, cut off behind the first byte that is too much. Raises Refused."""
    body = b""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for part in request.stream():
                body += part
                if len(body) > MAX_UP_BYTES:
                    return body[: MAX_UP_BYTES + 1]
    except TimeoutError:
        raise Refused(408, f"the body did not come within {BODY_WITHIN_S:.0f} s") from None
    except ClientDisconnect:
        raise Refused(400, "the body did not come whole") from None
    return body


def _read(request: Request, verb: str, body: bytes) -> tuple[int, bytes, Fault | None]:
    """Return a message in the contract's form, or what is wrong with it, and the status of a refusal."""
    if len(body) > MAX_UP_BYTES:
        return 413, body, Fault("payload", f"has more than {MAX_UP_BYTES} bytes")
    media = request.headers.get(CONTENT_TYPE, "").partition(";")[0].strip().lower()
    payload, fault = formats.read(verb, media, body, CONTENT_TYPE)
    if fault is None or fault.path != CONTENT_TYPE:
        return 422, payload, fault
    return 415, body, fault._replace(reason=f"{fault.reason}, not {media[:MAX_NAME] or 'missing'}")


async def _refused(_: Request, error: Refused) -> JSONResponse:
    return _problem(error.status, str(error), error.faults)


async def _unserved(_: Request, error: HTTPException) -> JSONResponse:
    answer = _problem(error.status_code, "POST to /ingest/DEVICE[/event|/command/result], or GET /command/DEVICE")
    answer.headers.update(error.headers or {})
    return answer


def _problem(status: int, detail: str, faults: tuple[Fault, ...] = ()) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    errors = {"errors": [fault._asdict() for fault in faults]} if faults else {}
    retry = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else {}
    known = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({**body, **errors}, status, {**retry, **known}, "application/problem+json")


KIND = Kind(HttpSettings, HttpAdapter)
