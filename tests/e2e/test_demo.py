"""`fieldloom demo` as a user runs it: up, operated by the command, killed at, ended, continued. (V3)"""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from fixtures.processes import FIELDLOOM, free_port


def fieldloom(*arguments):
    done = subprocess.run(
        [FIELDLOOM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(what, seconds, description):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{description} did not come in {seconds} s")


def points(data):
    """How many temperatures of board-2 the cloud has, 0 while it is being started."""
    try:
        asked = ("telemetry", "query", "--device", "board-2", "--metric", "temperature", "--json", "--data", data)
        series = json.loads(fieldloom(*asked))["series"]
    except AssertionError:
        return 0
    return len(series[0]["points"]) if series else 0


class Demo:
    def __init__(self, data, port, *arguments):
        self.data = data
        self.begun = time.monotonic()
        self.errors = (data.parent / "demo.err").open("w")
        self.process = subprocess.Popen(
            [FIELDLOOM, "demo", "--data", str(data), "--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def told(self):
        try:
            return json.loads((self.data / "demo.json").read_text())
        except FileNotFoundError:
            assert self.process.poll() is None, self.said()
            return None

    def said(self):
        return Path(self.errors.name).read_text()  # its position is the demo's own

    def up(self):
        wait_for(self.told, 60, "demo.json")
        return time.monotonic() - self.begun

    def end(self, seconds=70):
        """Wait for the end and return the last line of its output."""
        out, _ = self.process.communicate(timeout=seconds)
        return out.splitlines()[-1] if out else ""


@pytest.fixture
def demo(tmp_path):
    begun = []

    def begin(*arguments, port=None):
        begun.append(Demo(tmp_path / "data", port or free_port(), *arguments))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        one.process.stdout.close()
        one.errors.close()


def test_the_demo_is_operated_sabotaged_ended_and_continued(demo):
    first = demo("--devices", "4")
    first.up()
    told = first.told()
    assert (first.data / "demo.json").stat().st_mode & 0o777 == 0o600
    assert {"cloud", "cloud-broker", "gateway-1", "gateway-1-broker", "board-1", "board-4"} <= set(told["processes"])
    assert all(told["processes"].values())
    (gateway, *_) = told["gateways"]
    assert gateway["coap"]["port"]
    assert httpx2.post(f"{gateway['http']}/ingest/board-1", json={}, timeout=20).status_code == 401
    assert all(Path(device["serial"]).is_char_device() for device in told["devices"])

    link = wait_for(lambda: re.search(r"console +(http://127\.0\.0\.1:\d+)/login#(\S+)", first.said()), 30, "a link")
    assert link[1] == told["api"]
    assert httpx2.post(f"{link[1]}/api/v1/session", json={"secret": link[2]}).json()["role"] == "admin"
    assert "<title>Fieldloom</title>" in httpx2.get(link[1]).text
    listed = json.loads(fieldloom("device", "list", "--data", first.data, "--json"))["items"]
    assert [device["id"] for device in listed] == [f"board-{number}" for number in range(1, 5)]
    new = json.loads(fieldloom("device", "new", "pump-7", "--data", first.data, "--json"))
    assert set(new) == {"id", "cert", "key", "ca"}
    sent = fieldloom("command", "send", "board-1", "read", "--wait", "20", "--data", first.data, "--json")
    assert set(json.loads(sent)["result"]["values"]) == {"temperature", "humidity", "relay"}

    for name in ("board-2", "gateway-1", "cloud"):
        victim = first.told()["processes"][name]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: first.told()["processes"][name] not in (victim, None), 30, f"{name} started again")  # noqa: B023
    wait_for(lambda: points(first.data) >= 3, 20, "telemetry")
    pids = list(first.told()["processes"].values())
    first.process.send_signal(signal.SIGINT)
    assert first.end() == "lost=0 duplicated=0", first.said()
    assert first.process.returncode == 0
    assert not (first.data / "demo.json").exists()
    assert not [pid for pid in pids if _runs(pid)]

    second = demo("--devices", "4", "--seconds", "2")
    second.up()
    assert points(second.data) >= 3, "what the first run stored is gone"
    assert second.end() == "lost=0 duplicated=0", second.said()


def led(told):
    """Return the site's cluster as the cloud shows it, once there is a leader and each gateway has its share."""
    headers = {"Authorization": f"Bearer {told['token']}"}
    shown = httpx2.get(f"{told['api']}/api/v1/sites/default/cluster", headers=headers, timeout=20).json()
    shares = [one["member"] and one["member"]["partitions"] for one in shown["items"]]
    return shown if all(shares) and shown["cluster"]["leader"] else None


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_boards_are_spread_over_three_gateways_each_with_the_others_to_go_to(demo):
    one = demo("--devices", "6", "--gateways", "3")
    told = wait_for(one.told, 200, "demo.json")

    for number, gateway in enumerate(told["gateways"], 1):
        devices = httpx2.get(f"{gateway['http']}/api/v1/devices", timeout=20).json()["items"]
        here = [device["id"] for device in devices if device["online"]]
        assert here == [f"board-{number}", f"board-{number + 3}"]
    members = json.loads(fieldloom("cluster", "members", "--data", one.data / "gateway-2", "--json"))["items"]
    cluster = wait_for(lambda: led(told), 60, "a cluster that is led and shares its work")

    one.process.send_signal(signal.SIGINT)

    assert [member["state"] for member in members] == ["active"] * 3
    assert {one["id"] for one in cluster["items"]} == {one["id"] for one in told["gateways"]}
    assert [one["release"] for one in cluster["items"]] == [cluster["items"][0]["release"]] * 3
    assert one.end(120) == "lost=0 duplicated=0", one.said()


def test_the_demo_dies_with_all_its_children_when_it_is_killed(demo):
    one = demo("--devices", "1")
    one.up()
    pids = list(one.told()["processes"].values())

    one.process.kill()
    one.process.wait()

    wait_for(lambda: not [pid for pid in pids if _runs(pid)], 30, "the end of the children")


def test_a_port_in_use_is_one_line(demo, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        one = demo(port=taken.getsockname()[1])
        one.process.wait(30)

    assert one.process.returncode == 1
    assert "is in use: choose another one by --port" in one.said()
    assert one.said().count("\n") == 1


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False
