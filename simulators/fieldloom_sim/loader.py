"""The loader: one process that holds the MicroPython VM once and forks every virtual board from it. (F7)

It reads a request a line (JSON) on standard input and answers each with a line on standard output; it ends, and its
boards with it, when that input ends. A board whose process is killed gets its power back by itself.

| request | does |
|---|---|
| `{"do": "add", "board", "folder", "heap", "drivers", "skew_ppm", "in_rom"}` | takes a board, switches it on |
| `{"do": "off", "board"}`, `{"do": "on", "board"}` | cuts its power, gives it back |
| `{"do": "reset", "board"}` | presses its reset button |
| `{"do": "sensor", "board", "name", "values", "fault"}` | changes what a part on its pins measures |
| `{"do": "pins", "board"}` | answers `{GPIO: {"level", "duty"}}` |
| `{"do": "status"}` | answers `{NAME: {"pid": PID or null, "starts": N, "serial": PTY}}` |
"""

import ctypes
import gc
import json
import math
import mmap
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import micropython_run

from fieldloom_sim.hardware import Clock, Hardware, Machine, ResetRequested, SleepRequested
from fieldloom_sim.parts.wiring import Wiring
from fieldloom_sim.serial import SerialPort

FLASH_FILE = "flash.img"
ACKS_FILE = "acks.ndjson"
CONSOLE_FILE = "console.log"
FILES = 16384  # a board takes seven
POWER_BACK_S = 0.5
PR_SET_PDEATHSIG = 1
# What a VM runs first: the ROM with the stand-ins, in place, then the files of the board. What one raises is printed,
# and the VM goes on to its prompt.
START = """
import sys, uctypes, vfs
vfs.mount(vfs.VfsRom(uctypes.bytearray_at({}, {})), "/rom")
sys.path.insert(0, "/rom")
__import__("board").run()
"""


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Memory:
    """A file as memory that this process shares with every board that it forks."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._mapped = mmap.mmap(file.fileno(), 0)
        self.place = ctypes.addressof(ctypes.c_char.from_buffer(self._mapped)), len(self._mapped)
        """Address and size."""


class Roms(NamedTuple):
    """What is in ROM: our own, which makes a VM a board, and the release, at /rom of the boards that have it there."""

    own: Memory
    release: Memory


class Board:
    """One board: a flash that stays, and a process as long as there is power."""

    def __init__(self, folder: Path, roms: Roms, wiring: Wiring, request: dict[str, Any]) -> None:
        self.name: str = request["board"]
        self.folder = folder
        self.pid: int | None = None
        self.pidfd = -1
        self.starts = 0
        self.power_on_at: float | None = None
        self.cause = Machine.PWRON_RESET
        self.sleeps_s = 0.0
        self.control = socket.socket()
        self._clock = Clock()
        self._wiring = wiring
        self.hardware = Hardware(self._clock, self.cause, wiring)
        self._rom = roms.own.place
        self._release = roms.release.place if request["in_rom"] else (0, 0)
        self._heap: str = request["heap"]
        self._skew_ppm: int = request["skew_ppm"]
        self._pending = b""
        self.serial = SerialPort(folder / CONSOLE_FILE)

    def start(self) -> None:
        """Fork a VM that becomes this board."""
        if self.cause == Machine.PWRON_RESET:
            self._clock = Clock()
        watchdog, self.hardware = self.hardware.watchdog, Hardware(self._clock, self.cause, self._wiring)
        if self.cause == Machine.SOFT_RESET:  # nothing stops a watchdog but the reset that it makes
            self.hardware.watchdog.timeout_s, self.hardware.watchdog.bites_at = watchdog.timeout_s, watchdog.bites_at
        self.cause = Machine.PWRON_RESET  # of the next start, unless something else becomes its cause
        self.control, theirs = socket.socketpair()
        console = self.serial.connect()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(console.fileno(), theirs.fileno())
        theirs.close()
        console.close()
        self.control.setblocking(False)
        self.pidfd = os.pidfd_open(self.pid)
        self.power_on_at = None
        self._pending = b""
        self.starts += 1

    @property
    def bites_at(self) -> float | None:
        """When the watchdog resets the board, by the monotonic clock."""
        return None if self.pid is None else self.hardware.watchdog.bites_at

    def kill(self, cause: int) -> None:
        """End the process as a power cut or a reset does; `cause` is what the next start will be told."""
        self.cause = cause
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Take note that the process is gone, and return its exit code: negative if it was killed."""
        _, status = os.waitpid(self.pid or 0, 0)
        os.close(self.pidfd)
        self.control.close()
        self.serial.disconnect()
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def hear(self) -> None:
        """Answer what the board asks of its hardware."""
        try:
            asked = self.control.recv(4096)
        except OSError:  # nothing, or it ended before it had heard the last answer
            return
        *questions, self._pending = (self._pending + asked).split(b"\n")
        for marked in questions:
            try:
                self.control.send(marked[-1:] + self.hardware.answer(marked[:-1]))
            except ResetRequested:
                self.kill(Machine.SOFT_RESET)
            except SleepRequested as wanted:
                self.sleeps_s = wanted.seconds
                self.kill(Machine.DEEPSLEEP_RESET)
            except OSError:  # it has no power any more
                return

    def _become(self, console: int, control: int) -> None:
        code = 1
        try:
            die_with_parent()
            acks = os.open(self.folder / ACKS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            flash = os.open(self.folder / FLASH_FILE, os.O_RDWR)
            size = os.fstat(flash).st_size
            high = [os.dup(number) for number in (console, console, console, control, acks, flash)]
            for target, source in enumerate(high):
                os.dup2(source, target)
            os.closerange(6, FILES)
            os.putenv("TZ", "UTC")
            os.unsetenv("HOME")  # where the VM would keep what is typed at its prompt
            script = START.format(*self._rom)
            spec = {"flash": size, "rom": self._release, "main": not self.serial.is_raw}
            spec["skew_ppm"] = self._skew_ppm
            heap = ["-X", f"heapsize={self._heap}"]
            # -i: a board whose main.py has ended is at its prompt.
            code = micropython_run.run_main(["micropython", *heap, "-i", "-c", script, json.dumps(spec)])
        finally:
            os._exit(code)


class Loader:
    """Waits for requests, for what boards tell and for their ends."""

    def __init__(self, roms: Roms) -> None:
        self._roms = roms
        self._boards: dict[str, Board] = {}
        self._selector = selectors.DefaultSelector()
        self._requests = b""
        self._looks_at = math.inf  # no deadline of any board is before

    def serve(self) -> None:
        """Serve until standard input ends."""
        self._selector.register(0, selectors.EVENT_READ, self._take_requests)
        while True:
            for key, _ in self._selector.select(self._quiet_s()):
                # What one event has ended may have had another in the same round.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            if time.monotonic() >= self._looks_at:
                self._pass_deadlines()

    def _take_requests(self) -> None:
        chunk = os.read(0, 65536)
        if not chunk:
            raise SystemExit(0)
        self._requests += chunk
        *lines, self._requests = self._requests.split(b"\n")
        for line in lines:
            os.write(1, json.dumps(self._answer(json.loads(line))).encode() + b"\n")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "status":
            return {
                name: {"pid": board.pid, "starts": board.starts, "serial": board.serial.path}
                for name, board in self._boards.items()
            }
        if request["do"] == "add":
            board = Board(Path(request["folder"]), self._roms, Wiring(request["drivers"]), request)
            self._boards[board.name] = board
            self._selector.register(board.serial, selectors.EVENT_READ, lambda: self._serve_serial(board))
            self._start(board)
            return {}
        board = self._boards[request["board"]]
        if request["do"] == "pins":
            return {str(number): told for number, told in board.hardware.machine.Pin.told().items()}
        if request["do"] == "sensor":
            return self._sensor(board, request)
        actions: dict[str, Callable[[Board], None]] = {"off": self._off, "on": self._on, "reset": self._reset}
        actions[request["do"]](board)
        return {}

    def _serve_serial(self, board: Board) -> None:
        board.serial.serve(board.pid)
        self._await_room(board)

    def _hear_console(self, board: Board) -> None:
        board.serial.hear()
        self._await_room(board)

    def _await_room(self, board: Board) -> None:
        key = self._selector.get_key(board.serial)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if board.serial.has_waiting else 0)
        if events != key.events:
            self._selector.modify(board.serial, events, key.data)

    def _sensor(self, board: Board, request: dict[str, Any]) -> dict[str, Any]:
        try:
            board.hardware.wiring.set(request["name"], request["values"], request["fault"])
        except ValueError as error:
            return {"error": str(error)}
        return {}

    def _start(self, board: Board) -> None:
        board.start()
        if board.serial.board is not None:
            self._selector.register(board.serial.board, selectors.EVENT_READ, lambda: self._hear_console(board))
        self._selector.register(board.control, selectors.EVENT_READ, lambda: self._hear(board))
        self._selector.register(board.pidfd, selectors.EVENT_READ, lambda: self._ended(board))

    def _hear(self, board: Board) -> None:
        board.hear()
        self._expect(board.bites_at)

    def _ended(self, board: Board) -> None:
        self._selector.unregister(board.control)
        self._selector.unregister(board.pidfd)
        if board.serial.board is not None:
            self._selector.unregister(board.serial.board)
        wait: float | None = POWER_BACK_S if board.cause == Machine.PWRON_RESET else 0.0
        code = board.reap()
        if code == 0:  # Ctrl-D at its prompt
            board.serial.say(b"MPY: soft reboot\r\n")
            board.cause, wait = Machine.SOFT_RESET, 0.0
        elif code > 0:
            board.cause, wait = Machine.WDT_RESET, board.hardware.watchdog.timeout_s
        else:
            board.serial.is_raw = False
            wait = board.sleeps_s if board.cause == Machine.DEEPSLEEP_RESET else wait
        board.power_on_at = None if wait is None else time.monotonic() + wait
        self._expect(board.power_on_at)

    def _off(self, board: Board) -> None:
        board.kill(Machine.PWRON_RESET)
        if board.pid is not None:
            self._ended(board)
        board.power_on_at = None

    def _on(self, board: Board) -> None:
        if board.pid is None:
            self._start(board)

    def _reset(self, board: Board) -> None:
        board.kill(Machine.HARD_RESET)

    def _quiet_s(self) -> float | None:
        return None if self._looks_at == math.inf else max(0.0, self._looks_at - time.monotonic())

    def _expect(self, deadline: float | None) -> None:
        """Have a deadline looked at; one that moves away is noticed when its old time comes."""
        if deadline is not None:
            self._looks_at = min(self._looks_at, deadline)

    def _pass_deadlines(self) -> None:
        now = time.monotonic()
        self._looks_at = math.inf
        for board in self._boards.values():
            if board.bites_at is not None and now >= board.bites_at:
                board.kill(Machine.WDT_RESET)
                board.hardware.watchdog.bites_at = None
            if board.power_on_at is not None and now >= board.power_on_at:
                self._start(board)
            self._expect(board.bites_at)
            self._expect(board.power_on_at)


def main() -> None:
    """Serve on standard input and output; the arguments are the files of our ROM and of the release's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))
    # What is frozen is never touched by a collection, so its pages stay shared with every board.
    gc.collect()
    gc.disable()
    gc.freeze()
    Loader(Roms(Memory(Path(sys.argv[1])), Memory(Path(sys.argv[2])))).serve()


if __name__ == "__main__":
    main()
