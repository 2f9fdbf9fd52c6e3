"""What a message may be written in: the contract's JSON, and for telemetry SenML. (C5)"""

import time

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters import senml
from fieldloom_gateway.adapters.base import Fault

JSON = "application/json"


def read(verb: str, media_type: str, body: bytes, field: str) -> tuple[bytes, Fault | None]:
    """Return a message in the contract's form, or what is wrong with it; `field` is where it tells its media type."""
    if media_type == JSON:
        return body, None
    if media_type != senml.MEDIA_TYPE or verb != topics.TELEMETRY:
        known = f"{JSON} or {senml.MEDIA_TYPE}" if verb == topics.TELEMETRY else JSON
        return body, Fault(field, f"must be {known}")
    try:
        return senml.telemetry(body, time.time_ns() // 1_000_000), None
    except Rejected as error:
        return body, Fault(error.field, error.reason)
