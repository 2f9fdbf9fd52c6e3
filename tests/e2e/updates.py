"""How long a whole update of a board takes; as a program it prints {"update_s"}, for the benchmark of the firmware."""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.test_boards import wait_for
from fieldloom_sim.fleet import Fleet
from firmware.releases import BOARD, Maker
from fixtures.update_peer import UpdatePeer


def timed(peer, board, release, seconds=180):
    """Update a board and return the seconds from the command to its result, trial and restart included."""
    begun = time.monotonic()
    command = peer.command(board, "update", release=release)
    result = wait_for(lambda: peer.result(board, command), seconds, "the end of the update")
    assert result["status"] == "succeeded", result
    return time.monotonic() - begun


def measure(folder):
    """Return the seconds of an update by 40 KB, in which all other files stay as they are."""
    maker, peer = Maker(folder / "keys"), UpdatePeer(folder)
    fleet = Fleet(folder / "boards", root=maker.root)
    peer.releases[f"{BOARD}-1.1.0"] = maker.make("1.1.0", large=True)
    try:
        peer.start()
        fleet.start()
        fleet.add(peer.device("board-1"), peer.gateways, board=BOARD)
        wait_for(lambda: peer.records("board-1"), 60, "the first record")
        return timed(peer, "board-1", f"{BOARD}-1.1.0")
    finally:
        fleet.stop()
        peer.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps({"update_s": round(measure(Path(scratch)), 2)}))
