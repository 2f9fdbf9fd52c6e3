"""A board's console: mpremote's at a terminal, and plain lines where there is none. (F6)"""

import subprocess
import sys

import serial

from fieldloom_build.errors import BuildFailed, PortBusy


def talk(port: str) -> int:
    """Join the terminal and the board until Ctrl-], and return mpremote's exit code."""
    return subprocess.run([sys.executable, "-m", "mpremote", "connect", port, "resume", "repl"], check=False).returncode


def listen(port: str) -> None:
    """Print what the board says until Ctrl-C; nothing is sent. Raises BuildFailed."""
    try:
        line = serial.serial_for_url(port, 115200, timeout=None, exclusive=True)
    except (serial.SerialException, ValueError) as error:
        raise PortBusy(f"{port} can't be opened ({error})") from None
    try:
        while said := line.read(line.in_waiting or 1):
            sys.stdout.buffer.write(said)
            sys.stdout.buffer.flush()
    except serial.SerialException as error:
        raise BuildFailed(f"{port} is gone ({error})") from None
    except KeyboardInterrupt:
        return
    finally:
        line.close()
