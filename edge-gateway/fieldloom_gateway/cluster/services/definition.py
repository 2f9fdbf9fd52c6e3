"""A service, its checks, and what is told of it; as they stand in the replicated map, in MessagePack. (D5)"""

import re
from typing import Literal

import msgspec

from fieldloom_contract.errors import Rejected

LIVE = "services/"
"""NAME/ID below it: what is offered now, as long as its gateway lives."""
KEPT = "registered/"
"""GATEWAY/NAME/ID below it: what a gateway vouches for whenever it runs."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
HOST = re.compile(r"[A-Za-z0-9.:_-]{1,255}")
METADATA = 32
METADATA_BYTES = 256
CHECKS = 8
INTERVAL_MIN_S, INTERVAL_MAX_S = 0.1, 3600.0
TIMEOUT_MAX_S = 60.0
THRESHOLD_MAX = 100

Status = Literal["unknown", "healthy", "unhealthy"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """How a service is found to work: by `tcp` it takes a connection, by `http` it answers a GET of a path with 2xx."""

    kind: Literal["tcp", "http"] = "tcp"
    port: int = 0
    """0 is the service's own."""
    path: str = "/"
    tls: bool = False
    """Whether HTTP goes over TLS. The certificate is verified unless `verify` is False."""
    verify: bool = True
    interval_s: float = 10.0
    timeout_s: float = 5.0
    failures: int = 3
    """So many in a row make it unhealthy."""
    successes: int = 2
    """So many in a row make it healthy."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of what is offered under a name."""

    name: str
    id: str
    host: str
    port: int
    metadata: dict[str, str] = {}
    checks: tuple[Check, ...] = ()


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A service as the site sees it."""

    service: Service
    member: str
    """The gateway that vouches for it and runs its checks."""
    status: Status
    fault: str = ""
    """What the first check that fails has met."""
    load: float = 0.0
    """What it says of itself by `report_load`; the least is selected by `least_loaded`."""

    @property
    def is_healthy(self) -> bool:
        """Whether it may be selected."""
        return self.status == "healthy"


_encode = msgspec.msgpack.Encoder().encode
_service = msgspec.msgpack.Decoder(Service)
_instance = msgspec.msgpack.Decoder(Instance)


def encode(body: Service | Instance) -> bytes:
    """Return the bytes of a value of the map."""
    return _encode(body)


def decode_service(body: bytes) -> Service:
    """Return what a gateway vouches for."""
    return _service.decode(body)


def decode_instance(body: bytes) -> Instance:
    """Return what is offered."""
    return _instance.decode(body)


def live_key(name: str, service: str) -> str:
    """Return the key of what is offered."""
    return f"{LIVE}{name}/{service}"


def kept_key(member: str, name: str, service: str) -> str:
    """Return the key of what a gateway vouches for."""
    return f"{KEPT}{member}/{name}/{service}"


def fresh(service: Service, member: str) -> Instance:
    """Return a service of which nothing is known yet; without checks it is healthy."""
    return Instance(service=service, member=member, status="unknown" if service.checks else "healthy")


def check_service(service: Service) -> None:
    """Raise Rejected, with the field, for a service that can't be registered."""
    for field, text, pattern in (
        ("name", service.name, NAME),
        ("id", service.id, NAME),
        ("host", service.host, HOST),
    ):
        if not pattern.fullmatch(text):
            raise Rejected(field, f"{text[:80]!r} does not match {pattern.pattern}")
    _within("port", service.port, 1, 65535)
    if len(service.metadata) > METADATA:
        raise Rejected("metadata", f"{len(service.metadata)} fields are more than {METADATA}")
    for key, value in service.metadata.items():
        if max(len(key.encode()), len(value.encode())) > METADATA_BYTES:
            raise Rejected(f"metadata.{key[:80]}", f"is longer than {METADATA_BYTES} bytes")
    if len(service.checks) > CHECKS:
        raise Rejected("checks", f"{len(service.checks)} are more than {CHECKS}")
    for at, check in enumerate(service.checks):
        _check_check(check, f"checks[{at}]")


def _check_check(check: Check, path: str) -> None:
    _within(f"{path}.port", check.port, 0, 65535)
    if not check.path.startswith("/") or not check.path.isascii() or not check.path.isprintable():
        raise Rejected(f"{path}.path", "must be a path of a URL, as /healthz")
    _within(f"{path}.interval_s", check.interval_s, INTERVAL_MIN_S, INTERVAL_MAX_S)
    _within(f"{path}.timeout_s", check.timeout_s, 0.1, TIMEOUT_MAX_S)
    _within(f"{path}.failures", check.failures, 1, THRESHOLD_MAX)
    _within(f"{path}.successes", check.successes, 1, THRESHOLD_MAX)


def _within(path: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # which no NaN is
        raise Rejected(path, f"{value} is not from {least:g} to {most:g}")
