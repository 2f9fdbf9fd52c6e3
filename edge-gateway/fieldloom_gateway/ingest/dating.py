"""When a record was taken, as far as anybody can know. (ARCHITECTURE, wire contract: Time)"""

from typing import Any

from fieldloom_contract.limits import MAX_AHEAD_MS, MIN_TS


def date(record: dict[str, Any], now: int, started_at: int | None) -> tuple[int, bool]:
    """Return (ts, whether the gateway's clock said so); all in Unix ms.

    `started_at` is when the record's boot began by the gateway's clock, None if its device never told in this boot.
    """
    ts = record["ts"]
    if ts is not None and MIN_TS <= ts <= now + MAX_AHEAD_MS:
        return ts, False
    up = record["up"]
    if ts is None and up is not None and started_at is not None and started_at + up >= MIN_TS:
        return min(started_at + up, now), True
    return now, True
