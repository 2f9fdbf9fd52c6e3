"""What the gateways of a site tell each other of alarms, in MessagePack. (E7, ADR 72)"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.alarms import SEVERITIES
from fieldloom_runtime.records import Moment

MESSAGE = 4096  # characters

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Severity = Annotated[str, Meta(pattern=rf"^({'|'.join(SEVERITIES)})\Z")]


class Marked(Struct, frozen=True, tag="mark"):
    """Something begins an alarm of a device, or ends it; `effect` is the id of what does."""

    device: str
    alarm: Name
    effect: Name
    at: Moment
    begins: bool
    rule: Name
    severity: Severity = SEVERITIES[0]
    message: Annotated[str, Meta(max_length=MESSAGE)] = ""


class TakenBack(Struct, frozen=True, tag="withdrawal"):
    """What an effect has begun or ended should never have been."""

    device: str
    alarm: Name
    effect: Name


Word = Marked | TakenBack


class Unread(NamedTuple):
    """Something told that can't be used."""

    told: bytes
    reason: str


_encode = msgspec.msgpack.Encoder().encode
_parcel = msgspec.msgpack.Decoder(list[msgspec.Raw])
_word: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)


def encode(words: Iterable[Word]) -> bytes:
    """Return the bytes of what is told at once."""
    return _encode([*words])


def decode(body: bytes) -> tuple[list[Word], list[Unread]]:
    """Return what is told, and what of it can't be used. Raises MsgspecError where nothing can be read."""
    words: list[Word] = []
    unread: list[Unread] = []
    for told in _parcel.decode(body):
        try:
            word = _word.decode(told)
            topics.device_id(word.device)
        except (msgspec.MsgspecError, Rejected) as error:
            unread.append(Unread(bytes(told), str(error)))
        else:
            words.append(word)
    return words, unread
