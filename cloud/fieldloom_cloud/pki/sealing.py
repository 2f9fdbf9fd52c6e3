"""Secrets that a protocol needs as they are, sealed in the database with a key that is not in it. (P8)"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fieldloom_runtime import files

NONCE_BYTES = 12


class Sealer:
    """AES-256-GCM with the key of a file, 0600, which is made when it is first needed.

    Each secret is bound to its name: one that was put into another row does not open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return a secret as it may lie in a database."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.key()).encrypt(nonce, secret, name.encode())

    def key(self) -> bytes:
        """Return the key, made now if it is not there."""
        if not self._path.exists():
            files.write(self._path, AESGCM.generate_key(256))
        return self._path.read_bytes()

    def open(self, name: str, sealed: bytes) -> bytes | None:
        """Return the secret, None for one that another key or another name has sealed, or nobody."""
        try:
            return AESGCM(self._path.read_bytes()).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError, FileNotFoundError):
            return None
