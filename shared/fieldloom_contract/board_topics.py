"""Topics between device and gateway, all that a board needs of `topics`."""

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
CERTIFICATE_REQUEST = "certificate/request"
CERTIFICATE = "certificate"

DISCOVERY_REQUEST = "fl/v1/discovery/request"

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_"
_DEVICE = "fl/v1/d/"


def checked(text: str, field: str, letters: str) -> str:
    """Return a name of these letters, unchanged. Raises Rejected."""
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_NAME:
        raise Rejected(field, "must have 1 to 64 characters")
    for letter in text:
        if letter not in letters:
            raise Rejected(field, "may hold only " + letters[:1] + "-z 0-9 " + " ".join(letters[36:]))
    return text


def device_id(text: str) -> str:
    """Return the id of a device, unchanged. Raises Rejected."""
    return checked(text, "device", LETTERS)


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
