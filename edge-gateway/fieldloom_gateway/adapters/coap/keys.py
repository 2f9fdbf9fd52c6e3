"""Who speaks: aiocoap asks here for the keys of DTLS and OSCORE, and each request asks whether its key still holds."""

from pathlib import Path
from typing import Any, NamedTuple

import structlog
from aiocoap.credentials import CredentialsMap
from aiocoap.oscore import COSE_KID, COSE_KID_CONTEXT

from fieldloom_gateway.adapters.base import Credentials
from fieldloom_gateway.adapters.coap.oscore import Context, OscoreKey

log = structlog.get_logger()

SERVER_ID = b""
"""The gateway's sender id of OSCORE; a device's is never empty."""

PSK_BYTES = 16
"""The longest key of DTLS: a longer one dtlssocket 0.2.3 would write over its stack."""


class Claim(NamedTuple):
    """What a peer has proven: that it has the key of a credential."""

    id: str
    name: str | bytes
    """What it called itself: an identity of DTLS, or as bytes a sender id of OSCORE."""


class Keys(CredentialsMap):  # type: ignore[misc]  # aiocoap has no types
    """The server's credentials as aiocoap wants them; `folder` keeps what OSCORE has to remember."""

    def __init__(self, credentials: Credentials, folder: Path) -> None:
        super().__init__()
        self._credentials = credentials
        self._folder = folder
        self._contexts: dict[bytes, Context] = {}

    def device(self, claim: Claim) -> str | None:
        """Return whose key it is, None if it is revoked or over."""
        held, name = self._credentials, claim.name
        key = held.psk(name) if isinstance(name, str) else held.oscore(name)
        return key.device if key is not None and key.id == claim.id else None

    def find_dtls_psk(self, identity: bytes) -> tuple[bytes, Claim]:
        """Return key and claim of an identity. Raises KeyError."""
        name = identity.decode(errors="replace")
        key = self._credentials.psk(name)
        if key is None or not key.secret or len(key.secret) > PSK_BYTES:
            raise KeyError
        return key.secret, Claim(key.id, name)

    def find_oscore(self, unprotected: dict[Any, bytes]) -> Context:
        """Return the security context of a request's head. Raises KeyError."""
        client = unprotected.get(COSE_KID, b"")
        key = self._credentials.oscore(client) if COSE_KID_CONTEXT not in unprotected else None
        if key is None:
            raise KeyError
        shared = OscoreKey(key.secret, b"", SERVER_ID, client)
        context = self._contexts.get(client)
        if context is None or context.key != shared:
            context = self._contexts[client] = self._opened(shared)
            context.authenticated_claims = [Claim(key.id, client)]
        return context

    def _opened(self, key: OscoreKey) -> Context:
        try:
            return Context(key, self._folder)
        except (OSError, ValueError, KeyError) as error:
            # Its numbers are not known, and none may come twice.
            log.error("oscore_context_unusable", client=key.recipient.hex(), error=str(error))  # noqa: TRY400
            raise KeyError from error
