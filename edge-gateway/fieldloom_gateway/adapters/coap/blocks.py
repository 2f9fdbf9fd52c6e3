"""Block-wise transfers (RFC 7959) in bounded memory: what comes up is put together, what goes down is cut.

aiocoap's own assembly has no limit of size or number.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from aiocoap import Message, error
from aiocoap.blockwise import ContinueException, IncompleteException
from aiocoap.numbers import ContentFormat
from aiocoap.numbers.codes import CONTENT

from fieldloom_contract.limits import MAX_UP_BYTES

UPLOADS = 256
"""That many may be under way, a device and path one: 16 MiB in all. One more ends the oldest."""
PATIENCE_S = 93.0  # MAX_TRANSMIT_WAIT (RFC 7252, section 4.8.2)
BLOCK_BYTES = 1024


@dataclass
class _Upload:
    ends: float
    content_format: ContentFormat | None
    body: bytearray = field(default_factory=bytearray)


class Uploads:
    """What has come of the payloads that are sent in blocks, by device and path."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], _Upload] = OrderedDict()

    def take(self, key: tuple[str, str], request: Message, now: float) -> tuple[bytes, ContentFormat | None]:
        """Return a whole payload and its format; one that has grown too long counts as whole. `now` in s.

        Raises 2.31 (Continue) while more is to come, 4.08 for a block that continues nothing, 4.00 for a wrong length.
        """
        block = request.opt.block1
        if block is None:
            return request.payload, request.opt.content_format
        if block.more and len(request.payload) != block.size:
            raise error.BadRequest("block: its length is not its size")
        upload = self._upload(key, request, now)
        if block.start != len(upload.body):
            del self._open[key]
            raise IncompleteException
        upload.body += request.payload
        if block.more and len(upload.body) <= MAX_UP_BYTES:
            raise ContinueException(block)
        del self._open[key]
        return bytes(upload.body), upload.content_format

    def _upload(self, key: tuple[str, str], request: Message, now: float) -> _Upload:
        while self._open and next(iter(self._open.values())).ends <= now:
            self._open.popitem(last=False)
        if request.opt.block1.block_number == 0:
            self._open.pop(key, None)
            if len(self._open) >= UPLOADS:
                self._open.popitem(last=False)
            self._open[key] = _Upload(now + PATIENCE_S, request.opt.content_format)
        if key not in self._open:
            raise IncompleteException
        return self._open[key]


def cut(body: bytes, request: Message) -> Message:
    """Return JSON as the answer to a request, or the block of it that is asked for; the ETag holds blocks together."""
    answer = Message(code=CONTENT, content_format=ContentFormat.JSON, etag=hashlib.sha256(body).digest()[:8])
    block = request.opt.block2
    size = min(BLOCK_BYTES, block.size) if block else BLOCK_BYTES
    number = block.block_number if block else 0
    if number and number * size >= len(body):
        raise error.BadOption("block: lies behind the end")
    answer.payload = body[number * size : (number + 1) * size]
    if block or len(body) > size:
        answer.opt.block2 = (number, (number + 1) * size < len(body), size.bit_length() - 5)
    return answer
