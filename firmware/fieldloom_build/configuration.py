"""What a board is told of its surroundings: gateways, Wi-Fi, drivers. (F6)"""

import json
import os
import sys
from getpass import getpass
from pathlib import Path
from typing import Any

from fieldloom_build.errors import BuildFailed
from fieldloom_contract import topics
from fieldloom_contract.fields import number, text
from fieldloom_contract.limits import MAX_DOWN_BYTES

WIFI_KEY = "FIELDLOOM_WIFI_KEY"
DAY_MS = 86_400_000
OWN_BYTES = 256  # for what is added: the device's name
DEFAULTS: dict[str, Any] = {"type": "esp32", "interval": 10_000, "drivers": []}


def told(path: Path | None, gateways: list[str], wifi: str | None, interval: int | None) -> dict[str, Any]:
    """Return the settings of a JSON file and of options, which come over it. Raises BuildFailed, Rejected."""
    settings = _read(path) if path else {}
    if gateways:
        settings["gateways"] = [_gateway(one) for one in gateways]
    if wifi:
        key = _wifi_key(wifi)
        settings["wifi"] = {"ssid": wifi} | ({"key": key} if key else {})
    if interval is not None:
        settings["interval"] = interval
    return settings


def of_demo(data: Path) -> list[dict[str, Any]]:
    """Return the gateways of the demo that runs on a folder; none without one."""
    try:
        demo = json.loads((data / "demo.json").read_text())
    except OSError:
        return []
    return [{"id": one["id"], **one["mqtt"]} for one in demo.get("gateways", [])]


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with what is usual filled in, as a board can read them. Raises BuildFailed, Rejected."""
    settings = DEFAULTS | settings
    text(settings, "type")
    number(settings, "interval", 0, DAY_MS)
    if not settings.get("gateways"):
        raise BuildFailed("no gateway is named: give --gateway gw.site1=HOST:PORT, or `gateways` in the --config file")
    if len(json.dumps(settings)) > MAX_DOWN_BYTES - OWN_BYTES:
        raise BuildFailed(f"the configuration is longer than the {MAX_DOWN_BYTES} bytes that a board reads")
    return settings


def _wifi_key(network: str) -> str:
    """Return the key from the environment, or ask for it: an option would be seen by all users of this machine."""
    key = os.environ.get(WIFI_KEY)
    if key is None and sys.stdin.isatty():
        key = getpass(f"key of the network {network} (none for an open one): ")
    return key or ""


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BuildFailed(f"{path} can't be read as JSON ({error})") from None
    if not isinstance(settings, dict):
        raise BuildFailed(f'{path} must hold a JSON object, as {{"interval": 5000}}')
    return settings


def _gateway(option: str) -> dict[str, Any]:
    name, _, address = option.partition("=")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BuildFailed(f"--gateway {option}: write it as gw.site1=192.168.1.10:8883")
    return {"id": topics.gateway_id(name), "host": host, "port": number({"port": int(port)}, "port", 1, 65535)}
