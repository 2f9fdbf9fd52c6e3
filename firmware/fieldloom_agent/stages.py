"""An update from the command to the trial, stage by stage; the code of each is there only while it runs. (F5)

What is done is on flash, so a reset goes on with the same stages: what they find done costs little.
"""

import asyncio
import sys

from fieldloom_agent import overlay, slots
from fieldloom_contract.errors import Rejected


async def run(board, wanted, source, target):
    """Bring a release to the folder `target`, and put it on trial; or tell why not. `source` is the running slot."""
    try:
        while board.clock.now() is None or board.busy:  # dates are to be checked; a renewal leaves no memory for it
            await asyncio.sleep_ms(1000)
        serial = await _documents(board, wanted, target)
        await overlay.call("spare", "clear", target)
        overlay.call("spare", "check_room", target)
        await overlay.call("spare", "copy", source, target)
        await overlay.call("fetch", "files", board, wanted, target)
        await overlay.call("spare", "verify", target)
        overlay.call("trust", "raise_serial", serial)
        overlay.call("update", "put_on_trial", board, slots.load(), wanted)
    except Exception as error:
        board.update = None
        sys.print_exception(error)
        reason = str(error) if isinstance(error, Rejected) else repr(error)[:128]
        overlay.call("update", "fail", board, slots.load(), reason)


async def _documents(board, wanted, target):
    """Have the release's documents, and return the serial of its key. Raises Rejected."""
    try:
        return _trusted(board, wanted, target)
    except (OSError, Rejected):  # none yet, or those of another release
        await overlay.call("fetch", "documents", board, wanted, target)
    return _trusted(board, wanted, target)


def _trusted(board, wanted, target):
    now = board.clock.now() // 1000
    serial, modulus = overlay.call("trust", "key", target, now)
    overlay.call("trust", "manifest", target, modulus, wanted, board.settings.board, now)
    return serial
