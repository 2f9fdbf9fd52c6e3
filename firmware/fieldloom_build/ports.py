"""Serial ports and mpremote on them, always with a deadline: mpremote itself waits for ever on a dead pty. (F6)"""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from serial.tools import list_ports

from fieldloom_build.errors import BoardFull, BuildFailed, NoAnswer, NoPort, PortBusy

QUIET_S = 15.0  # mpremote says something more often, unless it waits for an answer
RETRY_S = 2.0


def candidates() -> list[str]:
    """Return the ports that a board may be at: those of USB devices."""
    return sorted(port.device for port in list_ports.comports() if port.vid is not None)


def choose(port: str | None) -> str:
    """Return the port asked for, or the only candidate. Raises NoPort, which names the candidates, and PortBusy."""
    found = candidates()
    listed = f"ports here: {', '.join(found)}" if found else "no USB serial port is here: is the cable a data cable?"
    if port is None:
        if len(found) != 1:
            raise NoPort(f"which port? Name it by --port; {listed}")
        return found[0]
    if port.startswith("/") and not Path(port).exists():
        raise NoPort(f"nothing is at {port}; {listed}")
    if port.startswith("/") and not os.access(port, os.R_OK | os.W_OK):
        raise PortBusy(f"{port} is not yours to open: on Debian, `sudo adduser $USER dialout`, then log in again")
    return port


class _NoPrompt(NoAnswer):
    """Something is there, but no prompt of MicroPython's."""


class Mpremote:
    """mpremote on one port."""

    def __init__(self, port: str, quiet_s: float = QUIET_S) -> None:
        self.port = port
        self._quiet_s = quiet_s

    def connect(self, code: str) -> str:
        """Stop what runs by a soft reset, run code on the board and return what it printed. Raises BuildFailed."""
        try:
            return self._run("exec", code)
        except _NoPrompt:
            time.sleep(RETRY_S)  # a long boot.py, or noise on the line
            return self._run("exec", code)

    def execute(self, code: str) -> str:
        """Run code on the board as it is, without a reset before it, and return what it printed. Raises BuildFailed."""
        return self._run("resume", "exec", code)

    def copy(self, pairs: list[tuple[Path, str]], begun: Callable[[str], None]) -> None:
        """Copy files to their paths on the board, one after the other; `begun(path)` tells each. Raises BuildFailed."""
        commands: list[str] = []
        for local, remote in pairs:
            commands += ["+", "fs", "cp", "-f", str(local), f":{remote}"]
        self._run("resume", *commands[1:], line=lambda said: begun(said.rpartition(" :")[2]))

    def reset(self) -> None:
        """Reset the board as its button does. Raises BuildFailed."""
        self._run("resume", "reset")

    def _run(self, *arguments: str, line: Callable[[str], None] = lambda _: None) -> str:
        command = [sys.executable, "-m", "mpremote", "connect", self.port, *arguments]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        ) as process:
            try:
                said = self._listen(process, line)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise _failure(self.port, said)
        return said

    def _listen(self, process: "subprocess.Popen[bytes]", line: Callable[[str], None]) -> str:
        output = process.stdout
        if output is None:
            return ""
        said = rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while True:
                if not selector.select(self._quiet_s):
                    raise NoAnswer(f"no answer within {self._quiet_s:.0f} s at {self.port}: {_HINT}")
                chunk = os.read(output.fileno(), 65536)
                if not chunk:
                    return said.decode(errors="replace")
                said += chunk
                *lines, rest = (rest + chunk).split(b"\n")
                for one in lines:
                    line(one.decode(errors="replace"))


_HINT = "does the board run MicroPython (see docs/flashing.md)? A press of its reset button may help"


def _failure(port: str, said: str) -> BuildFailed:
    lines = said.strip().splitlines()
    last = lines[-1] if lines else "mpremote said nothing"
    if "failed to access" in said:
        return PortBusy(f"{port} can't be opened: is a monitor or another program using it?")
    if "could not enter raw repl" in said or "timeout waiting" in said:
        return _NoPrompt(f"no MicroPython answers at {port}: {_HINT}")
    if "ENOSPC" in said or "Errno 28" in said or "No space left" in said:
        return BoardFull(f"the board at {port} has no room left: erase it and flash it anew (see docs/flashing.md)")
    return BuildFailed(f"mpremote at {port}: {last}")
