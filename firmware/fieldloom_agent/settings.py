"""What a board was told: /config.json, and over it what commands have changed since, /settings.json."""

import json

from fieldloom_contract.fields import mapping, number, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES
from fieldloom_contract.topics import device_id

CHANGES = "/settings.json"
MAX_INTERVAL_MS = 86400000


class Settings:
    """Checked settings: `interval` in ms, 0 for no measuring; `gateways`, in order, as {"id", "host", "port"}."""

    def __init__(self):
        with open("/config.json", "rb") as file:
            told = read_object(file.read(), MAX_DOWN_BYTES)
        try:
            with open(CHANGES) as file:
                self._changes = json.load(file)
        except (OSError, ValueError):
            self._changes = {}
        told.update(self._changes)
        self.device = device_id(told.get("device"))
        self.type = text(told, "type")
        self.interval = number(told, "interval", 0, MAX_INTERVAL_MS)
        self.drivers = told.get("drivers", [])
        self.wifi = mapping(told, "wifi") if told.get("wifi") else None
        self.led = told.get("led")
        self.pages = number(told, "pages", 2, 1024) if told.get("pages") else 128
        self.gateways = [_gateway(entry) for entry in told.get("gateways", [])]
        if told.get("gateway"):
            self.prefer(told["gateway"])

    def change(self, name, value):
        """Keep a changed setting over the next start."""
        self._changes[name] = value
        with open(CHANGES, "w") as file:
            json.dump(self._changes, file)

    def prefer(self, gateway):
        """Put a gateway first and say whether it is known."""
        for entry in self.gateways:
            if entry["id"] == gateway:
                self.gateways.remove(entry)
                self.gateways.insert(0, entry)
                return True
        return False


def _gateway(entry):
    return {"id": text(entry, "id"), "host": text(entry, "host"), "port": number(entry, "port", 1, 65535)}
