"""Which device of ours one of theirs is. Pure."""

import re

from fieldloom_contract.errors import Rejected
from fieldloom_contract.topics import device_id
from fieldloom_gateway.adapters.foreign import definition

SEPARATORS = re.compile(r"[ .:/]")


def ours_of(mapping: definition.Mapping, name: str) -> str | None:
    """Return our name of a device by its own, None if it is not taken. Raises Rejected for no possible one."""
    if name in mapping.devices:
        return mapping.devices[name]
    if mapping.prefix is None:
        return None
    try:
        return device_id(mapping.prefix + SEPARATORS.sub("-", name.lower()))
    except Rejected as error:
        raise Rejected("device", f"{error.reason}: give it a name in devices") from None
