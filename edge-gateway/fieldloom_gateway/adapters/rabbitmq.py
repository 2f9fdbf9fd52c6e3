"""Keeps RabbitMQ's users as the credentials say, through its management interface. (P8)

A user is a credential, so that two of one device overlap while it changes from one to the other. It may write its
device's messages to the exchange, and declare, bind and read the queue of its device's commands, and nothing else.
RabbitMQ ends the connections of a user that is deleted.
"""

import asyncio
import json
import re
import ssl
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters.base import Credentials, User

TAG = "fieldloom"
"""Marks the users that are kept here; the others are left alone."""
TIMEOUT_S = 10.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ManagementSettings(BaseModel):
    """RabbitMQ's management interface, and an administrator of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="As https://rabbit.site:15671; http only on loopback.")
    user: str
    password_file: Path = Field(description="A file that holds the password, readable by its owner alone.")

    @field_validator("url")
    @classmethod
    def _is_protected(cls, value: str) -> str:
        parts = urllib.parse.urlsplit(value)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError("must begin with https://, or with http:// on loopback")
        return value


class Users:
    """Whose user is whose device's: by the credentials where they are kept, else a user is named as its device."""

    def __init__(self, credentials: Credentials, *, is_kept: bool) -> None:
        self._credentials = credentials
        self._is_kept = is_kept
        self._devices: dict[str, str] = {}

    def device(self, user: str) -> str | None:
        """Return the device of a user that RabbitMQ has proven."""
        if not self._is_kept:
            return _device(user)
        if user not in self._devices:
            self.renew()
        return self._devices.get(user)

    def renew(self) -> list[User]:
        """Look at the credentials again and return all users."""
        users = self._credentials.users() if self._is_kept else []
        self._devices = {user.id: user.device for user in users}
        return users


class Management:
    """RabbitMQ's management interface."""

    def __init__(
        self, url: str, administrator: tuple[str, str], vhost: str, exchange: str, tls: ssl.SSLContext | None
    ) -> None:
        """Talk as `administrator` (user and password)."""
        self._vhost = urllib.parse.quote(vhost, safe="")
        self._exchange = exchange
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(None, url, *administrator, is_authenticated=True)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPBasicAuthHandler(passwords)]
        if tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        self._opener = urllib.request.build_opener(*handlers)
        self._url = url.rstrip("/") + "/api"

    async def keep(self, users: list[User]) -> None:
        """Have exactly these users among those that are kept. Raises OSError where RabbitMQ refuses or is away."""
        await asyncio.to_thread(self._keep, users)

    def _keep(self, users: list[User]) -> None:
        had = {user["name"]: user["password_hash"] for user in self._ask("GET", "users") if TAG in user["tags"]}
        wanted = {user.id: user for user in users}
        for name in had.keys() - wanted.keys():
            self._ask("DELETE", f"users/{_quoted(name)}")
        for name, user in wanted.items():
            if had.get(name) != user.password_hash:
                self._add(user)

    def _add(self, user: User) -> None:
        """Give the rights first: the user counts as kept once it has its password."""
        name, device = _quoted(user.id), re.escape(user.device)
        queue, verbs = rf"{self._exchange}\.d\.{device}", r"(telemetry|event|command\.result|state)"
        secret = {"password_hash": user.password_hash, "hashing_algorithm": "rabbit_password_hashing_sha256"}
        place = f"{self._vhost}/{name}"
        either = f"^({self._exchange}|{queue})$"
        rights = {"configure": f"^{queue}$", "write": either, "read": either}
        keys = {"exchange": self._exchange, "write": rf"^d\.{device}\.{verbs}$", "read": rf"^d\.{device}\.command$"}
        self._ask("PUT", f"users/{name}", {"password_hash": "", "tags": ""})
        self._ask("PUT", f"permissions/{place}", rights)
        self._ask("PUT", f"topic-permissions/{place}", keys)
        self._ask("PUT", f"users/{name}", {**secret, "tags": TAG})

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(f"{self._url}/{path}", method=method)  # noqa: S310 - settings allow http(s)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read() or b"null")


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def _device(user: str) -> str | None:
    try:
        return topics.device_id(user)
    except Rejected:
        return None
