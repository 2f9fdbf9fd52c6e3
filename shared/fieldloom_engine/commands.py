"""The life of a command, from the cloud's wish to the device's word. (A3)

pending → sent → delivered → succeeded | failed | rejected | expired. Words may come late, twice and out of order: a
command only goes forward, and a device's final word wins over a gateway's `expired`.
"""

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

_MEANS = {GATEWAY_HAS_IT: SENT, ACCEPTED: DELIVERED, GATEWAY_EXPIRED: EXPIRED}


def step(status: str, word: str) -> str:
    """Return the status after a word: a device's status, or what a gateway or the clock says. Pure."""
    meant = _MEANS.get(word, word)
    if status in (SUCCEEDED, FAILED, REJECTED):
        return status
    if status == EXPIRED:
        return meant if word in (SUCCEEDED, FAILED, REJECTED) else status
    return meant if STATUSES.index(meant) > STATUSES.index(status) else status
