"""Network settings: checked, and kept over those of the configuration once a gateway was reached with them. (F11)"""

from binascii import crc32

from fieldloom_agent import changes
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import mapping, number, text

NAMES = ("wifi", "address", "gateways")
ADDRESS = ("ip", "netmask", "router", "dns")


def check(told):
    """Return the settings that are named, checked. Raises Rejected.

    - `wifi`: {"ssid", "key"?}, null for none;
    - `address`: {"ip", "netmask", "router", "dns"}, null for one by DHCP;
    - `gateways`, at least one: {"id", "host", "port"}.
    """
    found = {}
    for name, value in told.items():
        if name not in NAMES:
            raise Rejected(name, "is not known")
        if name == "gateways":
            if not isinstance(value, list) or not value:
                raise Rejected(name, "must be a list of at least one")
            found[name] = [_gateway(entry) for entry in value]
        else:
            found[name] = None if not value else _CHECKS[name](mapping(told, name))
    return found


def load(told, changed):
    """Return all of them, checked, of a configuration and of what was changed since. Raises Rejected."""
    found = {name: told.get(name) for name in NAMES}
    if _is_of_this_configuration(changed):
        found.update(changed["network"])
    return check(found)


def keep(wanted, ids):
    """Keep settings for as long as this configuration is there, and which commands have set them, in one write."""
    changed = changes.read(changes.CHANGES)
    if _is_of_this_configuration(changed):
        wanted = dict(changed["network"], **wanted)
    changes.change("network", wanted, of=_checksum(), ids=ids)


def set_by():
    """Return the ids of the commands whose settings are kept."""
    return changes.read(changes.CHANGES).get("ids", [])


def _is_of_this_configuration(changed):
    """Whether settings were kept under this configuration: a board that is flashed with another one has that one's."""
    return "network" in changed and changed.get("of") == _checksum()


def _checksum():
    return crc32(changes.configuration()) & 0xFFFFFFFF


def _wifi(told):
    text(told, "ssid", 32)
    if told.get("key") is not None:
        text(told, "key", 64)
    return {name: told[name] for name in ("ssid", "key") if told.get(name) is not None}


def _address(told):
    for name in ADDRESS:
        parts = text(told, name).split(".")
        if len(parts) != 4 or not all([part.isdigit() and int(part) < 256 for part in parts]):
            raise Rejected("address." + name, "must be an address, as 192.168.1.20")
    return {name: told[name] for name in ADDRESS}


def _gateway(entry):
    if not isinstance(entry, dict):
        raise Rejected("gateways", "must hold objects of id, host and port")
    return {"id": text(entry, "id"), "host": text(entry, "host"), "port": number(entry, "port", 1, 65535)}


_CHECKS = {"wifi": _wifi, "address": _address}
