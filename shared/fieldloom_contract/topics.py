"""Topics of both hops (ARCHITECTURE, wire contract). A name without a dot is a device, one with a dot a gateway."""

from binascii import crc32

from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME

TELEMETRY = "telemetry"
EVENT = "event"
RESULT = "command/result"
REPORTED = "twin/reported"
STATE = "state"
DISCOVERY = "discovery"
ACK = "ack"
TIME = "time"
COMMAND = "command"
DESIRED = "twin/desired"
UPDATE_REQUEST = "update/request"
UPDATE_CHUNK = "update/chunk"

UP_STREAM = (TELEMETRY, EVENT, RESULT, REPORTED)
DEVICE_WRITES = (TELEMETRY, EVENT, RESULT, REPORTED, STATE, UPDATE_REQUEST, "certificate/request", DISCOVERY)
DEVICE_READS = (ACK, TIME, COMMAND, DESIRED, UPDATE_CHUNK, "certificate")
DISCOVERY_REQUEST = "fl/v1/discovery/request"

RELEASE_REQUEST = "release/request"  # a gateway's, of the cloud
RELEASE_PIECE = "release/piece"

SLOTS = 256

_DEVICE = "fl/v1/d/"
_GATEWAY = "fl/v1/g/"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_"


def _name(text: str, field: str, letters: str) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_NAME:
        raise Rejected(field, "must have 1 to 64 characters")
    for letter in text:
        if letter not in letters:
            raise Rejected(field, "may hold only " + letters[:1] + "-z 0-9 " + " ".join(letters[36:]))
    return text


def device_id(text: str) -> str:
    """Return the id of a device, unchanged. Raises Rejected."""
    return _name(text, "device", _LETTERS)


def gateway_id(text: str) -> str:
    """Return the name of a gateway or a service: like a device's, with at least one dot. Raises Rejected."""
    if "." not in _name(text, "gateway", _LETTERS + "."):
        raise Rejected("gateway", "must hold a dot, as gw.site1 does: names without one are devices")
    return text


def device(name: str, verb: str) -> str:
    """Return the topic of one device's verb, as `fl/v1/d/dev-1/ack`."""
    return _DEVICE + name + "/" + verb


def parse_device(topic: str) -> tuple[str, str]:
    """Return (device, verb). Raises Rejected for a topic that is no device's."""
    if not topic.startswith(_DEVICE):
        raise Rejected("topic", "is not a device's")
    name, slash, verb = topic[len(_DEVICE) :].partition("/")
    if not slash:
        raise Rejected("topic", "names no verb")
    return device_id(name), verb


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
