"""The security context of a device that speaks OSCORE (RFC 8613), safe over restarts of the gateway.

- No nonce comes twice: own sequence numbers are reserved on the disk before they are used, and those of a new folder
  begin at a random place, so that a new SD card or another gateway does not begin where the old one did.
- No request is taken twice: after each start the first request of a device is answered by a challenge (Echo, RFC 8613
  B.1.2, RFC 9175), so that what was recorded before is worth nothing; then a window in memory tells repeats.
"""

import json
import secrets
from pathlib import Path
from typing import Any, NamedTuple

from aiocoap import Message
from aiocoap.oscore import (
    DEFAULT_ALGORITHM,
    DEFAULT_HASHFUNCTION,
    DEFAULT_WINDOWSIZE,
    CanProtect,
    CanUnprotect,
    ReplayWindow,
    SecurityContextUtils,
    algorithms,
    hashfunctions,
)

from fieldloom_runtime import files

RESERVED = 100
"""Sequence numbers a write: used for challenges and observers only, since other answers use the request's."""
PLACES, PLACE = 2**19, 2**20  # numbers have 40 bits; half of them are left to grow into
ECHO_BYTES = 8


class OscoreKey(NamedTuple):
    """What device and gateway share; `recipient` is the device's sender id, up to 7 bytes."""

    secret: bytes
    salt: bytes
    sender: bytes
    recipient: bytes


class Context(CanProtect, CanUnprotect, SecurityContextUtils):  # type: ignore[misc]  # aiocoap has no types
    """One device's context; its numbers are kept in a file of `folder`. Raises ValueError for a damaged one."""

    id_context = None

    def __init__(self, key: OscoreKey, folder: Path) -> None:
        self.key = key
        self.alg_aead = algorithms[DEFAULT_ALGORITHM]
        self.hashfun = hashfunctions[DEFAULT_HASHFUNCTION]
        self.sender_id, self.recipient_id = key.sender, key.recipient
        self.derive_keys(key.salt, key.secret)
        self.echo_recovery = secrets.token_bytes(ECHO_BYTES)
        self.recipient_replay_window = ReplayWindow(DEFAULT_WINDOWSIZE, lambda: None)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._file = folder / f"{key.recipient.hex()}.json"
        self.sender_sequence_number = self._reserved = self._first_free()
        self._reserve()

    def unprotect(self, protected_message: Message, request_id: Any = None) -> tuple[Message, Any]:
        """Return a request and what its answer is bound to. Raises the library's errors.

        The answer to an observer has a number of our own, as its notifications have: by these they are put in order
        (RFC 8613, section 7.4.1), and ours do not begin near 0.
        """
        request, bound = super().unprotect(protected_message, request_id)
        if request.opt.observe == 0:
            bound.can_reuse_nonce = False
        return request, bound

    def post_seqnoincrease(self) -> None:
        """Reserve more numbers before the last reserved one is passed."""
        if self.sender_sequence_number > self._reserved:
            self._reserve()

    def _first_free(self) -> int:
        if not self._file.exists():
            return secrets.randbelow(PLACES) * PLACE
        return int(json.loads(self._file.read_text())["next"])

    def _reserve(self) -> None:
        self._reserved += RESERVED
        files.write(self._file, json.dumps({"next": self._reserved}))
