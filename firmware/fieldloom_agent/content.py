"""The files of a release in a slot's folder: whether they are what its manifest tells, and how they come there. (F5)"""

import hashlib
import os
from binascii import hexlify

from fieldloom_contract.entries import read_entry

PART = "part-"
_PIECE = 512
_FOLDER = 0x4000


def entries(folder, ends=b""):
    """Yield the files that the manifest in a folder names, those whose paths end so. Raises OSError without one."""
    with open(folder + "/manifest", "rb") as lines:
        for line in lines:
            if line.startswith(b"file ") and line.endswith(ends + b"\n"):  # what is before them, `trust` has read
                yield read_entry(line)


def missing(folder):
    """Yield those of them that are not there."""
    for entry in entries(folder):
        if not exists(folder + "/" + entry.path):
            yield entry


def part(entry):
    """Return the name, in a slot's folder, of a file that has come in part."""
    return PART + entry.sha256[:16]


def is_there(folder, entry):
    """Whether a folder holds a file as a manifest tells it."""
    try:
        return hexlify(digest(folder + "/" + entry.path)).decode() == entry.sha256
    except OSError:
        return False


def is_whole(folder):
    """Whether a folder holds every file of its manifest; a release that came over a cable has none."""
    try:
        for entry in entries(folder):
            if not is_there(folder, entry):
                return False
    except OSError:
        pass
    return True


def digest(path):
    """Return the SHA-256 of a file. Raises OSError without one."""
    made, piece = hashlib.sha256(), bytearray(_PIECE)
    with open(path, "rb") as file:
        count = file.readinto(piece)
        while count:
            made.update(memoryview(piece)[:count])
            count = file.readinto(piece)
    return made.digest()


def copy(source, folder, path):
    """Copy a file to a folder: a reset leaves it whole there or not at all."""
    piece, target = bytearray(_PIECE), folder + "/" + path
    make_parents(folder, path)
    with open(source + "/" + path, "rb") as old, open(target + ".new", "wb") as new:
        count = old.readinto(piece)
        while count:
            new.write(memoryview(piece)[:count])
            count = old.readinto(piece)
    os.rename(target + ".new", target)


def files(folder):
    """Yield the paths, below a folder, of all files in it."""
    for found in os.ilistdir(folder):
        if found[1] == _FOLDER:
            for path in files(folder + "/" + found[0]):
                yield found[0] + "/" + path
        else:
            yield found[0]


def length(path):
    """Return the size of a file, 0 without one."""
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def exists(path):
    """Whether there is such a file."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def make_parents(folder, path):
    """Make a folder, and those below it that a path leads through."""
    for part in path.split("/"):
        try:
            os.mkdir(folder)
        except OSError:
            pass
        folder += "/" + part


def remove(path):
    """Remove a file if there is one."""
    try:
        os.remove(path)
    except OSError:
        pass
