"""What a device finds at the gateway: paths, formats and codes of CoAP (RFC 7252, 7641, 7959). (C3)"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from aiocoap import Message, error, interfaces
from aiocoap.blockwise import ContinueException
from aiocoap.numbers import ContentFormat, codes
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.pipe import Pipe

from fieldloom_contract import topics
from fieldloom_contract.limits import MAX_UP_BYTES
from fieldloom_gateway.adapters import formats, senml
from fieldloom_gateway.adapters.base import Fault, Outcome, Verdict
from fieldloom_gateway.adapters.coap import blocks
from fieldloom_gateway.adapters.coap.keys import Keys

POSTED = {("telemetry",): topics.TELEMETRY, ("event",): topics.EVENT, ("command", "result"): topics.RESULT}
"""Verbs by path, without the device, which is its second part."""
FORMATS = {None: formats.JSON, 50: formats.JSON, 110: senml.MEDIA_TYPE}
"""Media types by content format; who tells none means JSON."""
FORMAT = "content format"
TOO_LARGE = codes.REQUEST_ENTITY_TOO_LARGE
TOLD = 512
"""Bytes of a reason: an answer has to fit into a datagram."""
BUSY_S = 10
LOOK_AGAIN_S = 2.0
"""So often an observer's credential is looked at, and what waits for it."""
OBSERVERS = 4
"""That many of a device are told of changes; what one more gets is a plain answer."""
UNDERSTOOD = frozenset(
    {
        OptionNumber.URI_HOST,
        OptionNumber.URI_PORT,
        OptionNumber.URI_PATH,
        OptionNumber.BLOCK1,
        OptionNumber.BLOCK2,
        OptionNumber.ACCEPT,
        OptionNumber.OSCORE,
    }
)

Give = Callable[[str, str, bytes, Fault | None], Awaitable[Outcome]]
"""Hands device, verb and payload on, with what is wrong with it already, and returns what became of it."""


class Refusal(error.RenderableError):  # type: ignore[misc]  # aiocoap has no types
    """An answer that ends a request: a code, and the reason in words for a person (RFC 7252, section 5.5.2)."""

    def __init__(self, code: codes.Code, reason: str, **options: int) -> None:
        super().__init__(reason)
        self.code = code
        self._options = options

    def to_message(self) -> Message:
        """Return the answer."""
        reason = str(self).encode()[:TOLD].decode(errors="ignore")
        return Message(code=self.code, payload=reason.encode(), **self._options)


class Site(interfaces.Resource):  # type: ignore[misc]
    """All paths. `waiting` gives the commands of a device, `on_refused` is told of each refusal."""

    def __init__(
        self, keys: Keys, give: Give, waiting: Callable[[str], Awaitable[list[bytes]]], on_refused: Callable[[], None]
    ) -> None:
        super().__init__()
        self._keys = keys
        self._give = give
        self._waiting = waiting
        self._on_refused = on_refused
        self._uploads = blocks.Uploads()
        self._observers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def notify(self, device: str) -> bool:
        """Have a device's observers look at once, and say whether there are any."""
        observers = self._observers.get(device, set())
        for changed in observers:
            changed.set()
        return bool(observers)

    async def render_to_pipe(self, pipe: Pipe) -> None:
        """Answer a request; aiocoap cancels this when nobody waits for the answer any more."""
        try:
            await self._answer(pipe)
        except error.RenderableError as answer:
            if not isinstance(answer, ContinueException):
                self._on_refused()
            raise

    async def render(self, _: Message) -> NoReturn:
        """Not used: what is asked comes by `render_to_pipe`."""
        raise NotImplementedError

    async def needs_blockwise_assembly(self, _: Message) -> bool:
        """Not used: blocks are put together in bounded memory."""
        return False

    async def _answer(self, pipe: Pipe) -> None:
        request = pipe.request
        for option in request.opt.option_list():
            if option.number.is_critical() and option.number not in UNDERSTOOD:
                raise Refusal(codes.BAD_OPTION, f"option {int(option.number)}: is not known here")
        device = self._device(request)
        first, _, *rest = request.opt.uri_path
        if (first, *rest) == ("command",):
            await self._commands(pipe, device)
        elif (first, *rest) in POSTED:
            await self._take(pipe, device, (first, *rest))
        else:
            raise Refusal(codes.NOT_FOUND, "path: is /telemetry, /event or /command, then the device")

    def _device(self, request: Message) -> str:
        """Return the device that asks, which is the one of the path."""
        holders = [self._keys.device(claim) for claim in request.remote.authenticated_claims]
        if not holders or holders[0] is None:
            raise Refusal(codes.UNAUTHORIZED, "credential: DTLS with a key, or OSCORE, is needed")
        if len(request.opt.uri_path) < 2 or request.opt.uri_path[1] != holders[0]:
            raise Refusal(codes.FORBIDDEN, f"path: its device is not {holders[0]}, whose credential this is")
        return holders[0]

    async def _take(self, pipe: Pipe, device: str, path: tuple[str, ...]) -> None:
        request = pipe.request
        if request.code != codes.POST:
            raise Refusal(codes.METHOD_NOT_ALLOWED, "method: must be POST")
        now = asyncio.get_running_loop().time()
        payload, content_format = self._uploads.take((device, "/".join(path)), request, now)
        code, payload, fault = _read(POSTED[path], content_format, payload)
        outcome = await self._give(device, POSTED[path], payload, fault)
        if outcome.verdict is Verdict.BUSY:
            raise Refusal(codes.SERVICE_UNAVAILABLE, "the gateway is full: send it again later", max_age=BUSY_S)
        if outcome.verdict is Verdict.REFUSED:
            told = "; ".join(f"{fault.path}: {fault.reason}" for fault in outcome.faults)
            raise Refusal(code, told, **({"size1": MAX_UP_BYTES} if code == TOO_LARGE else {}))
        answer = Message(code=codes.CHANGED, block1=request.opt.block1, no_response=request.opt.no_response)
        pipe.add_response(answer, is_last=True)

    async def _commands(self, pipe: Pipe, device: str) -> None:
        """Answer with the commands that wait, as an array; an observer gets the new array at every change."""
        request = pipe.request
        if request.code != codes.GET:
            raise Refusal(codes.METHOD_NOT_ALLOWED, "method: must be GET")
        if request.opt.accept not in (None, ContentFormat.JSON):
            raise Refusal(codes.NOT_ACCEPTABLE, "accept: must be 50 (JSON)")
        if request.opt.observe != 0 or len(self._observers.get(device, ())) >= OBSERVERS:
            pipe.add_response(await self._list(request, device), is_last=True)
            return
        with self._observing(device) as changed:
            await self._tell(pipe, device, changed)

    async def _tell(self, pipe: Pipe, device: str, changed: asyncio.Event) -> None:
        told, number = None, 0
        while True:
            self._device(pipe.request)  # a credential that is revoked meanwhile ends it
            changed.clear()
            answer = await self._list(pipe.request, device)
            if answer.opt.etag != told:
                told, number = answer.opt.etag, number + 1
                answer.opt.observe = number
                pipe.add_response(answer, is_last=False)
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await changed.wait()
            except TimeoutError:
                continue

    async def _list(self, request: Message, device: str) -> Message:
        commands = await self._waiting(device)
        return blocks.cut(b"[" + b",".join(commands) + b"]", request)

    @contextmanager
    def _observing(self, device: str) -> Iterator[asyncio.Event]:
        changed = asyncio.Event()
        self._observers[device].add(changed)
        try:
            yield changed
        finally:
            self._observers[device].discard(changed)
            if not self._observers[device]:
                del self._observers[device]


def _read(verb: str, content_format: int | None, body: bytes) -> tuple[codes.Code, bytes, Fault | None]:
    """Return a message in the contract's form, or what is wrong with it, and the code of a refusal."""
    if len(body) > MAX_UP_BYTES:
        return TOO_LARGE, body, Fault("payload", f"has more than {MAX_UP_BYTES} bytes")
    payload, fault = formats.read(verb, FORMATS.get(content_format, "unknown"), body, FORMAT)
    is_unknown = fault is not None and fault.path == FORMAT
    return codes.UNSUPPORTED_CONTENT_FORMAT if is_unknown else codes.BAD_REQUEST, payload, fault
