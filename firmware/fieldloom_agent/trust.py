"""Whether a release is to be installed: its key by the board's root, its manifest by that key, its dates. (F5)"""

import gc
import json
import os
import sys

from fieldloom_agent import overlay
from fieldloom_contract.errors import Rejected

ROOT = "/release-root"
SEEN = "/releases-seen.json"  # {"serial": the highest of a release key, "floor": the version below which nothing goes}


def key(folder, now):
    """Return (serial, modulus) of the key of the release in a folder; `now` is in Unix s. Raises Rejected.

    Nothing is read from a document before its signature is found right.
    """
    from fieldloom_contract.signing import parse_key, parse_root

    root = parse_root(_read(ROOT))
    if not _is_signed(root, folder + "/key"):
        raise Rejected("key", "is not signed by the root that this board knows")
    found = parse_key(_read(folder + "/key"))
    lowest = seen()["serial"]
    if found.serial < lowest:
        raise Rejected("key", "has serial " + str(found.serial) + ", and " + str(lowest) + " has replaced it")
    if found.expires <= now:
        raise Rejected("key", "has expired")
    return found.serial, found.modulus


def manifest(folder, modulus, wanted, board, now):
    """Check the manifest of a release by the modulus of its key. Raises Rejected."""
    if not _is_signed(modulus, folder + "/manifest"):
        raise Rejected("manifest", "is not signed by its release key")

    from fieldloom_contract.manifest import read_head, release_id

    with open(folder + "/manifest", "rb") as lines:
        head = read_head(lines)
    if release_id(head) != wanted or head.board != board:
        raise Rejected("manifest", "is that of " + release_id(head))
    if head.expires <= now:
        raise Rejected("manifest", "has expired")
    if head.mpy.split(".")[0] != str(sys.implementation._mpy & 0xFF):
        raise Rejected("mpy", "is " + head.mpy + ", which this board's MicroPython does not run")
    check_floor(wanted.rpartition("-")[2])


def _is_signed(modulus, path):
    """Whether the file beside a document is its signature."""
    from fieldloom_contract.signing import is_signed

    digest, signature = overlay.call("content", "digest", path), _read(path + ".sig")
    gc.collect()  # numbers of 768 bytes need their room in one piece
    return is_signed(modulus, digest, signature)


def check_floor(version):
    """Raise Rejected for a version, as text, below the oldest that this board takes."""
    floor = seen()["floor"]
    if [int(number) for number in version.split(".")] < floor:
        told = ".".join([str(number) for number in floor])
        raise Rejected("version", "is below " + told + ", the oldest that this board takes")


def check_root():
    """Raise Rejected for a board that trusts no release."""
    try:
        os.stat(ROOT)
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
    from fieldloom_contract.manifest import read_head

    try:
        with open(folder + "/manifest", "rb") as lines:
            floor = list(read_head(lines).floor)
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
