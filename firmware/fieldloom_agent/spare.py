"""What is done in the other slot without the gateway: make room, copy what has not changed, verify. (F5)"""

import asyncio
import os

from fieldloom_agent import content
from fieldloom_contract.entries import DOCUMENTS
from fieldloom_contract.errors import Rejected

BLOCK = 4096
SPARE_BLOCKS = 8  # what LittleFS needs beside all files of a release, for its folders above all


async def clear(target):
    """Remove what is not of the release."""
    for name in list(content.files(target)):
        if name.startswith(content.PART):
            is_ours = any([name == content.part(entry) for entry in content.entries(target)])
        else:
            found = content.entries(target, b" " + name.encode())
            is_ours = name in DOCUMENTS or any([content.is_there(target, entry) for entry in found])
        if not is_ours:
            content.remove(target + "/" + name)
        await asyncio.sleep_ms(0)


def check_room(target):
    """Raise Rejected unless what is missing has room; of a file in progress that is its rest."""
    needed = missing = 0
    for entry in content.missing(target):
        needed += (entry.size - content.length(target + "/" + content.part(entry))) // BLOCK + 1
        missing += 1
    entries = sum(1 for _ in content.entries(target)) or 1
    needed += -(-SPARE_BLOCKS * missing // entries)  # the files that are there have theirs
    room = os.statvfs("/")
    free = room[0] * room[3] // BLOCK
    if needed > free:
        told = str(needed * BLOCK // 1024) + " KB more and the board has " + str(free * BLOCK // 1024) + " KB free"
        raise Rejected("release", "needs " + told)


async def copy(source, target):
    """Copy what the running slot holds alike."""
    for entry in content.missing(target):
        if content.is_there(source, entry):
            content.copy(source, target, entry.path)
        await asyncio.sleep_ms(0)


async def verify(target):
    """Raise Rejected unless every file reads back from flash as the manifest tells."""
    for entry in content.entries(target):
        if not content.is_there(target, entry):
            raise Rejected(entry.path, "does not read back as its manifest tells")
        await asyncio.sleep_ms(0)
