"""The demo's child processes: started in order, started again when one dies, stopped in reverse. (V3)"""

import ctypes
import signal
import subprocess
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_S = 15.0

_libc = ctypes.CDLL(None)


def _as_child() -> None:
    """In the child, before its program: end with the demo, and leave Ctrl-C to it."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Child:
    """One program; its output goes to a file."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_as_child,  # noqa: PLW1509 - the demo has one thread
            )

    def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        if self._process is None or not self.is_alive:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """Return the last line that it wrote, which says why it ended."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it has written nothing"


class Supervisor:
    """Children by name, in the order of their start."""

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._children: dict[str, Child] = {}

    def start(self, name: str, command: list[str]) -> Child:
        """Start a child that is kept alive from now on."""
        child = self._children[name] = Child(name, command, self._logs / f"{name}.log")
        child.start()
        return child

    def revive(self) -> list[str]:
        """Start again what has died, and return the names."""
        dead = [child for child in self._children.values() if not child.is_alive]
        for child in dead:
            child.start()
        return [child.name for child in dead]

    def pids(self) -> dict[str, int | None]:
        """Return the process of each child."""
        return {name: child.pid for name, child in self._children.items()}

    def stop(self) -> None:
        """Stop all, the last one first."""
        for child in reversed(self._children.values()):
            child.stop()
