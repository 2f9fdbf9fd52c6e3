"""Updates of virtual boards over TLS and a real broker, the contract's other half as their gateway. (F5, F3, F7)"""

import pytest

from e2e.test_boards import wait_for
from e2e.updates import timed
from fieldloom_sim.fleet import Fleet
from firmware.releases import BOARD, LARGE, Maker
from fixtures.update_peer import UpdatePeer

FIRST, NEXT = f"{BOARD}-0.1.0", f"{BOARD}-1.1.0"
HANGING = """
import machine
def main():
    machine.WDT(timeout=2000)  # else the watchdog of boot.py would bite after a minute
    while True:
        pass
"""


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    peer = UpdatePeer(tmp_path_factory.mktemp("peer")).start()
    yield peer
    peer.stop()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, maker):
    fleet = Fleet(tmp_path_factory.mktemp("boards"), root=maker.root)
    fleet.start()
    yield fleet
    fleet.stop()


@pytest.fixture
def board(request, peer, fleet):
    """A board of its own for a test, which has sent something."""
    name = request.node.name.split("[")[0].removeprefix("test_")[:60].replace("_", "-")
    fleet.add(peer.device(name), peer.gateways, board=BOARD, interval=200)
    wait_for(lambda: len(peer.records(name)) > 2, 60, "the first records")
    return name


def finished(peer, board, command, seconds=120):
    return wait_for(lambda: peer.result(board, command), seconds, f"the result of {command}")


def firmware(peer, board):
    """The release that a board says to run, as its events tell."""
    return [data["release"] for kind, data in peer.events(board) if kind in ("update.installed", "update.rolled_back")]


def test_a_board_is_updated_and_goes_back(peer, fleet, board, maker, capsys):
    peer.releases[NEXT] = maker.make("1.1.0", large=True)

    seconds = timed(peer, board, NEXT)
    sent = dict(peer.sent)
    back = finished(peer, board, peer.command(board, "rollback"))

    with capsys.disabled():
        print(f"\nupdate_s={seconds:.1f}: {sent[board]} bytes over the link, {fleet.status()[board]['starts']} starts")
    assert back["status"] == "succeeded", back
    assert back["result"] == {"release": FIRST}
    assert peer.sent == sent
    assert fleet.status()[board]["starts"] == 3
    assert set(peer.requested[board]) == {
        *("key", "key.sig", "manifest", "manifest.sig"),
        *(f"files/{LARGE}", "files/release.json"),
    }
    assert "Traceback" not in fleet.console(board)


@pytest.mark.parametrize(
    ("version", "agent", "reason"),
    [
        ("1.2.0", "import nowhere\n", "no module named 'nowhere'"),
        ("1.3.0", HANGING, "hung until the watchdog reset it"),
    ],
)
def test_a_broken_release_is_left(peer, fleet, maker, request, version, agent, reason):
    name = f"broken-{version.replace('.', '-')}"
    peer.releases[f"{BOARD}-{version}"] = maker.make(version, agent=agent)
    fleet.add(peer.device(name), peer.gateways, board=BOARD, interval=200)

    result = finished(peer, name, peer.command(name, "update", release=f"{BOARD}-{version}"))

    assert result["status"] == "failed"
    assert reason in result["error"]
    assert fleet.status()[name]["starts"] == 3
    assert peer.events(name)[-1][0] == "update.rolled_back"


def test_cuts_of_power_and_link_in_a_download_are_made_good(peer, fleet, board, maker):
    release = peer.releases[NEXT] = maker.make("1.1.0", large=True)

    command = peer.command(board, "update", release=NEXT)
    wait_for(lambda: peer.sent.get(board, 0) > 12_000, 60, "a part of the download")
    fleet.off(board)
    fleet.on(board)
    wait_for(lambda: peer.sent.get(board, 0) > 32_000, 60, "more of it")
    peer.broker.kill()
    peer.broker.start()
    result = finished(peer, board, command)

    assert result["status"] == "succeeded", result
    assert fleet.status()[board]["starts"] == 3
    whole = sum(len(release[name]) for name in set(peer.requested[board]))
    assert whole <= peer.sent[board] <= whole + 4 * 8192


def test_a_board_without_a_root_refuses_and_says_why(peer, tmp_path, maker):
    fleet = Fleet(tmp_path / "boards")
    fleet.start()
    try:
        fleet.add(peer.device("rootless"), peer.gateways, board=BOARD)
        result = finished(peer, "rootless", peer.command("rootless", "update", release=NEXT))
    finally:
        fleet.stop()

    assert result["status"] == "rejected"
    assert "this board has no release root (device flash --release-root)" in result["error"]
