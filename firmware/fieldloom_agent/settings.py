"""What a board was told: /config.json, and over it what commands have changed since, /settings.json."""

import json

from fieldloom_agent import SLOT
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import mapping, number, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES
from fieldloom_contract.topics import device_id

CHANGES = "/settings.json"
MAX_INTERVAL_MS = 86400000


class Settings:
    """Checked settings: `interval` in ms, 0 for no measuring; `gateways`, in order, as {"id", "host", "port"}."""


def load():
    """Return the settings. Raises Rejected, which names the field at fault."""
    with open("/config.json", "rb") as file:
        told = read_object(file.read(), MAX_DOWN_BYTES)
    told.update(_changes())
    settings = Settings()
    settings.device = device_id(told.get("device"))
    settings.type = text(told, "type")
    settings.board = told.get("board")  # the name that releases for it bear, as esp32-generic
    settings.interval = number(told, "interval", 0, MAX_INTERVAL_MS)
    settings.drivers = told.get("drivers", [])
    settings.report = report_rules(told) if told.get("report") else None
    settings.wifi = mapping(told, "wifi") if told.get("wifi") else None
    settings.led = told.get("led")
    settings.pages = number(told, "pages", 2, 1024) if told.get("pages") else 128
    settings.gateways = [_gateway(entry) for entry in told.get("gateways", [])]
    prefer(settings, told.get("gateway"))
    with open(SLOT + "/release.json") as file:
        settings.release = json.load(file)  # {"version", "built" (Unix seconds)}
    return settings


def report_rules(told):
    """Return the rules of `report`, which `reporting` explains. Raises Rejected."""
    rules = mapping(told, "report")
    for metric in rules:
        for name, value in mapping(rules, metric).items():
            place = "report." + metric + "." + name
            if name not in ("deadband", "deadband_percent", "min", "max"):
                raise Rejected(place, "is not known")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise Rejected(place, "must be a number from 0")
    return rules


def change(name, value):
    """Keep a changed setting over the next start."""
    changes = _changes()
    changes[name] = value
    with open(CHANGES, "w") as file:
        json.dump(changes, file)


def prefer(settings, gateway):
    """Put a gateway first and say whether it is known."""
    for entry in settings.gateways:
        if entry["id"] == gateway:
            settings.gateways.remove(entry)
            settings.gateways.insert(0, entry)
            return True
    return False


def _changes():
    try:
        with open(CHANGES) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def _gateway(entry):
    return {"id": text(entry, "id"), "host": text(entry, "host"), "port": number(entry, "port", 1, 65535)}
