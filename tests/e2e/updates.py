"""How long a whole update of a board takes."""

import time

from e2e.test_boards import wait_for


def timed(peer, board, release, seconds=180):
    """Update a board and return the seconds from the command to its result, trial and restart included."""
    begun = time.monotonic()
    command = peer.command(board, "update", release=release)
    result = wait_for(lambda: peer.result(board, command), seconds, "the end of the update")
    assert result["status"] == "succeeded", result
    return time.monotonic() - begun
