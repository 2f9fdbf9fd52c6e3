"""What a board was told, checked: its configuration, and over it what was changed since (`kept`)."""

import json

from fieldloom_agent import SLOT, kept, overlay
from fieldloom_contract.board_topics import device_id
from fieldloom_contract.compat import const
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import mapping, number, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES

_MAX_INTERVAL_MS = const(86400000)


class Settings:
    """Checked settings: `interval` in ms, 0 for no measuring; `gateways`, in order, as {"id", "host", "port"}."""


def load():
    """Return the settings. Raises Rejected, which names the field at fault."""
    try:
        told = read_object(kept.configuration(), MAX_DOWN_BYTES)
    except OSError:
        raise Rejected("config.json", "is missing") from None
    changed = kept.changes()
    told.update(changed)
    settings = Settings()
    settings.device = device_id(told.get("device"))
    settings.type = text(told, "type")
    settings.board = told.get("board")  # the name that releases for it bear, as esp32-generic
    settings.interval = number(told, "interval", 0, _MAX_INTERVAL_MS)
    settings.drivers = [_driver(entry) for entry in _list(told, "drivers")]
    settings.report = report_rules(told) if told.get("report") else None
    settings.led = None if told.get("led") is None else number(told, "led", 0, 63)
    settings.pages = number(told, "pages", 2, 1024) if told.get("pages") else 128
    settings.drop = told.get("drop", "oldest")
    if settings.drop not in ("oldest", "newest"):
        raise Rejected("drop", "must be oldest or newest")
    settings.sleep = _sleep(mapping(told, "sleep")) if told.get("sleep") else None
    network = overlay.call("networks", "load", told, changed)
    settings.wifi, settings.address, settings.gateways = network["wifi"], network["address"], network["gateways"]
    kept.prefer(settings, told.get("gateway"))
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


def _sleep(told):
    every = number(told, "every", 2000, _MAX_INTERVAL_MS)
    return {"every": every, "awake": number(told, "awake", 0, every)}


def _list(told, field):
    value = told.get(field, [])
    if not isinstance(value, list):
        raise Rejected(field, "must be a list")
    return value


def _driver(entry):
    if not isinstance(entry, dict):
        raise Rejected("drivers", "must hold objects")
    text(entry, "driver")
    return entry
