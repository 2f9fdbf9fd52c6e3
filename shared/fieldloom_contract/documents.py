"""Whole documents of a release, read and written; boards read theirs line by line (`release`). (F5)"""

from collections import namedtuple

from fieldloom_contract.compat import const
from fieldloom_contract.errors import Rejected
from fieldloom_contract.release import MANIFEST_BYTES, Key, read_entry, read_head, shown

MAX_FILES = const(192)
MAX_RELEASE_BYTES = const(1048576)

Manifest = namedtuple("Manifest", ("head", "entries"))  # of `release`: a Head, and an Entry a file


def parse_manifest(data: bytes) -> Manifest:
    """Return a whole manifest: its head, and its files in order of their paths. Raises Rejected."""
    if len(data) > MANIFEST_BYTES:
        raise Rejected("manifest", "has more than " + str(MANIFEST_BYTES) + " bytes")
    if not data.endswith(b"\n"):
        raise Rejected("manifest", "is cut off in its last line")
    lines = iter(data.split(b"\n")[:-1])
    head = read_head(lines)
    entries = [read_entry(line) for line in lines]
    paths = [entry.path for entry in entries]
    if not 1 <= len(entries) <= MAX_FILES:
        raise Rejected("manifest", "must name 1 to " + str(MAX_FILES) + " files")
    if paths != sorted(set(paths)):
        raise Rejected("manifest", "must name its files once each, in order of their paths")
    if sum([entry.size for entry in entries]) > MAX_RELEASE_BYTES:
        raise Rejected("manifest", "has files of more than " + str(MAX_RELEASE_BYTES) + " bytes in all")
    return Manifest(head, entries)


def pack_manifest(manifest: Manifest) -> bytes:
    """Return a manifest as bytes, which `parse_manifest` reads."""
    head = manifest.head
    rows = [
        "fieldloom-release 1",
        "board " + head.board,
        "version " + shown(head.version),
        "mpy " + head.mpy,
        "expires " + str(head.expires),
        "floor " + shown(head.floor),
    ]
    rows += ["file " + entry.sha256 + " " + str(entry.size) + " " + entry.path for entry in manifest.entries]
    return ("\n".join(rows) + "\n").encode()


def pack_key(key: Key) -> bytes:
    """Return a release key as bytes."""
    told = "fieldloom-release-key 1\nserial " + str(key.serial) + "\nexpires " + str(key.expires)
    return (told + "\nmodulus " + _hexadecimal(key.modulus) + "\n").encode()


def pack_root(modulus: int) -> bytes:
    """Return a root's public part as bytes."""
    return ("fieldloom-release-root 1\nmodulus " + _hexadecimal(modulus) + "\n").encode()


def _hexadecimal(modulus: int) -> str:
    return f"{modulus:x}"
