"""When a state that failed is tried again. (W2)"""

from fieldloom_engine.durations import LONGEST_MS
from fieldloom_engine.workflows.model import Retry

_ALL_OF_8_DIGITS = 0x1_0000_0000


def delay_before(attempt: int, retry: Retry, drawn: str) -> int:
    """Return how long it is waited before an attempt, the second or a later one, in ms.

    The share that jitter takes off is drawn from a name in hexadecimal digits: it is the same after a crash.
    """
    longest = LONGEST_MS if retry.max_delay is None else retry.max_delay
    try:
        delay: float = min(retry.delay * retry.multiplier ** (attempt - 2), longest)
    except OverflowError:
        delay = longest
    share = int(drawn[:8], 16) / _ALL_OF_8_DIGITS
    return round(delay * (1 - retry.jitter * share))
