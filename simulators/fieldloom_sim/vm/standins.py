"""What an ESP32 has and the unix port lacks or does otherwise: machine, network, esp32, esp, _onewire, time, socket.

All but socket, and of time what does not tell dates, are held by the loader (`hardware.py`), a line each way on file
descriptor 3, so that they take next to nothing of the board's heap, as C code takes nothing on a board. As hard on the
firmware as the board is: time counts whole seconds from 2000.
"""

import json
import socket as host_socket
import sys
import time as host_time

LOOK_UP_S = 21  # seven for each server, the most that an ESP32 asks: AF_INET alone

wire = open(3, "r+b")
# What ends a question begins its answer, since a Ctrl-C may leave one behind: 1 to 4, not in any JSON.
end = bytearray(b"\1\n")
mark = bytearray(1)


def ask(*question):
    """Return what the loader answers: a value, or a Thing for what stays there."""
    end[0] = end[0] % 4 + 1
    wire.write(json.dumps(question).encode() + end)
    mark[0] = 0
    while mark[0] != end[0]:
        wire.readinto(mark)
        answer = wire.readline()
    value, thing, error = json.loads(answer)
    if error is not None:
        raise OSError(error) if isinstance(error, int) else AttributeError(error)
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return value if thing is None else Thing(thing)


def sent(value):
    """Return what travels for an argument."""
    if isinstance(value, Thing):
        return {"thing": value._number}
    return {"hex": value.hex()} if isinstance(value, (bytes, bytearray)) else value


class Thing:
    """A module, a class, an object or a function that the loader holds. A buffer passed last takes the bytes told."""

    def __init__(self, number):
        self._number = number

    def __getattr__(self, name):
        return ask(self._number, name)

    def __call__(self, *positional, **named):
        named = {name: sent(value) for name, value in named.items()}
        told = ask(self._number, None, [sent(value) for value in positional], named)
        if positional and isinstance(positional[-1], bytearray):
            positional[-1][:] = told
            return None
        return told


class Time(Thing):
    """`time`: dates are the loader's, who counts from 2000; what waits and ticks is the VM's."""

    def __getattr__(self, name):
        is_ours = name.startswith("sleep") or name.startswith("ticks_")  # noqa: PIE810 - MicroPython's takes one
        return getattr(host_time, name) if is_ours else ask(self._number, name)


class Network:
    """`socket`."""

    def socket(*arguments):
        """Return a TCP socket; without a network there is none, where on a board it would not connect: EHOSTUNREACH."""
        if Thing(0).is_cut_off():
            raise OSError(113)
        return host_socket.socket(*arguments)

    def getaddrinfo(host, port):
        """Look a name up; without a network that takes as long as lwIP asks three servers, four times each."""
        if not host.replace(".", "").isdigit() and Thing(0).is_cut_off():
            host_time.sleep(LOOK_UP_S)
            raise OSError(-202)
        return host_socket.getaddrinfo(host, port)

    AF_INET, SOCK_STREAM, SOL_SOCKET = host_socket.AF_INET, host_socket.SOCK_STREAM, host_socket.SOL_SOCKET


def install(skew_ppm=0):
    """Put the stand-ins where `import` finds them; `ticks_ms` runs fast by so many millionths."""
    hardware = Thing(0)
    for name in ("machine", "network", "esp32", "esp"):
        sys.modules[name] = getattr(hardware, name)
    sys.modules["_onewire"] = hardware.onewire
    time = Time(hardware.time._number)
    if skew_ppm:
        import asyncio.core  # noqa: F401 - half of it is C and has the host's ticks: both halves have to agree

        begun = host_time.ticks_us()
        time.ticks_ms = lambda: (begun + (host_time.ticks_us() - begun) * (1000000 + skew_ppm) // 1000000) // 1000
    sys.modules["time"] = sys.modules["utime"] = time
    sys.modules["socket"] = sys.modules["usocket"] = Network
