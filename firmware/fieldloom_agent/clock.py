"""The board's time: the gateway tells it, since a board has no clock; until then the board knows how long it is up."""

import time

EPOCH_S = 946684800 if time.gmtime(0)[0] == 2000 else 0  # ESP32 counts from 2000, other ports from 1970
STORE = "/time"


class Clock:
    """Unix milliseconds once the gateway has told them, and milliseconds since the start always."""

    def __init__(self):
        self._ticks = time.ticks_ms()
        self._up = 0
        self._offset = None
        self._last = 0

    def up(self):
        """Return ms since the start; has to be asked at least every six days, since ticks wrap around."""
        now = time.ticks_ms()
        self._up += time.ticks_diff(now, self._ticks)
        self._ticks = now
        return self._up

    def now(self):
        """Return Unix ms, or None while nobody has told."""
        return None if self._offset is None else self._offset + self.up()

    def stamp(self):
        """Return (field, ms) that dates a record: `ts`, strictly growing, or `up` before the time is known."""
        now = self.now()
        if now is None:
            return "up", self.up()
        self._last = max(now, self._last + 1)
        return "ts", self._last

    def learn(self, ts):
        """Take the gateway's Unix ms, and keep them for the next start's TLS handshake."""
        self._offset = ts - self.up()
        _set_rtc(ts // 1000)
        with open(STORE, "w") as file:
            file.write(str(ts // 1000))

    def wake(self, *known):
        """Set the RTC to the newest Unix second that the board knows, since TLS checks the dates of certificates."""
        try:
            with open(STORE) as file:
                stored = int(file.read())
        except (OSError, ValueError):
            stored = 0
        newest = max(stored, *known)
        if newest > time.time() + EPOCH_S:
            _set_rtc(newest)


def _set_rtc(seconds):
    import machine

    year, month, day, hour, minute, second, weekday, _ = time.gmtime(int(seconds) - EPOCH_S)[:8]
    machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))


def certificate_start(der):
    """Return the Unix second from which a certificate (DER) is valid, 0 if it does not say so as UTCTime."""
    at = der.find(b"\x17\x0d")
    text = der[at + 2 : at + 14]
    if at < 0 or not text.isdigit():
        return 0
    year, month, day, hour, minute, second = [int(text[index : index + 2]) for index in range(0, 12, 2)]
    if year >= 50:  # RFC 5280: 19YY, older than any board's clock
        return 0
    return int(time.mktime((2000 + year, month, day, hour, minute, second, 0, 0, 0))) + EPOCH_S
