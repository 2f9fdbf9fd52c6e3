"""Announces a gateway in its network, and finds those that do, by multicast DNS and DNS-SD. (C8; RFC 6762, RFC 6763)

What is announced proves nothing: anybody can. Who connects holds the gateway's certificate against the CA, whose
fingerprint is told so that an installer can compare it with the one on paper.
"""

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import ifaddr
from zeroconf import BadTypeInNameException, InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.fingerprint import fingerprint
from fieldloom_gateway.settings import Settings
from fieldloom_runtime.errors import StartFailed

TYPE = "_fieldloom._tcp.local."
EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, never bound
MAX_FOUND = 1000
MAX_LABEL = 63  # RFC 1035
FINGERPRINT = re.compile("[0-9a-f]{64}")


class Seen(NamedTuple):
    """A gateway as its network tells of it; `ca` is the SHA-256 of the CA's root certificate."""

    gateway: str
    addresses: list[str]
    port: int
    ca: str


class Found(NamedTuple):
    """The gateways of a network, and announcements that can't be read, each with its reason."""

    gateways: list[Seen]
    unreadable: list[str]


@asynccontextmanager
async def announced(settings: Settings) -> AsyncIterator[None]:
    """Announce a gateway while the context is entered, on the network of its `mqtt_host` alone. Raises StartFailed."""
    ca = fingerprint(settings.ca)
    try:
        responder = _open(settings.mqtt_host)
    except (OSError, ValueError) as error:
        way_out = "set mqtt_host to an IPv4 address of this machine, or mdns to false"
        raise StartFailed(f"multicast DNS does not work on {settings.mqtt_host} ({error})", way_out) from None
    # A dot would end the label, which is shown to people alone: the id is in the TXT record.
    label = settings.id.replace(".", "-")[:MAX_LABEL]
    info = AsyncServiceInfo(
        TYPE,
        f"{label}.{TYPE}",
        port=settings.mqtt_port,
        properties={"id": settings.id, "mqtt": str(settings.mqtt_port), "ca": ca},
        server=f"{label}.local.",
        parsed_addresses=_addresses(settings.mqtt_host),
    )
    try:
        await (await responder.async_register_service(info, allow_name_change=True))
        yield
    finally:
        await responder.async_unregister_all_services()
        await responder.async_close()


async def find(seconds: float, host: str = EVERYWHERE) -> Found:
    """Return the gateways that answer within some seconds on the network of an address, by default on all.

    Raises OSError and ValueError for an address that is not one of this machine.
    """
    asker = _open(host)
    heard: dict[str, None] = {}

    def note(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:  # noqa: ARG001
        if state_change is ServiceStateChange.Removed:
            heard.pop(name, None)
        elif len(heard) < MAX_FOUND:
            heard[name] = None

    try:
        browser = AsyncServiceBrowser(asker.zeroconf, TYPE, handlers=[note])
        await asyncio.sleep(seconds)
        await browser.async_cancel()
        found = Found([], [])
        infos = _named(list(heard), found)
        async with asyncio.TaskGroup() as tasks:
            for info in infos:
                tasks.create_task(info.async_request(asker.zeroconf, seconds * 1000))
    finally:
        await asker.async_close()
    _read(infos, found)
    return found


def _open(host: str) -> AsyncZeroconf:
    choice = InterfaceChoice.All if host == EVERYWHERE else [str(ipaddress.IPv4Address(host))]
    return AsyncZeroconf(interfaces=choice, ip_version=IPVersion.V4Only)


def _addresses(host: str) -> list[str]:
    """Return where devices reach a server that listens at an address."""
    if host != EVERYWHERE:
        return [host]
    own = [str(one.ip) for adapter in ifaddr.get_adapters() for one in adapter.ips if one.is_IPv4]
    return [address for address in own if not ipaddress.ip_address(address).is_loopback] or own


def _named(names: list[str], found: Found) -> list[AsyncServiceInfo]:
    infos = []
    for name in names:
        try:
            infos.append(AsyncServiceInfo(TYPE, name))
        except BadTypeInNameException:
            found.unreadable.append(f"{name!r}: is no name of a service")
    return infos


def _read(infos: list[AsyncServiceInfo], found: Found) -> None:
    for info in infos:
        try:
            found.gateways.append(_seen(info))
        except Rejected as error:
            found.unreadable.append(f"{info.name!r}: {error}")
    found.gateways.sort()


def _seen(info: AsyncServiceInfo) -> Seen:
    """Return what was announced, of which nothing is shown that could be anything else. Raises Rejected."""
    told = info.decoded_properties
    gateway, ca = topics.gateway_id(told.get("id") or ""), told.get("ca") or ""
    if not FINGERPRINT.fullmatch(ca):
        raise Rejected("ca", "must be a SHA-256 in small hexadecimal digits")
    if not info.port:
        raise Rejected("port", "is missing")
    return Seen(gateway, info.parsed_addresses(IPVersion.V4Only), info.port, ca)
