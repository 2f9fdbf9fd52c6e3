"""Discovery: a gateway asks all boards at once who they are, and each answers. (C8)"""

from fieldloom_contract.compat import Any
from fieldloom_contract.fields import dumps, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES


def parse_discovery_request(payload: bytes) -> str:
    """Return the request's id. Raises Rejected."""
    return text(read_object(payload, MAX_DOWN_BYTES), "request_id")


def discovery(request_id: str, device: dict[str, Any]) -> bytes:
    """Build the answer to a discovery request: what `state` says, type and capabilities."""
    return dumps({"request_id": request_id, "device": device})
