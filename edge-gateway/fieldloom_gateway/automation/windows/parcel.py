"""What one gateway hands over to another of what rules are to hear, in JSON. (D4, ADR 66)"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from fieldloom_engine.rules import Event


class Heard(Struct, array_like=True, tag=1):
    """An event, as it was received."""

    at: int
    """When, Unix ms: it is judged as of then, whenever that is done."""
    watermark: int | None
    """Nothing of its source up to here (Unix ms) is missing then; None where that can't be told."""
    event: Event
    described: dict[str, Any] | None = None
    """What its source has told of itself, where a rule is for devices that say something: nobody else may know."""


class Moved(Struct, array_like=True, tag=2):
    """What a gateway remembers of a source that was alone before."""

    source: str
    record: dict[str, Any]
    """As the engine has it in a checkpoint."""


class Row(Struct, array_like=True):
    """Something to hear."""

    number: int
    """The greater, the later, of one stream."""
    source: str
    """Of what: it is known, and covered by checkpoints, of a row too that can't be read."""
    told: msgspec.Raw
    """A Heard or Moved."""


class Lot(Struct, array_like=True):
    """What is to be heard next in a partition."""

    partition: int
    after: int
    """The number up to which all of the stream was handed over before, 0 where these are the first that are kept."""
    rows: list[Row]


class Parcel(Struct, array_like=True):
    """What one gateway hands over to another."""

    stream: str
    """Of the database by which the rows are numbered."""
    lots: list[Lot]


class Receipt(Struct, array_like=True):
    """For each lot the number up to which all of it was judged; None from who does not act for its partition."""

    through: list[int | None]


encode: Callable[[Heard | Moved | Parcel | Receipt], bytes] = msgspec.json.Encoder().encode
decode_told: Callable[[msgspec.Raw | bytes], Heard | Moved] = msgspec.json.Decoder(Heard | Moved).decode
decode_parcel: Callable[[bytes], Parcel] = msgspec.json.Decoder(Parcel).decode
decode_receipt: Callable[[bytes], Receipt] = msgspec.json.Decoder(Receipt).decode
