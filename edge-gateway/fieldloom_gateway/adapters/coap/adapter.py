"""CoAP devices: the gateway is their server, by DTLS with a key of their own or by OSCORE. (C3)"""

import asyncio
import ipaddress

from aiocoap import Context
from pydantic import Field, field_validator

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters import base
from fieldloom_gateway.adapters.base import BUSY, AdapterMetrics, AdapterSettings, Fault, Message, Outcome, Verdict
from fieldloom_gateway.adapters.coap import endpoint
from fieldloom_gateway.adapters.coap.keys import Keys
from fieldloom_gateway.adapters.coap.site import Site
from fieldloom_gateway.adapters.inbox import Inbox

SETTLED_WITHIN_S = 30.0
FOLDER = "oscore"
"""In the gateway's data folder: the sequence numbers of OSCORE."""


class CoapSettings(AdapterSettings):
    """Where CoAP devices find the gateway."""

    host: str = Field(default="127.0.0.1", description="One address of this machine, at which devices find it.")
    dtls_port: int = Field(default=5684, ge=1, le=65535, description="UDP: DTLS with pre-shared keys.")
    oscore_port: int = Field(default=5683, ge=1, le=65535, description="UDP: OSCORE; a plain request is refused.")

    @field_validator("host")
    @classmethod
    def _is_one_address(cls, value: str) -> str:
        # Of an answer that comes from another address than the question went to DTLS and CoAP know nothing.
        if ipaddress.ip_address(value).is_unspecified:
            raise ValueError("must be one address of this machine, not all of them")
        return value


class CoapAdapter:
    """A ProtocolAdapter. A request is answered when its message is settled; what finds the inbox full, with 5.03."""

    def __init__(self, settings: CoapSettings, gateway: base.Site) -> None:
        self.metrics = AdapterMetrics()
        self._settings = settings
        self._keys = Keys(gateway.credentials, gateway.data / FOLDER)
        self._site = Site(self._keys, self._give, gateway.waiting, self._count_refusal)
        self._inbox = Inbox()
        self.receive = self._inbox.receive
        self.pending = self._inbox.pending
        self._context: Context | None = None

    @property
    def is_connected(self) -> bool:
        """Whether devices can be heard now."""
        return self._context is not None

    async def connect(self) -> None:
        """Begin to serve. Raises OSError when a port is not to be had."""
        at = self._settings
        self._context = await endpoint.serve(
            self._site, self._keys, self._count_refusal, at.host, at.oscore_port, at.dtls_port
        )

    async def subscribe(self, topics: list[str]) -> None:
        """Do nothing: what is served is what comes in."""

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:  # noqa: ARG002 - the port's
        """Notify a device's observers of a command, and say whether there are any; the rest has no place here."""
        try:
            device, verb = topics.parse_device(topic)
        except Rejected:
            return False
        if verb != topics.COMMAND or not self._site.notify(device):
            return False
        self.metrics.messages_sent += 1
        self.metrics.bytes_sent += len(payload)
        return True

    async def close(self) -> None:
        """Stop to serve."""
        context, self._context = self._context, None
        if context is not None:
            await context.shutdown()

    async def _give(self, device: str, verb: str, payload: bytes, fault: Fault | None) -> Outcome:
        self.metrics.messages_received += 1
        self.metrics.bytes_received += len(payload)
        settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if not settled.done():  # who asked may be gone
                settled.set_result(outcome)

        if not self._inbox.put(Message(topics.device(device, verb), payload, settle, fault)):
            self.metrics.dropped += 1
            return BUSY
        try:
            async with asyncio.timeout(SETTLED_WITHIN_S):
                outcome = await settled
        except TimeoutError:
            return BUSY
        self.metrics.acks += outcome.verdict is Verdict.TAKEN
        return outcome

    def _count_refusal(self) -> None:
        self.metrics.errors += 1


KIND = base.Kind(CoapSettings, CoapAdapter)
