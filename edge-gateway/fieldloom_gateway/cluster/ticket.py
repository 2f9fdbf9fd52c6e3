"""The token that an installer carries to a gateway that is to join: who may, where, and under which CA. (D3, ADR 58)"""

import base64
import binascii

import msgspec

from fieldloom_contract.errors import Rejected

BEGIN = "fieldloom-join-"
LONGEST = 8192


class Ticket(msgspec.Struct, frozen=True):
    """What a token says. It holds no secret of the cluster's: that is handed over by the gateway that takes it."""

    member: str
    """The gateway that may join."""
    token: str
    """What lets it in, once and for a time."""
    doors: dict[str, str]
    """Where it is let in: HOST:PORT by the name of a member."""
    ca: str
    """The SHA-256 of the CA's root certificate, in hexadecimal digits."""


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Ticket)


def write(ticket: Ticket) -> str:
    """Return a ticket as one word."""
    return BEGIN + base64.urlsafe_b64encode(_encode(ticket)).decode().rstrip("=")


def read(text: str) -> Ticket:
    """Return what a word says. Raises Rejected."""
    body = text.strip().removeprefix(BEGIN)
    if len(body) > LONGEST or body == text.strip():
        raise Rejected("token", f"is none of `fieldloom cluster invite`: those begin with {BEGIN}")
    try:
        return _decoder.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError) as error:
        raise Rejected("token", f"is not whole ({error}): copy all of it") from error
