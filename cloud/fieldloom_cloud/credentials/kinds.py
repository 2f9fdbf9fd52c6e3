"""What each protocol takes as a secret, and what the cloud keeps of it. (P8)"""

import hashlib
import secrets
from base64 import b64encode
from typing import NamedTuple

SALT_BYTES = 4  # RabbitMQ's


class Fresh(NamedTuple):
    """A new secret."""

    shown: str
    """As its owner gets it, once."""
    kept: bytes
    """What proves it, or the key itself."""


def http() -> Fresh:
    """Return a token; with 256 bits of its own it needs no slow hash."""
    token = "fld_" + secrets.token_urlsafe(32)
    return Fresh(token, hashlib.sha256(token.encode()).digest())


def psk() -> Fresh:
    """Return a key of 16 letters, which are its bytes: clients take a key as a text, and small stacks no longer one."""
    key = secrets.token_urlsafe(12)
    return Fresh(key, key.encode())


def oscore() -> Fresh:
    """Return a master secret (RFC 8613) of 16 bytes, shown in hexadecimal digits."""
    key = secrets.token_bytes(16)
    return Fresh(key.hex(), key)


def amqp() -> Fresh:
    """Return a password, kept as RabbitMQ's rabbit_password_hashing_sha256 has it."""
    password, salt = secrets.token_urlsafe(24), secrets.token_bytes(SALT_BYTES)
    return Fresh(password, b64encode(salt + hashlib.sha256(salt + password.encode()).digest()))


MAKE = {"http": http, "psk": psk, "oscore": oscore, "amqp": amqp}
KEYS = ("psk", "oscore")
"""Of these the key itself is needed, so it is sealed."""
