"""Optimistic changes over HTTP: an ETag is the version of what is shown, and `If-Match` names the one that is meant."""

import re
from typing import Annotated

from fastapi import Header

from fieldloom_cloud.errors import BadContent

IfMatch = Annotated[str | None, Header(description='The ETag of the version that is meant, as "3".')]


def version_of(if_match: str | None) -> int | None:
    """Return the version that is meant, None for any. Raises BadContent."""
    if if_match is None or if_match == "*":
        return None
    found = re.fullmatch(r'"?([0-9]{1,15})"?', if_match)
    if found is None:
        reason = 'must be an ETag that this API gave, as "3"'
        raise BadContent("If-Match can't be read.", [{"path": "If-Match", "reason": reason}])
    return int(found[1])
