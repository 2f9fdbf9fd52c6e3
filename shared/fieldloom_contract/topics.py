"""Topics of both hops (ARCHITECTURE, wire contract). A name without a dot is a device, one with a dot a gateway."""

from binascii import crc32

from fieldloom_contract.board_topics import (
    ACK,
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    COMMAND,
    DESIRED,
    DISCOVERY,
    DISCOVERY_REQUEST,
    EVENT,
    LETTERS,
    REPORTED,
    RESULT,
    STATE,
    TELEMETRY,
    TIME,
    UPDATE_CHUNK,
    UPDATE_REQUEST,
    checked,
    device,
    device_id,
    parse_device,
)
from fieldloom_contract.errors import Rejected

UP_STREAM = (TELEMETRY, EVENT, RESULT, REPORTED)
DEVICE_WRITES = (TELEMETRY, EVENT, RESULT, REPORTED, STATE, UPDATE_REQUEST, CERTIFICATE_REQUEST, DISCOVERY)
DEVICE_READS = (ACK, TIME, COMMAND, DESIRED, UPDATE_CHUNK, CERTIFICATE)

RELEASE_REQUEST = "release/request"  # a gateway's, of the cloud
RELEASE_PIECE = "release/piece"

SLOTS = 256
_GATEWAY = "fl/v1/g/"


def gateway_id(text: str) -> str:
    """Return the name of a gateway or a service: like a device's, with at least one dot. Raises Rejected."""
    if "." not in checked(text, "gateway", LETTERS + "."):
        raise Rejected("gateway", "must hold a dot, as gw.site1 does: names without one are devices")
    return text


def slot(gateway_name: str) -> int:
    """Return the slot, 0 to 255, that orders a gateway's records on any broker."""
    return (crc32(gateway_name.encode()) & 0xFFFFFFFF) % SLOTS


def gateway(name: str, verb: str) -> str:
    """Return the topic of one gateway's verb, as `fl/v1/g/gw.site1/down`."""
    return _GATEWAY + name + "/" + verb


def up(gateway_name: str) -> str:
    """Return the topic on which a gateway sends its batches up."""
    return gateway(gateway_name, "up/" + str(slot(gateway_name)))


def parse_gateway(topic: str) -> tuple[str, str]:
    """Return (gateway, verb). Raises Rejected for a topic that is no gateway's."""
    if not topic.startswith(_GATEWAY):
        raise Rejected("topic", "is not a gateway's")
    name, slash, verb = topic[len(_GATEWAY) :].partition("/")
    if not slash:
        raise Rejected("topic", "names no verb")
    return gateway_id(name), verb


__all__ = [
    "ACK",
    "CERTIFICATE",
    "CERTIFICATE_REQUEST",
    "COMMAND",
    "DESIRED",
    "DEVICE_READS",
    "DEVICE_WRITES",
    "DISCOVERY",
    "DISCOVERY_REQUEST",
    "EVENT",
    "RELEASE_PIECE",
    "RELEASE_REQUEST",
    "REPORTED",
    "RESULT",
    "SLOTS",
    "STATE",
    "TELEMETRY",
    "TIME",
    "UPDATE_CHUNK",
    "UPDATE_REQUEST",
    "UP_STREAM",
    "device",
    "device_id",
    "gateway",
    "gateway_id",
    "parse_device",
    "parse_gateway",
    "slot",
    "up",
]
