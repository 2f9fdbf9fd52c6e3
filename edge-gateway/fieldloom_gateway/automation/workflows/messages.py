"""Messages on the site's topics, which start workflows: heard at the gateway's own broker, acknowledged once kept. (W4)

A device may only read these topics, so who publishes there was given the right by whoever looks after the broker.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import gmqtt
import structlog
from gmqtt.mqtt.handler import MQTTError

from fieldloom_contract.compat import loads
from fieldloom_contract.errors import Rejected
from fieldloom_engine.rules import Event
from fieldloom_engine.rules.firing import identity
from fieldloom_engine.workflows.topics import SITE
from fieldloom_engine.workflows.triggers import MESSAGE
from fieldloom_gateway.adapters.mqtt import CLOSE_TIMEOUT_S, CONNECT_TIMEOUT_S, KEEP_ALIVE_S, NEVER, quiet

log = structlog.get_logger()

MAX_BYTES = 65_536
MAX_ID = 256
LOOK_EVERY_S = 1.0
KEPT_S = 3600
"""So long the broker keeps for the gateway what comes while it is away."""
UNACKNOWLEDGED = 100
"""Messages that the broker sends before the first of them is kept."""
MOST_AT_ONCE = 1000
"""Without QoS nothing else holds them up: what comes beyond is dropped."""
NEW_ONLY = 2


class SiteMessage(NamedTuple):
    """A message that has come; `drawn` is its id where it has none of its own."""

    topic: str
    payload: bytes
    drawn: str


def event_of(message: SiteMessage, now: int) -> Event:
    """Return the event that a message is; by the `id` of its payload it is the same one when it comes twice.

    `now` in Unix ms. Raises Rejected.
    """
    if len(message.payload) > MAX_BYTES:
        raise Rejected("payload", f"has {len(message.payload)} bytes, at most {MAX_BYTES} are allowed")
    try:
        data = loads(message.payload)
    except ValueError:
        raise Rejected("payload", "is no JSON") from None
    if not isinstance(data, dict):
        raise Rejected("payload", "must be a JSON object")
    own = data.get("id")
    told = own if isinstance(own, str) and 0 < len(own) <= MAX_ID else None
    id_ = message.drawn if told is None else identity(MESSAGE, message.topic, told)
    return Event(id_, MESSAGE, "", now, data, {"topic": message.topic})


class Wanting(Protocol):
    """Who wants to hear, and counts what was heard."""

    counts: Counter[str]

    @property
    def wants_messages(self) -> bool:
        """Whether a message may start something."""


class Listener:
    """Hears the site's topics as long as somebody wants it. `keep` returns once a message is kept."""

    def __init__(
        self,
        address: tuple[str, int],
        identity: str,
        tls: ssl.SSLContext,
        wanting: Wanting,
        keep: Callable[[str, bytes], Awaitable[None]],
    ) -> None:
        self._host, self._port = address
        self._identity = identity
        self._tls = tls
        self._wanting = wanting
        self._keep = keep
        self._being_kept = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            if self._wanting.wants_messages:
                try:
                    await self._listen()
                except (OSError, TimeoutError, MQTTError) as error:
                    log.warning("workflow_messages_down", error=str(error) or type(error).__name__)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _listen(self) -> None:
        """Listen until the connection is lost, or nobody wants to hear: then the broker keeps nothing either."""
        lost = asyncio.Event()
        session = {"session_expiry_interval": KEPT_S, "receive_maximum": UNACKNOWLEDGED}
        client = gmqtt.Client(
            self._identity, clean_session=False, optimistic_acknowledgement=False, logger=quiet, **session
        )
        client.set_config(NEVER)
        client.on_message = self._take
        client.on_disconnect = lambda *_: lost.set()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.connect(self._host, self._port, ssl=self._tls, keepalive=KEEP_ALIVE_S)
            client.subscribe(gmqtt.Subscription(f"{SITE}#", qos=1, retain_handling_options=NEW_ONLY))
            while self._wanting.wants_messages and not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await lost.wait()
        finally:
            ending = {} if self._wanting.wants_messages else {"session_expiry_interval": 0}
            with suppress(OSError, TimeoutError):  # the other side may be gone
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await client.disconnect(**ending)

    async def _take(self, _: gmqtt.Client, topic: str | bytes, payload: bytes, __: int, ___: dict[str, Any]) -> int:
        """Have a message kept; gmqtt acknowledges it when this returns."""
        if self._being_kept >= MOST_AT_ONCE:
            self._wanting.counts["messages_dropped"] += 1
            return 0
        self._being_kept += 1
        try:
            await self._keep(topic if isinstance(topic, str) else topic.decode(errors="replace"), payload)
        finally:
            self._being_kept -= 1
        self._wanting.counts["messages"] += 1
        return 0  # MQTT 5's "success"
