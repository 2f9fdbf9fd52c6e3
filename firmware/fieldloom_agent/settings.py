"""What a board was told, checked: its configuration, and over it what has been changed since (`changes`)."""

import json

from fieldloom_agent import SLOT, changes, overlay
from fieldloom_agent.changes import MAX_INTERVAL_MS
from fieldloom_contract.board_topics import device_id
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import mapping, number, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES, MAX_NAME

SETTABLE = ("interval", "report", "led", "gateway")  # by the twin


class Settings:
    """Checked settings: `interval` in ms, 0 for no measuring; `gateways`, in order, as {"id", "host", "port"}.

    `preferred` is the gateway to begin with; `twin` is the version of the desired half that is taken.
    """


def load(wanted=None):
    """Return the settings, by default with the twin that was taken. Raises Rejected, which names the field at fault."""
    wanted = wanted or changes.twin()
    try:
        told = read_object(changes.configuration(), MAX_DOWN_BYTES)
    except OSError:
        raise Rejected("config.json", "is missing") from None
    changed = changes.read(changes.CHANGES)
    told.update(changed)
    network = overlay.call("networks", "load", told, changed)
    for key in SETTABLE:
        try:  # as it was when it was taken, unless another release is stricter
            if key in wanted["values"]:
                check(wanted["values"], key, network["gateways"])
                told[key] = wanted["values"][key]
        except Rejected:
            pass
    settings = Settings()
    settings.twin = wanted["version"]
    settings.device = device_id(told.get("device"))
    settings.type = text(told, "type")
    settings.board = told.get("board")  # the name that releases for it bear, as esp32-generic
    settings.interval = number(told, "interval", 0, MAX_INTERVAL_MS)
    settings.drivers = [_driver(entry) for entry in _list(told, "drivers")]
    settings.report = report_rules(told) if told.get("report") else None
    settings.led = None if told.get("led") is None else number(told, "led", 0, 63)
    settings.pages = number(told, "pages", 2, 1024) if told.get("pages") else 128
    settings.drop = told.get("drop", "oldest")
    if settings.drop not in ("oldest", "newest"):
        raise Rejected("drop", "must be oldest or newest")
    settings.sleep = _sleep(mapping(told, "sleep")) if told.get("sleep") else None
    settings.wifi, settings.address, settings.gateways = network["wifi"], network["address"], network["gateways"]
    settings.preferred = told.get("gateway")
    changes.prefer(settings, settings.preferred)
    with open(SLOT + "/release.json") as file:
        settings.release = json.load(file)  # {"version", "built" (Unix seconds)}
    return settings


def check(wanted, key, gateways):
    """Look at a setting of the twin. Raises Rejected."""
    if key == "interval":
        number(wanted, key, 0, MAX_INTERVAL_MS)
    elif key == "report":
        report_rules(wanted)
    elif key == "led":
        number(wanted, key, 0, 48)
    elif key != "gateway":
        raise Rejected(key, "is not known to this board")
    elif text(wanted, key) not in [gateway["id"] for gateway in gateways]:
        raise Rejected(key, "is not in this board's configuration")


def report_rules(told):
    """Return the rules of `report`, which `reporting` explains. Raises Rejected."""
    rules = mapping(told, "report")
    for metric in rules:
        if len(metric) > MAX_NAME:
            raise Rejected("report", "names have at most 64 characters")
        for name, value in mapping(rules, metric).items():
            place = "report." + metric + "." + name
            if name not in ("deadband", "deadband_percent", "min", "max"):
                raise Rejected(place, "is not known")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise Rejected(place, "must be a number from 0")
    return rules


def _sleep(told):
    every = number(told, "every", 2000, MAX_INTERVAL_MS)
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
