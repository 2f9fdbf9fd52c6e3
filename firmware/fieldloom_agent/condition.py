"""How the board is: its memory, its flash, its link, its buffer. Part of `state`. (F4, O4)"""

import gc
import os

from fieldloom_agent import overlay


def facts(agent):
    """Return what `state` says beside presence. Memory in bytes, times in ms."""
    found = overlay.call("wifi", "facts", agent.settings.wifi)
    flash = os.statvfs("/")
    found.update(
        up=agent.clock.up(),
        twin=agent.settings.twin,
        firmware=agent.settings.release["version"],
        free=gc.mem_free(),
        lowest=agent.lowest,
        flash_free=flash[0] * flash[3],
        reconnects=agent.connection.reconnects,
        waiting=agent.buffer.waiting(),
        dropped=agent.buffer.lost,
    )
    if agent.settings.board is not None:
        found["board"] = agent.settings.board
    if agent.settings.sleep:
        found["sleep"] = agent.settings.sleep
    return found
