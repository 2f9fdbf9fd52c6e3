"""The desired half of a twin as a device hears it; apart from `device`, since a board reads it now and then only."""

from fieldloom_contract.compat import Any
from fieldloom_contract.fields import mapping, number, read_object
from fieldloom_contract.limits import MAX_DOWN_BYTES


def parse_desired(payload: bytes) -> dict[str, Any]:
    """Return {"version", "values"}. Raises Rejected."""
    message = read_object(payload, MAX_DOWN_BYTES)
    return {"version": number(message, "version", 0), "values": mapping(message, "values")}
