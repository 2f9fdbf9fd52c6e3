"""What a board was told: /config.json, and over it what commands and its twin have changed since (`changes`)."""

import json

from fieldloom_agent import SLOT, changes
from fieldloom_agent.changes import MAX_INTERVAL_MS
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import mapping, number, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES, MAX_NAME
from fieldloom_contract.topics import device_id

SETTABLE = ("interval", "report", "led", "gateway")  # by the twin


class Settings:
    """Checked settings: `interval` in ms, 0 for no measuring; `gateways`, in order, as {"id", "host", "port"}.

    `preferred` is the gateway to begin with; `twin` is the version of the desired half that is taken.
    """


def load(wanted=None):
    """Return the settings, by default with the twin that was taken. Raises Rejected, which names the field at fault."""
    wanted = wanted or changes.twin()
    with open("/config.json", "rb") as file:
        told = read_object(file.read(), MAX_DOWN_BYTES)
    told.update(changes.read(changes.CHANGES))
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


def _gateway(entry):
    return {"id": text(entry, "id"), "host": text(entry, "host"), "port": number(entry, "port", 1, 65535)}
