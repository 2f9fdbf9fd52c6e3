"""Headers that a rule or a configuration may give a call. (E3)"""

import re
from collections.abc import Mapping

RESERVED = frozenset(
    {
        *("connection", "content-length", "expect", "host", "idempotency-key", "te", "trailer", "transfer-encoding"),
        *("accept-encoding", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)
"""Those that the call itself decides on."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110 5.6.2
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]{0,4094}[\x21-\x7e])?")


def checked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers that HTTP can carry. Raises ValueError, which tells no value."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if name.lower() in RESERVED:
            raise ValueError(f"{name} can't be given: the call itself sets it")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"{name} must be 1 to 4096 printable characters of ASCII")
    return dict(headers)
