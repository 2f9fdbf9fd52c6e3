"""Notifications over the channels that a recipient has, by Apprise. (E3)"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.outgoing import configuration
from fieldloom_runtime.outgoing.effect import Effect, NotPerformed

DEADLINE_S = 60.0
SUBJECT = "Fieldloom"  # where a rule names none
MAIL = ("mailto", "mailtos")
MAX_REASON = 256  # characters
TYPES = {"low": "info", "normal": "warning", "high": "failure"}
"""How Apprise marks a message of an importance, by colour or sign, where a channel has those."""


class Notifications:
    """Performs `notification`: by all channels of the recipient, of which one that works is enough."""

    def __init__(self, data: Path) -> None:
        self._data = data

    async def perform(self, effect: Effect) -> dict[str, Any]:
        """Tell people, and return of each channel whether it took the message. Raises NotPerformed."""
        try:
            recipients = configuration.notifications(self._data).recipients
        except StartFailed as error:
            raise NotPerformed(str(error), again=False) from None
        told = effect.parameters
        channels = recipients.get(told["recipient"])
        if channels is None:
            reason = f"recipient: {told['recipient']} is not in {configuration.NOTIFICATIONS}"
            raise NotPerformed(reason, again=False)
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await asyncio.gather(*(asyncio.to_thread(_send, url, dict(told)) for url in channels))
        except TimeoutError:
            raise NotPerformed(f"no channel has answered within {DEADLINE_S:g} s", again=True) from None
        faults = [fault for fault in found if fault is not None]
        if len(faults) == len(found):
            raise NotPerformed("; ".join(faults), again=True)
        names = [url.partition("://")[0] for url in channels]
        return {"channels": [{"channel": n, "error": fault} for n, fault in zip(names, found, strict=True)]}


def _send(url: str, told: dict[str, Any]) -> str | None:
    """Send a message over a channel, and return why that failed, None if it did not."""
    apprise = _apprise()
    scheme = url.partition("://")[0].lower()
    try:
        with _heard() as said:
            channel = _channel(url, scheme, told["importance"])
            if channel is None:
                return f"{scheme}: {configuration.NOTIFICATIONS} has a URL that Apprise can't use"
            is_sent = channel.notify(
                body=told["message"],
                title=told.get("subject") or SUBJECT,
                notify_type=apprise.NotifyType(TYPES[told["importance"]]),
                body_format=apprise.NotifyFormat.TEXT,
            )
    except Exception as error:  # noqa: BLE001 - of a plug-in of a channel, which must not end the others
        return f"{scheme}: {type(error).__name__}"
    return None if is_sent else f"{scheme}: {'; '.join(said)[:MAX_REASON] or 'not sent'}"


def _channel(url: str, scheme: str, importance: str) -> Any:
    """Return a channel whose messages have an importance, in the channel's own manner; None for a URL that is none."""
    apprise = _apprise()
    parts = apprise.plugins.url_to_dict(url)
    if parts is None:
        return None
    if scheme in MAIL:
        parts["headers"] = {**parts.get("headers", {}), "Importance": importance}  # RFC 2156 5.3.6
    elif "priority" in apprise.plugins.N_MGR[scheme].template_args:
        parts.setdefault("priority", importance)
    asset = apprise.AppriseAsset(storage_mode="memory", app_id="Fieldloom", app_desc="Fieldloom")
    return apprise.Apprise.instantiate(parts, asset=asset)


_said: ContextVar[list[str] | None] = ContextVar("said", default=None)


class _Reasons(logging.Handler):
    """Keeps why a channel failed, which Apprise tells its log alone."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line for whoever is sending."""
        said = _said.get()
        if said is not None:
            said.append(record.getMessage())


@contextmanager
def _heard() -> Iterator[list[str]]:
    said: list[str] = []
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


@cache
def _apprise() -> Any:
    """Return Apprise, which takes its time to load."""
    import apprise  # noqa: PLC0415 - only who sends something loads it

    logger = logging.getLogger("apprise")
    logger.propagate = False  # what it warns of is in the outcome
    logger.addHandler(_Reasons(logging.WARNING))
    return apprise
