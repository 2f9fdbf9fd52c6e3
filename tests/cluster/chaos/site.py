"""Gateways of a site as processes, each started as often as a test likes; what their clients noted stays. (V4)"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from typer.testing import CliRunner

from cluster.chaos.clients import ASKED
from fieldloom_gateway.commands import app as commands
from fieldloom_gateway.settings import FILE, ClusterSettings, Settings
from fixtures.certificates import TestAuthority
from fixtures.processes import free_port

PROGRAM = Path(__file__).with_name("gateway_run.py")
PATIENCE_S = 90.0
FULL = ("disk is full", "No space left on device")


class Records:
    """What all lives of all gateways have noted, read on as it grows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: dict[str, list[list]] = {}
        self.counts: Counter[str] = Counter()
        self._read: Counter[str] = Counter()

    def look(self) -> None:
        for path in sorted(self.folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read[path.stem])
                whole, _, _ = file.read().rpartition(b"\n")
            if whole:
                self._read[path.stem] += len(whole) + 1
                found = [json.loads(line) for line in whole.split(b"\n")]
                self.notes.setdefault(path.stem, []).extend(found)
                self.counts.update(note[0] for note in found)

    def last(self, life: str, kind: str) -> list | None:
        """Return the last note of a kind of one life."""
        return next((note for note in reversed(self.notes.get(life, [])) if note[0] == kind), None)


class Site:
    """The gateways that run, on a ground; `options` are what clients are told (`gateway_run.py`)."""

    def __init__(self, folder: Path, ground, names: list[str], seed: int, **options) -> None:
        self.names = names
        self.ground = ground
        self.folder = folder
        self.seed = seed
        (folder / "records").mkdir()
        self.records = Records(folder / "records")
        self.lives: Counter[str] = Counter()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._options = options
        self._install()

    def _install(self) -> None:
        authority = TestAuthority(self.folder / "pki")
        secret = self.folder / "secret"
        secret.touch(mode=0o600)
        secret.write_text("a secret of the tests, long enough")
        for name in self.names:
            data = self.folder / "installed" / name
            self._init(authority, name, data)
            file = data / FILE
            settings = Settings.model_validate_json(file.read_text())
            addresses = self.ground.addresses(name)
            others = {other: address for other, address in addresses.items() if other != name}
            cluster = ClusterSettings(
                address=addresses[name], admission_port=free_port(), members=others, secret=secret
            )  # fmt: skip
            file.write_text(settings.model_copy(update={"cluster": cluster}).model_dump_json(exclude_none=True))
            shutil.copytree(data, self.ground.reachable(name), dirs_exist_ok=True)

    def _init(self, authority: TestAuthority, name: str, data: Path) -> None:
        cert, key = authority.issue(name)
        told = {"data": data, "id": name, "ca": authority.ca, "cert": cert, "key": key, "crl": authority.crl}
        told |= {f"{port}-port": free_port() for port in ("cloud", "mqtt", "local", "http")}
        options = [str(word) for option, value in told.items() for word in (f"--{option}", value)]
        done = CliRunner().invoke(commands, ["init", *options])
        assert done.exit_code == 0, done.output

    def start(self, name: str) -> None:
        self.records.look()
        after = self._told_up_to(name)
        self.lives[name] += 1
        life = f"{name}-{self.lives[name]}"
        told = {
            "record": str(self.records.folder / f"{life}.jsonl"),
            "rests": str(self._rests),
            "clock": str(self._clock(name)),
            "seed": f"{self.seed}-{life}",
            "life": self.lives[name],
            "after": after,
            **self._options,
        }
        command = [sys.executable, PROGRAM, json.dumps(told), "gateway", "run", "--data", self.ground.disk(name)]
        with self._log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                [*self.ground.inside(name), *command], stdout=log, stderr=log, start_new_session=True
            )

    def _told_up_to(self, name: str) -> int:
        """Return up to which index the watches of a gateway have told, so that the next one's goes on from there."""
        for number in range(self.lives[name], 0, -1):
            life = f"{name}-{number}"
            found = self.records.last(life, "told") or self.records.last(life, "watching")
            if found is not None:
                return found[1]
        return 0

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        process = self.running.pop(name, None)
        if process is not None:
            process.wait()

    def signal(self, name: str, number: int) -> None:
        if name in self.running:
            self.running[name].send_signal(number)

    def step_clock(self, name: str, seconds: int) -> None:
        """Set a gateway's clock of the day, now and in all its lives to come."""
        path = self._clock(name)
        path.with_suffix(".new").write_text(str(seconds))
        path.with_suffix(".new").replace(path)

    def progress(self, operations: int) -> None:
        """Wait until so many more operations have been answered."""
        self.records.look()
        goal = self.records.counts["return"] + operations
        self.until(lambda: self.records.counts["return"] >= goal, "answers")

    def rest(self) -> None:
        """Have the clients stop, and wait until all gateways tell the same and nothing is left to be done."""
        self._rests.touch()
        self.until(self._is_at_rest, "rest")

    def _is_at_rest(self) -> bool:
        found = [self.records.last(f"{name}-{self.lives[name]}", "rest") for name in self.names]
        if None in found:
            return False
        kept = [note[3] for note in found]
        return all(one == kept[0] for one in kept) and not any(key.startswith(ASKED) for key in kept[0])

    def until(self, is_so, what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            self.records.look()
            if is_so():
                return
            self._revive()
            assert time.monotonic() < end, f"no {what} within {PATIENCE_S} s\n{self.told()}"
            time.sleep(0.05)

    def _revive(self) -> None:
        """Start again, as a service manager does, what has met a full disk at its start; nothing else may end."""
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                told = self._log(name).read_text()
                assert any(words in told for words in FULL), f"{name} has ended\n{self.told()}"
                self.start(name)

    def told(self) -> str:
        """Return the end of what each gateway has logged."""
        logs = [self._log(name) for name in self.names]
        return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs if log.exists())

    def close(self) -> None:
        for name in list(self.running):
            self.signal(name, signal.SIGCONT)
            self.kill(name)
        self.ground.close()

    @property
    def _rests(self) -> Path:
        return self.folder / "rests"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}-{self.lives[name]}.log"

    def _clock(self, name: str) -> Path:
        return self.folder / f"{name}.clock"
