"""Whom notifications reach, and how calls are signed: two files in a tier's data folder, for their owner alone. (E3)

notifications.yaml    recipients:
                        on-call: ["mailtos://ann:secret@mail.example?to=ann@home.example", "ntfys://ntfy.example/barn"]
webhooks.yaml         secret: whsec_...            # written with a random one when there is no file
                      allow: [192.168.7.0/24]      # private addresses that may be called
                      origins:
                        https://hooks.example: {secret: whsec_..., headers: {Authorization: Bearer ...}}
"""

import base64
import secrets
from pathlib import Path
from typing import Annotated, TypeVar

import httpx2
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from fieldloom_engine.definitions import Name, Part, faults_of, shown
from fieldloom_runtime import definitions, files
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.outgoing import addresses
from fieldloom_runtime.outgoing.headers import checked

NOTIFICATIONS, WEBHOOKS = "notifications.yaml", "webhooks.yaml"
PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)  # Standard Webhooks: what a secret has

SCHEMES = frozenset(
    {
        *("discord", "gotify", "gotifys", "mailto", "mailtos", "matrixs", "mmosts", "msteams", "ntfy", "ntfys"),
        *("opsgenie", "pagerduty", "pover", "rockets", "signals", "slack", "tgram", "twilio", "webex", "zulip"),
    }
)
"""Of Apprise's channels those that reach people; others read files, run programs or call any address."""


def _channel(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        raise ValueError(f"must be a URL of one of {', '.join(sorted(SCHEMES))}")
    return url


def _secret(text: str) -> str:
    try:
        length = len(base64.b64decode(text.removeprefix(PREFIX), validate=True))
    except ValueError:
        length = 0
    if not text.startswith(PREFIX) or length not in SECRET_BYTES:
        raise ValueError(f"must be {PREFIX} and the base64 of 24 to 64 bytes")
    return text


def _origin(text: str) -> str:
    try:
        found = origin(httpx2.URL(text))
    except (httpx2.InvalidURL, ValueError):
        found = None
    if found is None or text.rstrip("/") != found:
        raise ValueError("must be an origin, as https://hooks.example or https://hooks.example:8443")
    return found


def _network(told: object) -> object:
    return addresses.network(told) if isinstance(told, str) else told


Channel = Annotated[str, Field(max_length=4096), AfterValidator(_channel)]
Secret = Annotated[str, AfterValidator(_secret)]
Listed = Annotated[addresses.Network, BeforeValidator(_network)]


class Notifications(Part):
    """The recipients that rules may name, each with the channels that reach it."""

    recipients: dict[Name, Annotated[list[Channel], Field(min_length=1, max_length=16)]] = {}  # noqa: RUF012 - frozen


class Origin(Part):
    """A server that gets a secret and headers of its own."""

    secret: Secret | None = None
    headers: Annotated[dict[str, str], AfterValidator(checked)] = {}  # noqa: RUF012 - frozen


class Webhooks(Part):
    """How calls are signed, and which addresses may be called that are not public."""

    secret: Secret
    allow: list[Listed] = []  # noqa: RUF012 - frozen
    origins: dict[Annotated[str, AfterValidator(_origin)], Origin] = {}  # noqa: RUF012 - frozen

    def secret_of(self, asked: str) -> str:
        """Return the secret by which calls to an origin are signed."""
        return (self.origins.get(asked) or Origin()).secret or self.secret

    def headers_of(self, asked: str) -> dict[str, str]:
        """Return the headers that calls to an origin get beside the rule's."""
        return (self.origins.get(asked) or Origin()).headers


def origin(url: httpx2.URL) -> str:
    """Return scheme, host and port of a URL of HTTP, as webhooks.yaml names it. Raises ValueError."""
    if url.scheme not in {"http", "https"} or not url.raw_host:
        raise ValueError("must begin with https:// or http:// and name a host")
    return f"{url.scheme}://{url.netloc.decode()}"


def prepare(data: Path) -> None:
    """Write webhooks.yaml with a random secret if it is missing, and read both files. Raises StartFailed."""
    if not (data / WEBHOOKS).exists():
        secret = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        files.write(
            data / WEBHOOKS,
            f"# Receivers verify calls of rules by this secret (Standard Webhooks).\nsecret: {secret}\n",
        )
    webhooks(data)
    notifications(data)


def webhooks(data: Path) -> Webhooks:
    """Return what webhooks.yaml says. Raises StartFailed."""
    return _read(Webhooks, data / WEBHOOKS)


def notifications(data: Path) -> Notifications:
    """Return what notifications.yaml says; without it there are no recipients. Raises StartFailed."""
    path = data / NOTIFICATIONS
    return _read(Notifications, path) if path.exists() else Notifications()


Model = TypeVar("Model", bound=Part)


def _read(model: type[Model], path: Path) -> Model:
    way_out = "correct the file"
    try:
        told = definitions.read(files.read_secret(path))
        return model.model_validate({} if told.value is None else told.value)
    except (definitions.Unreadable, UnicodeDecodeError) as error:
        raise StartFailed(f"{path} can't be read ({error})", way_out) from None
    except ValidationError as error:
        fault = faults_of(error)[0]
        raise StartFailed(
            f"{path}, line {told.line(fault.path)}: {shown(fault.path)} {fault.reason}", way_out
        ) from None
