"""Three gateways of a site, one of them dead: boards go to the next, are commanded there, and come home. (D7, T5)"""

import json
import os
import signal
import time

import httpx2
import pytest
import yaml
from typer.testing import CliRunner

from fieldloom_gateway.command_rules import app as rules_commands
from fieldloom_sim.demo import proof
from fieldloom_sim.demo.system import DemoSystem
from fixtures.processes import free_port

LOST, NEXT = "gw.demo-1", "gw.demo-2"
ROAMERS = ("board-1", "board-4")
"""Their home is the gateway that dies."""
SECONDS = 120
HOME_S = 400
RULE = {
    "id": "greets",
    "placement": "edge",
    "fire": "on_change",
    "when": {"event_type": "device.telemetry"},
    "do": [{"command": {"device_id": "board-3", "type": "identify", "parameters": {"duration": 1}}}],
}


def until(is_so, seconds=SECONDS):
    """Return what it gives, and after how many seconds."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        if found := is_so():
            return found, time.monotonic() - begun
        time.sleep(0.2)
    raise AssertionError(f"not so after {seconds} s")


class Site:
    """A demo of three gateways and six boards; who is killed stays dead until `system.keep_alive`."""

    def __init__(self, data):
        self.data = data
        self.system = DemoSystem(data, free_port(), print)

    def kill(self, *names):
        told = json.loads((self.data / "demo.json").read_text())["processes"]
        for name in names:
            os.kill(told[name], signal.SIGKILL)

    def cloud_is_ready(self):
        try:
            return self.system.client.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def rules(self, folder, *arguments):
        done = CliRunner().invoke(rules_commands, [*arguments, "--data", str(self.data / folder)])
        assert done.exit_code == 0, done.output
        return done.stdout

    def acknowledged(self, board):
        return sum(self.system.fleet.acknowledged(board).values())

    def connections(self, board):
        """To which gateways a board has come, in order."""
        lines = self.system.fleet.console(board).splitlines()
        return [line.split()[-1] for line in lines if line.startswith("link: connected to")]

    def command(self, board, kind, **parameters):
        body = {"type": kind, "parameters": parameters}
        answer = self.system.client.post(f"/api/v1/devices/{board}/commands", json=body).raise_for_status()
        return answer.json()["id"]

    def ended(self, command):
        told = self.system.client.get(f"/api/v1/commands/{command}").raise_for_status().json()
        return told if told["status"] in ("succeeded", "failed", "rejected", "expired") else None


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "data")
    try:
        site.system.start(6, 3)
        yield site
    finally:
        site.system.stop()


def command_without_the_cloud(site):
    """Have a rule at one gateway command a board at another one; return after how many seconds it knows the result."""
    site.kill("cloud")
    folder = site.data / "gateway-2" / "rules"
    folder.mkdir()
    (folder / "greets.yaml").write_text(yaml.safe_dump(RULE))
    site.rules("gateway-2", "reload")

    def outcomes():
        effects = json.loads(site.rules("gateway-2", "show", "greets", "--json"))["effects"]
        return [one["status"] for one in effects if one["device"] == "board-2"]

    _, seconds = until(lambda: outcomes() == ["done"])
    site.system.keep_alive()
    until(site.cloud_is_ready)
    return seconds


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("killed", [("gateway-1", "gateway-1-broker"), ("gateway-1",)])
def test_boards_of_a_dead_gateway_go_to_the_next_obey_there_and_come_home(site, killed, capsys):
    homes = [site.connections(f"board-{number}") for number in range(1, 7)]
    ruled_s = command_without_the_cloud(site)
    starts = site.system.fleet.status()["board-4"]["starts"]

    site.kill(*killed)
    before = {board: site.acknowledged(board) for board in ROAMERS}
    begun = time.monotonic()
    sent = [site.command("board-1", "read"), site.command("board-4", "reboot")]
    until(lambda: all(site.connections(board)[-1] == NEXT for board in ROAMERS))
    until(lambda: all(site.acknowledged(board) > before[board] for board in ROAMERS))
    away_s = time.monotonic() - begun
    words = [until(lambda name=name: site.ended(name))[0] for name in sent]
    site.system.keep_alive()
    _, home_s = until(lambda: all(site.connections(board)[-1] == LOST for board in ROAMERS), HOME_S)
    at_home = site.command("board-1", "read")
    obeyed, _ = until(lambda: site.ended(at_home))
    once = site.system.fleet.status()["board-4"]["starts"]
    way = site.connections("board-1")
    proof.drain(site.system, SECONDS)
    site.system.stop()
    verdict = proof.verdict(site.system)

    with capsys.disabled():
        print(
            f"\nruled after {ruled_s:.1f} s, at the next after {away_s:.1f} s, at home after {home_s:.0f} s, {verdict}"
        )
    assert homes == [[f"gw.demo-{number}"] for number in (1, 2, 3, 1, 2, 3)]
    assert [one["status"] for one in words] == ["succeeded", "succeeded"]
    assert obeyed["status"] == "succeeded"
    assert once == starts + 1
    assert way == [LOST, NEXT, LOST]
    assert str(verdict) == "lost=0 duplicated=0"
