"""What a board was told: /config.json, over it what commands changed since, /settings.json, and over that its twin.

The desired half of the twin is /twin.json, {"version", "values"}. Both files are replaced whole.
"""

import json
import os

from fieldloom_agent import SLOT
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import mapping, number, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES, MAX_NAME
from fieldloom_contract.topics import device_id

CHANGES = "/settings.json"
TWIN = "/twin.json"
SETTABLE = ("interval", "report", "led", "gateway")  # by the twin
MAX_INTERVAL_MS = 86400000


class Settings:
    """Checked settings: `interval` in ms, 0 for no measuring; `gateways`, in order, as {"id", "host", "port"}.

    `preferred` is the gateway to begin with; `twin` is the version of the desired half that is taken.
    """


def load(wanted=None):
    """Return the settings, by default with the twin that was taken. Raises Rejected, which names the field at fault."""
    wanted = wanted or twin()
    with open("/config.json", "rb") as file:
        told = read_object(file.read(), MAX_DOWN_BYTES)
    told.update(_read(CHANGES))
    for key in SETTABLE:
        try:  # as it was when it was taken, unless another release is stricter
            if key in wanted["values"]:
                check(wanted["values"], key, told.get("gateways", []))
                told[key] = wanted["values"][key]
        except Rejected:
            pass
    settings = Settings()
    settings.twin = wanted["version"]
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
    settings.preferred = told.get("gateway")
    prefer(settings, settings.preferred)
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


def change(name, value):
    """Keep a changed setting over the next start; return whether the twin wants another, over which it counts too."""
    changes = _read(CHANGES)
    changes[name] = value
    _keep(CHANGES, changes)
    taken = twin()
    if name not in taken["values"]:
        return False
    taken["values"][name] = value
    keep_twin(taken)
    return True


def twin():
    """Return the desired half that was taken."""
    return _read(TWIN) or {"version": 0, "values": {}}


def keep_twin(desired):
    """Keep a desired half over the next start. Raises OSError; then the one before it stays."""
    _keep(TWIN, desired)


def _keep(path, content):
    # First whole beside it: neither a power cut nor a lack of memory or room may leave half a file.
    with open(path + ".new", "w") as file:
        json.dump(content, file)
    os.rename(path + ".new", path)


def prefer(settings, gateway):
    """Put a gateway first and say whether it is known."""
    for entry in settings.gateways:
        if entry["id"] == gateway:
            settings.gateways.remove(entry)
            settings.gateways.insert(0, entry)
            return True
    return False


def _read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError, MemoryError):  # what has no room must not keep a board from starting
        return {}


def _gateway(entry):
    return {"id": text(entry, "id"), "host": text(entry, "host"), "port": number(entry, "port", 1, 65535)}
