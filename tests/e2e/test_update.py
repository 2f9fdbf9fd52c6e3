"""An update over the air from the command line to a virtual board, through real cloud, gateway and brokers. (F5, F7)

The firmware, its keys and its releases are those that the commands make.
"""

import json
import os
import random
import subprocess
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.system import System
from e2e.test_boards import wait_for
from fieldloom_build import package, release, release_keys
from fieldloom_contract.documents import parse_manifest
from fieldloom_sim.fleet import Fleet
from fixtures.processes import FIELDLOOM, wait_for_port

BOARD = "esp32-generic"
NEW, BROKEN = f"{BOARD}-7.0.0", f"{BOARD}-7.0.1"
OWN = release.own_version()
LARGE = 40_000


class World:
    """A system whose board was given the root, and the command as its operator calls it."""

    def __init__(self, folder):
        self.folder = folder
        self.run("release-key", "root", "--out", folder / "root")
        self.run("release-key", "new", "--root", folder / "root", "--serial", 1, "--out", folder / "key")
        root = folder / "root" / "root.pub"
        self.system = System(folder, cloud_options=("--release-root", root))
        self.fleet = Fleet(folder / "boards", root=root.read_bytes())
        self.fleet.start()
        self.fleet.add(self.system.enrol_device("board-1"), self.system.gateways, board=BOARD)
        wait_for(lambda: self.device()["firmware"], 60, "the first check-in")

    def stop(self):
        self.fleet.stop()
        self.system.stop()

    def run(self, *arguments, code=0, token=None):
        environment = os.environ | {"COLUMNS": "160"}
        if token:
            environment |= {"FIELDLOOM_API": f"http://127.0.0.1:{self.system.cloud.port}", "FIELDLOOM_TOKEN": token}
        command = [FIELDLOOM, *map(str, arguments), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout or "null"), done.stderr

    def cloud(self, *arguments, **options):
        return self.run(*arguments, token=self.system.cloud.token, **options)

    def build(self, version):
        out = self.folder / "releases"
        return self.run(
            "device", "build", "--board", BOARD, "--version", version, "--key", self.folder / "key", "--out", out
        )[0]

    def device(self):
        with self.system.api() as api:
            return api.get("/api/v1/devices/board-1").json()

    def chunks(self):
        """How many chunks the gateway has sent to boards."""
        with self.system.api() as api:
            return api.get(self.system.status_pages[0]).json()["releases"].get("chunks", 0)

    def events(self):
        with self.system.api() as api:
            found = api.get("/api/v1/events", params={"device": "board-1"}).json()["items"]
        return [(event["type"], event["data"]) for event in reversed(found) if event["type"].startswith("update.")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("update"))
    yield world
    world.stop()


def test_a_release_goes_from_its_sources_to_a_board_that_says_so_and_back(world):
    assert (world.device()["board"], world.device()["firmware"]) == (BOARD, OWN)
    built = world.build("7.0.0")

    uploaded, _ = world.cloud("release", "upload", built["zip"])
    updated, said = world.cloud("device", "update", "board-1", "--release", NEW, "--wait")
    wait_for(lambda: world.device()["firmware"] == "7.0.0", 30, "the new version in the state")
    back, _ = world.cloud("device", "rollback", "board-1", "--wait")
    wait_for(lambda: world.device()["firmware"] == OWN, 30, "the old version in the state")

    assert (uploaded["id"], uploaded["signature"]) == (NEW, "verified")
    assert (updated["status"], updated["result"]) == ("succeeded", {"release": NEW})
    assert [line.split()[1] for line in said.splitlines() if "update." in line][:1] == ["update.started"]
    assert "command succeeded" in said
    assert (back["status"], back["result"]) == ("succeeded", {"release": f"{BOARD}-{OWN}"})
    kinds = [kind for kind, _ in world.events()]
    assert kinds == ["update.started", "update.trial", "update.installed", "update.trial", "update.rolled_back"]


def test_a_broken_release_ends_on_the_old_one_with_the_reason_in_the_cloud(world):
    before = world.device()["firmware"]
    world.cloud("release", "upload", broken(world))

    done, _ = world.cloud("device", "update", "board-1", "--release", BROKEN, "--wait", code=1)

    assert (done["status"], "broken on purpose" in done["error"]) == ("failed", True), done
    started, ended = world.events()[-2:]
    assert started[1]["bytes"] > LARGE, "it came in many chunks"
    assert ended[0] == "update.rolled_back"
    assert "broken on purpose" in ended[1]["reason"]
    wait_for(lambda: world.device()["status"] == "online", 30, "the old release")
    assert world.device()["firmware"] == before


def broken(world):
    """The folder of a release that is signed as it should be, and whose agent does not start."""
    source = 'raise RuntimeError("broken on purpose")\n'
    agent = {"lib/fieldloom_agent/agent.mpy": release.compile_source(source, "fieldloom_agent.agent")}
    return altered(world, "7.0.1", agent | {"lib/large.bin": random.Random(20261126).randbytes(LARGE)})


def altered(world, version, changed):
    """The folder of a release of our sources with some other files, signed as it should be."""
    with zipfile.ZipFile(world.build(version)["zip"]) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    contents = {name.removeprefix("files/"): body for name, body in members.items() if name.startswith("files/")}
    head = parse_manifest(members["manifest"]).head
    made = package.make(head, contents | changed, release_keys.load_key(world.folder / "key"), "1.22.0")
    folder = world.folder / "altered" / f"{BOARD}-{version}"
    package.write(made, folder)
    return folder


def test_an_update_for_another_board_or_of_a_viewer_is_not_sent(world):
    with world.system.api() as api:
        viewer = api.post("/api/v1/tokens", json={"name": "viewer", "role": "viewer"}).json()["token"]
    out = world.folder / "releases"
    key = ("--key", world.folder / "key", "--out", out)
    other, _ = world.run("device", "build", "--board", "esp32-c3-devkitm", "--version", "7.0.0", *key)
    world.cloud("release", "upload", other["zip"])

    _, said = world.cloud("device", "update", "board-1", "--release", other["release"], code=1)
    world.run("device", "rollback", "board-1", token=viewer, code=4)
    listed, _ = world.run("release", "list", "--board", "esp32-c3-devkitm", token=viewer)

    assert f"is made for esp32-c3-devkitm, and this device is {BOARD}" in said
    assert [one["id"] for one in listed["items"]] == [other["release"]]


@pytest.mark.chaos
def test_an_update_succeeds_whatever_is_killed_on_its_way(world):
    rng = random.Random(20261126)
    world.cloud("release", "upload", altered(world, "7.1.0", {"lib/large.bin": rng.randbytes(150_000)}))
    had, sent = len(world.events()), world.chunks()

    with ThreadPoolExecutor(1) as pool:
        update = pool.submit(world.cloud, "device", "update", "board-1", "--release", f"{BOARD}-7.1.0", "--wait")
        wait_for(lambda: world.chunks() - sent >= 50, 60, "two thirds of the large file")
        world.fleet.off("board-1")  # only now: in its trial a lost power counts as a failure
        world.fleet.on("board-1")
        for _ in range(3):
            for victim in rng.sample(list(world.system.processes.values()), 4):
                time.sleep(rng.uniform(0.2, 1.5))
                victim.kill()
                victim.start()
        done, said = update.result()

    assert done["status"] == "succeeded", said
    wait_for_port(world.system.cloud.port)
    wait_for(lambda: world.device()["firmware"] == "7.1.0", 60, "the new version")
    kinds = [kind for kind, _ in world.events()[had:]]
    assert kinds == ["update.started", "update.started", "update.trial", "update.installed"], "once more after the cut"
