"""Puts a message on flash while it comes. (F1)"""

import os

from fieldloom_agent.stored import FILE, Stored


async def receive(stream, view, begun, rest):
    """Return a payload that has begun, with `rest` bytes still to come through a view. None without room on flash."""
    size = len(begun) + rest
    file = _attempt(_begin, begun)
    while rest:
        part = view[: min(rest, len(view))]
        await stream.read_into(part)
        if file:
            _attempt(file.write, part)
        rest -= len(part)
    if file:
        _attempt(file.close)
    return Stored(size) if _attempt(_length) == size else None


def _begin(part):
    try:
        os.remove(FILE)
    except OSError:
        pass  # the first one
    file = open(FILE, "wb")
    file.write(part)
    return file


def _length():
    return os.stat(FILE)[6]


def _attempt(step, *arguments):
    """Return what a step on flash returns, None where it fails: what is missing then shows in the length."""
    try:
        return step(*arguments)
    except OSError:
        return None
