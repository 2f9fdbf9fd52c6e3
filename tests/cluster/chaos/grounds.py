"""Where gateways of a test stand: on machines with networks and disks of their own, or all on loopback. (V4)

Both are one interface to who brings faults; `lacks` names those that can't be had (`nemesis`).
"""

import random
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from cluster.chaos.switch import Switch
from fieldloom_sim.links import Network
from fixtures.processes import free_port

DISK_BYTES = 48 * 2**20
PORT = 7420
PATIENCE_S = 40.0
CHUNK = bytes(2**16)


class NoMachines(Exception):  # noqa: N818 - it reads as what is so
    """This system does not let a test have network namespaces."""


class Machines:
    """A network namespace and a memory disk a gateway; the switch between them is the test's own."""

    lacks: frozenset[str] = frozenset()

    def __init__(self, folder: Path, names: list[str], rng: random.Random) -> None:
        """Raises NoMachines."""
        self._names = names
        self._addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
        self._disks = {name: folder / "disks" / name for name in names}
        self._machines: dict[str, subprocess.Popen[bytes]] = {}
        self._links: list[socket.socket] = []
        interfaces = {}
        try:
            for name in names:
                interfaces[name] = self._begin(name, folder / f"{name}.machine.log")
        except NoMachines:
            self._end()
            raise
        self.switch = Switch(interfaces, self._addresses, rng)
        self.switch.start()

    def _begin(self, name: str, log: Path) -> int:
        """Have a machine run; return its network interface."""
        self._disks[name].mkdir(parents=True)
        ours, its = socket.socketpair()
        self._links.append(ours)
        unshare = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
        program = [sys.executable, Path(__file__).with_name("machine_run.py"), str(its.fileno())]
        command = [*unshare, *program, self._addresses[name], self._disks[name], str(DISK_BYTES)]
        with its, log.open("wb") as output:
            try:
                self._machines[name] = subprocess.Popen(command, stderr=output, pass_fds=[its.fileno()])
            except FileNotFoundError as error:
                raise NoMachines(str(error)) from error
        ours.settimeout(PATIENCE_S)
        _, found, _, _ = socket.recv_fds(ours, 1, 1)
        if not found:
            raise NoMachines(log.read_text().strip().splitlines()[-1])
        return found[0]

    def addresses(self, _: str) -> dict[str, str]:
        """Return where a gateway finds all, itself too."""
        return {name: f"{address}:{PORT}" for name, address in self._addresses.items()}

    def inside(self, name: str) -> list[str]:
        """Return the beginning of a command that runs on a gateway's machine, as the process that is started."""
        target = f"--target={self._machines[name].pid}"
        return ["nsenter", target, "--user", "--net", "--mount", "--preserve-credentials"]

    def disk(self, name: str) -> Path:
        """Return a gateway's folder as it is called on its machine."""
        return self._disks[name]

    def reachable(self, name: str) -> Path:
        """Return the same folder as it is called here."""
        return Path(f"/proc/{self._machines[name].pid}/root{self._disks[name]}")

    def cut(self, sender: str, receiver: str) -> None:
        self.switch.wires[sender, receiver].is_cut = True

    def slow(self, delay_s: float, jitter_s: float, loss: float) -> None:
        for wire in self.switch.wires.values():
            wire.delay_s, wire.jitter_s, wire.loss = delay_s, jitter_s, loss

    def heal(self, sender: str, receiver: str) -> None:
        self.switch.wires[sender, receiver].is_cut = False

    def fill(self, name: str) -> None:
        with (self.reachable(name) / "filler").open("ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(CHUNK)

    def free(self, name: str) -> None:
        (self.reachable(name) / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        self.switch.stop()
        self._end()

    def _end(self) -> None:
        for link in self._links:
            link.close()
        for machine in self._machines.values():
            machine.wait(PATIENCE_S)


class Loopback:
    """All on one machine; a cut is a proxy that lets nothing through, and hands on what has waited when it heals."""

    lacks = frozenset({"loss", "full_disk"})

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._names = names
        self._folder = folder / "disks"
        self._network = Network(folder / "network.log")
        self._own = {name: f"127.0.0.1:{free_port()}" for name in names}
        self._told = {name: self._addresses_for(name) for name in names}

    def _addresses_for(self, name: str) -> dict[str, str]:
        found = {name: self._own[name]}
        for other in self._names:
            if other != name:
                host, port = self._own[other].split(":")
                found[other] = f"127.0.0.1:{self._network.open(f'{name}>{other}', host, int(port))}"
        return found

    def addresses(self, name: str) -> dict[str, str]:
        return self._told[name]

    def inside(self, _: str) -> list[str]:
        return []

    def disk(self, name: str) -> Path:
        return self._folder / name

    reachable = disk

    def cut(self, sender: str, receiver: str) -> None:
        self._network.lose(f"{sender}>{receiver}")

    def heal(self, sender: str, receiver: str) -> None:
        self._network.heal(f"{sender}>{receiver}")

    def slow(self, delay_s: float, jitter_s: float, loss: float) -> None:
        for name in self._names:
            for other in self._told[name].keys() - {name}:
                self._network.slow(f"{name}>{other}", delay_s, jitter_s)

    def close(self) -> None:
        self._network.stop()
        shutil.rmtree(self._folder)
