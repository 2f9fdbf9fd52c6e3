"""Whether a release is to be installed: its key by the board's root, its manifest by that key, its dates. (F5)"""

import hashlib
import json
import sys

from fieldloom_agent.content import digest
from fieldloom_contract import release
from fieldloom_contract.errors import Rejected

ROOT = "/release-root"
SEEN = "/releases-seen.json"  # {"serial": the highest of a release key, "floor": the version below which nothing goes}


def check(folder, wanted, board, now):
    """Return the serial of the key of a release whose documents are in a folder; `now` is in Unix s. Raises Rejected.

    Nothing is read from a document before its signature is found right.
    """
    told = seen()
    data = _read(folder + "/key")
    if not release.is_signed(root(), hashlib.sha256(data).digest(), _read(folder + "/key.sig")):
        raise Rejected("key", "is not signed by the root that this board knows")
    key = release.parse_key(data)
    if key.serial < told["serial"]:
        raise Rejected("key", "has serial " + str(key.serial) + ", and " + str(told["serial"]) + " has replaced it")
    if key.expires <= now:
        raise Rejected("key", "has expired")
    if not release.is_signed(key.modulus, digest(folder + "/manifest"), _read(folder + "/manifest.sig")):
        raise Rejected("manifest", "is not signed by its release key")
    with open(folder + "/manifest", "rb") as lines:
        head = release.read_head(lines)
    if release.release_id(head) != wanted or head.board != board:
        raise Rejected("manifest", "is that of " + release.release_id(head))
    if head.expires <= now:
        raise Rejected("manifest", "has expired")
    if head.mpy.split(".")[0] != str(sys.implementation._mpy & 0xFF):
        raise Rejected("mpy", "is " + head.mpy + ", which this board's MicroPython does not run")
    check_floor(head.version)
    return key.serial


def check_floor(version):
    """Raise Rejected for a version below the oldest that this board takes."""
    floor = seen()["floor"]
    if list(version) < floor:
        raise Rejected("version", "is below " + release.shown(floor) + ", the oldest that this board takes")


def root():
    """Return the modulus of the board's root. Raises Rejected for a board without one."""
    try:
        return release.parse_root(_read(ROOT))
    except OSError:
        raise Rejected(
            "release", "can't be trusted: this board has no release root (device flash --release-root)"
        ) from None


def seen():
    """Return {"serial", "floor"}."""
    try:
        with open(SEEN) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {"serial": 0, "floor": [0, 0, 0]}


def raise_serial(serial):
    """Take no key of a lower serial from now on."""
    told = seen()
    if serial > told["serial"]:
        told["serial"] = serial
        _store(told)


def raise_floor(folder):
    """Take no release below the floor of the one in a folder from now on; one that was flashed has none."""
    try:
        with open(folder + "/manifest", "rb") as lines:
            floor = list(release.read_head(lines).floor)
    except OSError:
        return
    told = seen()
    if floor > told["floor"]:
        told["floor"] = floor
        _store(told)


def _store(told):
    with open(SEEN, "w") as file:
        json.dump(told, file)


def _read(path):
    with open(path, "rb") as file:
        return file.read()
