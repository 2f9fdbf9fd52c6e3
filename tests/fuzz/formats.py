"""What a message over CoAP, AMQP or HTTP may be written in, and CoAP's payloads in blocks. (C3, C4, C5)"""

from aiocoap import Message, error

from fieldloom_contract import topics
from fieldloom_gateway.adapters import formats, senml
from fieldloom_gateway.adapters.coap.blocks import Uploads
from fieldloom_gateway.adapters.coap.site import POSTED, _read
from fuzz.target import Target, chosen, numbered

uploads = Uploads()
PACK = b'[{"n":"voltage","v":120.1}]'


def over_amqp(data: bytes) -> object:
    media_type, _, body = data.partition(b"\n")
    return formats.read(topics.TELEMETRY, media_type.decode(errors="replace"), body, "content_type")


def over_coap(data: bytes) -> object:
    try:
        request = Message.decode(data)
    except (error.UnparsableMessage, UnicodeDecodeError):  # aiocoap's own, and what it forgets
        return None
    payload, content_format = uploads.take(("dev-1", "telemetry"), request, 0.0)
    return [_read(verb, content_format, payload) for verb in POSTED.values()]


SEEDS = [
    [senml.MEDIA_TYPE.encode() + b"\n" + PACK, b"application/json\n{}"],
    [
        b"\x40\x02\x00\x01\xb9telemetry\x05dev-1\x11\x6e\xff" + PACK,
        b"\x40\x02\x00\x02\xb9telemetry\x05dev-1\x11\x6e\xd1\x02\x08\xff" + b"[" + b" " * 15,
        b"\x40\x02\x00\x03\xb9telemetry\x05dev-1\x11\x6e\xd1\x02\x10\xff]",
    ],
]
TARGET = Target(chosen([over_amqp, over_coap]), numbered(SEEDS), (error.RenderableError,))
