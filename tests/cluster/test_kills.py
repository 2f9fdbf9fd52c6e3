"""Members as processes, killed by SIGKILL while all of them write: what was acknowledged is there. (D1, D7, T4)"""

import random
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fixtures.processes import free_port

PROGRAM = Path(__file__).with_name("member_run.py")
SECRET = "a secret of the tests, long enough"
PATIENCE = 90


@dataclass
class Process:
    name: str
    process: subprocess.Popen
    output: Path


@dataclass
class Site:
    """Three members as processes; what they printed stays when they die."""

    folder: Path
    addresses: dict[str, str] = field(default_factory=lambda: {name: f"127.0.0.1:{free_port()}" for name in "abc"})
    running: dict[str, Process] = field(default_factory=dict)
    outputs: list[Path] = field(default_factory=list)

    def start(self, name: str) -> None:
        output = self.folder / f"{name}-{len(self.outputs)}.out"
        self.outputs.append(output)
        told = [f"{one}={address}" for one, address in self.addresses.items()]
        with output.open("wb") as out, output.with_suffix(".err").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, PROGRAM, name, self.folder / name, SECRET, *told],
                stdin=subprocess.PIPE, stdout=out, stderr=errors,
            )  # fmt: skip
        self.running[name] = Process(name, process, output)

    def kill(self, name: str) -> None:
        process = self.running.pop(name).process
        process.kill()
        process.wait()
        process.stdin.close()

    def said(self, word: str) -> list[tuple[float, list[str]]]:
        """Return (when, words) of all whole lines of a kind, over all lives."""
        lines = [line.split() for output in self.outputs for line in output.read_text().split("\n")[:-1]]
        return sorted((float(at), words) for at, kind, *words in lines if kind == word)

    def wait(self, is_so) -> None:
        end = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < end, "".join(path.with_suffix(".err").read_text()[-500:] for path in self.outputs)
            time.sleep(0.05)

    def acknowledged(self) -> int:
        return len(self.said("done"))

    def rest(self) -> str:
        """Have all stop to write and agree; return what they agree on."""
        for one in self.running.values():
            one.process.stdin.write(b"idle\n")
            one.process.stdin.flush()
        agreed = []

        def are_one() -> bool:
            last = [deque(_logs(one.output), 1) for one in self.running.values()]
            agreed[:] = [line.pop() for line in last if line]
            return len(agreed) == 3 and len(set(agreed)) == 1

        self.wait(are_one)
        return agreed[0]


def _logs(output: Path) -> list[str]:
    return [line.split(" ", 1)[1] for line in output.read_text().splitlines() if " log " in line]


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    for name in made.addresses:
        made.start(name)
    yield made
    for name in list(made.running):
        made.kill(name)


def kill_for(site: Site, rounds: int, rng: random.Random) -> None:
    for _ in range(rounds):
        before = site.acknowledged()
        site.wait(lambda before=before: site.acknowledged() > before + 20)
        names = rng.sample("abc", rng.choice([1, 1, 2, 3]))
        for name in names:
            site.kill(name)
        for name in names:
            site.start(name)
    before = site.acknowledged()
    site.wait(lambda: site.acknowledged() > before + 20)


def check(site: Site) -> None:
    length = int(site.rest().split()[1])
    places = {int(place): command for _, (command, place) in site.said("done")}
    assert len(places) == site.acknowledged(), "two commands have one place"
    assert max(places) < length
    begun = {command: at for at, (command,) in site.said("begun")}
    ended = sorted((at, int(place)) for at, (_, place) in site.said("done"))
    highest, waiting = -1, deque(ended)
    for place, command in sorted(places.items(), key=lambda one: begun[one[1]]):
        while waiting and waiting[0][0] < begun[command]:
            highest = max(highest, waiting.popleft()[1])
        assert place > highest, f"{command} lies before what had been acknowledged when it began"


def test_members_that_are_killed_lose_nothing_and_agree(site):
    kill_for(site, 3, random.Random(7))

    check(site)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_nothing(site, capsys):
    kill_for(site, 100, random.Random())

    check(site)
    with capsys.disabled():
        print(f"\n{site.acknowledged()} commands acknowledged over 100 rounds of kills")
