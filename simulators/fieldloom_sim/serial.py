"""A virtual board's serial port: a pty that stays while the board comes and goes, as the USB chip of a real one. (F7)

The board's own end is a socket, its standard input and output; what it prints goes to its console.log as well. The
loader keeps the terminal's side open, so that whoever attaches and leaves ends nothing.
"""

import os
import signal
import socket
import time
import tty
from collections.abc import Callable
from pathlib import Path

CONSOLE_BYTES = 256 * 1024  # a longer log is begun anew at the next start
WAITING_BYTES = 256 * 1024
NOBODY_READS_S = 1.0
INTERRUPTED_S = 0.2
LAST_WORDS_BYTES = 2048
BUFFERS = 16  # what a socket may hold, in what one look takes
CTRL_C = b"\x03"
RAW, FRIENDLY = b"raw REPL; CTRL-B to exit", b'Type "help()" for'


class SerialPort:
    """One port. It costs nothing while nobody is attached and the board is silent."""

    def __init__(self, log: Path) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)  # a byte is a byte: no echo, no translated line ends
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.is_raw = False  # in the raw REPL, where a soft reset runs no main.py
        self.board: socket.socket | None = None
        self._log = log
        log.touch(mode=0o600)
        self._seen = b""
        self._waiting = bytearray()
        self._read_at = 0.0

    def fileno(self) -> int:
        """Return the host's end, for a selector."""
        return self._master

    @property
    def has_waiting(self) -> bool:
        """Whether something waits for room in the terminal's buffer."""
        return bool(self._waiting)

    def connect(self) -> socket.socket:
        """Return the end that becomes a new VM's standard input and output."""
        self.board, theirs = socket.socketpair()
        self.board.setblocking(False)
        if self._log.exists() and self._log.stat().st_size > CONSOLE_BYTES:
            self._log.write_bytes(b"")
        if self.is_raw:
            self.board.send(b"\x01")
        return theirs

    def disconnect(self) -> None:
        """Take the last words of a VM that has ended."""
        if self.board is not None:
            while self.hear():
                pass
            self.board.close()
        self.board = None

    def hear(self) -> bool:
        """Pass on what the board prints; say whether there was anything."""
        try:
            said = self.board.recv(65536) if self.board else b""
        except OSError:
            return False
        self.say(said)
        return bool(said)

    def say(self, said: bytes) -> None:
        """Put bytes on the line to the host, and into the log."""
        with self._log.open("ab") as log:
            log.write(said)
        seen = self._seen + said
        raw, friendly = seen.rfind(RAW), seen.rfind(FRIENDLY)
        if raw != friendly:
            self.is_raw = raw > friendly
        self._seen = seen[-len(RAW) + 1 :]
        self._drop_unread()
        if not self._waiting:
            self._read_at = time.monotonic()
        self._waiting += said
        del self._waiting[:-WAITING_BYTES]
        self._send_waiting()

    def serve(self, pid: int | None) -> None:
        """Pass on what the host sends to the board of a process, and to the host what has waited for room."""
        self._drop_unread()
        self._send_waiting()
        try:
            typed = os.read(self._master, 65536)
        except BlockingIOError:
            return
        first, *others = typed.split(CTRL_C)
        self._type(first)
        for other in others:
            if pid is not None and _interrupt(pid):
                self._flush()
            else:
                self._type(CTRL_C)
            self._type(other)

    def _type(self, typed: bytes) -> None:
        try:
            if self.board is not None:
                self.board.send(typed)
        except OSError:  # a board that does not read, or has no power any more: the line holds nothing for it
            return

    def _flush(self) -> None:
        """Forget what waits of the code that was interrupted, but its last words, as a terminal does (NOFLSH)."""
        for _ in range(BUFFERS):
            if not self.hear():
                break
        del self._waiting[:-LAST_WORDS_BYTES]

    def _drop_unread(self) -> None:
        """Forget what nobody took in time: a real line keeps nothing for a host that is not there."""
        if self._waiting and time.monotonic() - self._read_at > NOBODY_READS_S:
            self._waiting.clear()

    def _send_waiting(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._master, self._waiting)]
                self._read_at = time.monotonic()
        except BlockingIOError:
            return


def _interrupt(pid: int) -> bool:
    """Have a Ctrl-C end the code that runs; say False where it is a byte like others: at a prompt, in a transfer."""
    if not _catches_interrupts(pid):
        return False
    # The VM raises the exception wherever the signal meets it; in the middle of a collection its heap stays locked.
    _wait(lambda: _sleeps(pid))
    os.kill(pid, signal.SIGINT)
    # A second signal before the first has taken effect would end the VM.
    _wait(lambda: not _catches_interrupts(pid))
    return True


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + INTERRUPTED_S
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.002)


def _catches_interrupts(pid: int) -> bool:
    return bool(int(_told(pid, "SigCgt") or "0", 16) >> signal.SIGINT - 1 & 1)


def _sleeps(pid: int) -> bool:
    return _told(pid, "State").startswith("S")


def _told(pid: int, name: str) -> str:
    """Return what the kernel says of a process, nothing if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name + ":")), "")
