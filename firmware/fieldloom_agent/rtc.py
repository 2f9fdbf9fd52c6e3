"""The board's real-time clock, which TLS asks for the dates of certificates; a start without power sets it to 2000."""

import time

STORE = "/time"


def keep(ts):
    """Set the clock to Unix ms that the gateway told, and keep them for the next start."""
    _set(ts // 1000)
    with open(STORE, "w") as file:
        file.write(str(ts // 1000))


def wake(*known):
    """Set the clock to the newest Unix second that the board knows, if it is behind that."""
    try:
        with open(STORE) as file:
            stored = int(file.read())
    except (OSError, ValueError):
        stored = 0
    newest = max(stored, *known)
    if newest > time.time() + _epoch():
        _set(newest)


def certificate_date(der, which):
    """Return the Unix second from which (0) or until which (1) a certificate (DER) is valid.

    0 if it does not say so as UTCTime, or is older than any board's clock.
    """
    at = der.find(b"\x17\x0d")
    if at >= 0 and which:
        at = der.find(b"\x17\x0d", at + 15) if der[at + 15 : at + 17] == b"\x17\x0d" else -1
    text = der[at + 2 : at + 14]
    if at < 0 or not text.isdigit():
        return 0
    year, month, day, hour, minute, second = [int(text[index : index + 2]) for index in range(0, 12, 2)]
    if year >= 50:  # RFC 5280: 19YY, older than any board's clock
        return 0
    return int(time.mktime((2000 + year, month, day, hour, minute, second, 0, 0, 0))) + _epoch()


def _epoch():
    """Return the Unix second from which this port counts: ESP32 from 2000, others from 1970."""
    return 946684800 if time.gmtime(0)[0] == 2000 else 0


def _set(seconds):
    import machine

    year, month, day, hour, minute, second, weekday, _ = time.gmtime(int(seconds) - _epoch())[:8]
    machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))
