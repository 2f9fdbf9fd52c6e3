"""The first sign of life of a board that was flashed, as the cloud sees it. (F6)"""

import time
from dataclasses import dataclass
from typing import Any

from fieldloom_build.errors import NoCheckIn
from fieldloom_cli.api import Api

LOOK_EVERY_S = 0.25
GONE_S = 5.0


@dataclass(frozen=True)
class Seen:
    """What the cloud knows of a device at one moment."""

    status: str
    firmware: str
    latest: Any

    def is_news_to(self, before: "Seen") -> bool:
        """Whether the device has come online, or measured something, since."""
        return self.status == "online" and (before.status != "online" or self.latest != before.latest)


class Watch:
    """Waits for one device. Raises CommandFailed at once when the cloud does not answer or does not know it."""

    def __init__(self, api: Api, device: str) -> None:
        self._api = api
        self._device = device
        self._before = self._look()

    def begin(self) -> None:
        """Take what there is for old: the device is stopped, and the cloud is given a moment to hear so."""
        deadline = time.monotonic() + GONE_S
        self._before = self._look()
        while self._before.status == "online" and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
            self._before = self._look()

    def wait(self, seconds: float) -> Seen:
        """Return what the cloud knows once it has heard from the device. Raises NoCheckIn, CommandFailed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            now = self._look()
            if now.is_news_to(self._before):
                return now
            time.sleep(LOOK_EVERY_S)
        raise NoCheckIn(
            f"{self._device} is flashed, but the cloud has not heard from it within {seconds:.0f} s: "
            "`fieldloom device monitor` shows what it says; are Wi-Fi and gateway right?"
        )

    def _look(self) -> Seen:
        told = self._api.call("GET", f"/devices/{self._device}")
        latest = self._api.call("GET", f"/devices/{self._device}/latest")
        return Seen(told["status"], told["firmware"], latest["metrics"])
