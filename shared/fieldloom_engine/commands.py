"""The life of a command, from the cloud's wish to the device's word. (A3)

pending → sent → delivered → succeeded | failed | rejected | expired. Words may come late, twice and out of order: a
command only goes forward, and a device's final word wins over a gateway's `expired`.
"""

from typing import Any, NamedTuple

PENDING, SENT, DELIVERED, SUCCEEDED, FAILED, REJECTED, EXPIRED = (
    "pending",
    "sent",
    "delivered",
    "succeeded",
    "failed",
    "rejected",
    "expired",
)
STATUSES = (PENDING, SENT, DELIVERED, SUCCEEDED, FAILED, REJECTED, EXPIRED)
FINAL = (SUCCEEDED, FAILED, REJECTED, EXPIRED)

GATEWAY_HAS_IT = "gateway_has_it"
GATEWAY_EXPIRED = "gateway_expired"
ACCEPTED = "accepted"
NO_ANSWER = "the device has not answered in time"

_MEANS = {GATEWAY_HAS_IT: SENT, ACCEPTED: DELIVERED, GATEWAY_EXPIRED: EXPIRED}


class Ended(NamedTuple):
    """What a command came to, for a rule that has asked for it."""

    succeeded: bool
    result: dict[str, Any]
    """`status`, one of FINAL, and the device's `result`."""
    error: str | None


def ended(status: str, result: Any, error: str | None) -> Ended:
    """Return what a command came to by its final status and what its device has told. Pure. (E3)"""
    succeeded = status == SUCCEEDED
    reason = None if succeeded else f"{status}: {error or 'without a reason'}"
    return Ended(succeeded, {"status": status, "result": result}, reason)


def step(status: str, word: str) -> str:
    """Return the status after a word: a device's status, or what a gateway or the clock says. Pure."""
    meant = _MEANS.get(word, word)
    if status in (SUCCEEDED, FAILED, REJECTED):
        return status
    if status == EXPIRED:
        return meant if word in (SUCCEEDED, FAILED, REJECTED) else status
    return meant if STATUSES.index(meant) > STATUSES.index(status) else status
