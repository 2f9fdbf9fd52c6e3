"""Who may sign a release: its key, the root that signs the key, and what a signature has to be. (F5)"""

from collections import namedtuple

from fieldloom_contract.compat import Any, const
from fieldloom_contract.errors import Rejected
from fieldloom_contract.lines import is_of, number, take

SIGNATURE_BYTES = const(384)
EXPONENT = const(65537)
KEY_BYTES = const(2048)

Key = namedtuple("Key", ("serial", "expires", "modulus"))

# EMSA-PKCS1-v1_5 (RFC 8017, 9.2): the DER of a DigestInfo with SHA-256, before the digest itself.
_DIGEST_INFO = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"


def parse_key(data: bytes) -> Key:
    """Return a release key: the highest serial wins, `expires` is in Unix seconds. Raises Rejected."""
    lines = _lines(data)
    take(lines, "fieldloom-release-key", "1")
    serial, expires = number(take(lines, "serial"), "serial"), number(take(lines, "expires"), "expires")
    return Key(serial, expires, _modulus(lines))


def parse_root(data: bytes) -> int:
    """Return the modulus of a root's public part. Raises Rejected."""
    lines = _lines(data)
    take(lines, "fieldloom-release-root", "1")
    return _modulus(lines)


def is_signed(modulus: int, digest: bytes, signature: bytes) -> bool:
    """Whether a signature (RSASSA-PKCS1-v1_5, RFC 8017 8.2.2, RSA-3072) is that of what has this SHA-256."""
    signed = int.from_bytes(signature, "big")
    if len(signature) != SIGNATURE_BYTES or signed >= modulus:
        return False
    padding = b"\xff" * (SIGNATURE_BYTES - 3 - len(_DIGEST_INFO) - len(digest))
    wanted = b"\x00\x01" + padding + b"\x00" + _DIGEST_INFO + digest
    return pow(signed, EXPONENT, modulus) == int.from_bytes(wanted, "big")


def _lines(data: bytes) -> Any:
    if len(data) > KEY_BYTES:
        raise Rejected("key", "has more than " + str(KEY_BYTES) + " bytes")
    return iter(data.split(b"\n"))


def _modulus(lines: Any) -> int:
    told = take(lines, "modulus")
    if len(told) != 2 * SIGNATURE_BYTES or not is_of(told, "0123456789abcdef") or told[0] not in "89abcdef":
        raise Rejected("modulus", "must be one of RSA-3072, in small hexadecimal digits")
    return int(told, 16)
