"""The built-in commands. Intervals and durations are in ms. (F3)"""

import asyncio

from fieldloom_agent.commands import PENDING
from fieldloom_agent.settings import MAX_INTERVAL_MS
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import number, text

IDENTIFY_MS = 5000
BLINK_MS = 250


class Actions:
    """What a board does on command; `restart()` and `reconnect()` are the agent's."""

    def __init__(self, settings, drivers, restart, reconnect):
        self._settings = settings
        self._drivers = drivers
        self._restart = restart
        self._reconnect = reconnect
        self._blinking = None

    def table(self):
        """Return {type: action}."""
        return {
            "read": self.read,
            "write": self.write,
            "set_interval": self.set_interval,
            "identify": self.identify,
            "reboot": self.reboot,
            "connect": self.connect,
        }

    def read(self, parameters):
        """Return the values of one driver, or of all."""
        values = {}
        for driver in [self._driver(parameters)] if "name" in parameters else self._drivers.values():
            values.update(driver.read())
        return {"values": values}

    def write(self, parameters):
        """Set an actuator."""
        driver = self._driver(parameters)
        if not hasattr(driver, "write"):
            raise Rejected("name", "is a sensor")
        try:
            driver.write(parameters.get("value"))
        except ValueError as error:
            raise Rejected("value", str(error)) from None
        return {"values": driver.read()}

    def set_interval(self, parameters):
        """Measure at another interval from now on, over a reset too; 0 pauses it until the next start."""
        interval = number(parameters, "interval", 0, MAX_INTERVAL_MS)
        if interval:
            self._settings.change("interval", interval)
        self._settings.interval = interval
        return {"interval": interval}

    def identify(self, parameters):
        """Blink for a while."""
        has_one = parameters.get("duration") is not None
        duration = number(parameters, "duration", 1, 3600000) if has_one else IDENTIFY_MS
        if self._blinking:
            self._blinking.cancel()
        self._blinking = asyncio.create_task(self._blink(duration))
        return {"duration": duration}

    def reboot(self, parameters):
        """Start anew; the result follows after the start."""
        self._restart()
        return PENDING

    def connect(self, parameters):
        """Move to another gateway of the configuration, for good."""
        gateway = text(parameters, "gateway")
        if not self._settings.prefer(gateway):
            raise Rejected("gateway", "is not in this board's configuration")
        self._settings.change("gateway", gateway)
        self._reconnect()
        return {"gateway": gateway}

    def _driver(self, parameters):
        driver = self._drivers.get(text(parameters, "name"))
        if driver is None:
            raise Rejected("name", "is one of " + ", ".join(self._drivers))
        return driver

    async def _blink(self, duration):
        print("identify: this is", self._settings.device)
        if self._settings.led is None:
            return
        from machine import Pin

        led = Pin(self._settings.led, Pin.OUT)
        for step in range(duration // BLINK_MS):
            led.value(1 - step % 2)
            await asyncio.sleep_ms(BLINK_MS)
        led.value(0)
